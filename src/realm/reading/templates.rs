//! Templates and expressions in a document, and the names that they may use.

use super::reader::DocumentReader;
use crate::foundation::fields::Fields;
use crate::realm::document::REFRESH_TOKEN;
use crate::realm::expression::{ANSWER_SCOPE, Expression, Names, Template, hints};

impl DocumentReader<'_> {
    /// A template in a text field.
    pub(super) fn text(&self, fields: &Fields<'_>, field: &'static str) -> Option<Template> {
        let source = fields.text(field)?;
        self.template_of(source, fields, field, &Names::new())
    }

    /// A template that may use some names beside those of the document.
    pub(super) fn template_of(
        &self,
        source: &str,
        fields: &Fields<'_>,
        at: &str,
        beside: &Names,
    ) -> Option<Template> {
        let read = self.expressions.template(source);
        let template = read
            .map_err(|error| fields.fault_at(at, error.to_string()))
            .ok()?;
        self.check_names(template.names(), beside, |detail| {
            fields.fault_at(at, detail)
        });
        self.remark_template(source, fields, at, beside);
        let through = self.through_lets(template.names());
        Some(template.using(&through))
    }

    /// An expression over an answer.
    pub(super) fn over_answer(
        &self,
        fields: &Fields<'_>,
        field: &'static str,
    ) -> Option<Expression> {
        let source = fields.text(field)?;
        self.expression_of(source, fields, field)
    }

    pub(super) fn expression_of(
        &self,
        source: &str,
        fields: &Fields<'_>,
        at: &str,
    ) -> Option<Expression> {
        let read = self.expressions.condition(source);
        let expression = read
            .map_err(|error| fields.fault_at(at, error.to_string()))
            .ok()?;
        let answer: Names = ANSWER_SCOPE
            .into_iter()
            .chain(["steps"])
            .map(str::to_owned)
            .collect();
        self.check_names(expression.names(), &answer, |detail| {
            fields.fault_at(at, detail);
        });
        self.remark_expression(source, fields, at);
        let through = self.through_lets(expression.names());
        Some(expression.using(&through))
    }

    /// Notes the names, and says which of them nobody knows here.
    pub(super) fn check_names(&self, names: &Names, beside: &Names, fault: impl Fn(String)) {
        self.used.borrow_mut().extend(names.iter().cloned());
        self.check_own_names(names, beside, &fault);
        for named in self.lets.iter().filter(|named| names.contains(&named.name)) {
            let own = named.template.names().difference(names).cloned().collect();
            self.check_own_names(&own, beside, |detail| {
                fault(format!("{detail} (by way of let/{})", named.name));
            });
        }
    }

    fn check_own_names(&self, names: &Names, beside: &Names, fault: impl Fn(String)) {
        for name in names {
            if self.known.contains(name) || beside.contains(name) {
                continue;
            }
            let why = match name.as_str() {
                "parent" | "ticket" | "assertion" => {
                    format!("uses {name}, but the document has no field {name}")
                }
                REFRESH_TOKEN => {
                    "uses refresh_token: declare it in params (the first one), or say \
                     with refresh_token_path where an answer holds it"
                        .to_owned()
                }
                "steps" => "uses steps, but no step comes before this request".to_owned(),
                "args" => "uses args, which only arguments and body may".to_owned(),
                "body" | "headers" | "cookies" | "status" | "text" => {
                    format!("uses {name}, which is known only once there is an answer")
                }
                _ => hints::undeclared(name, self.known.union(beside).map(String::as_str)),
            };
            fault(why);
        }
    }
}

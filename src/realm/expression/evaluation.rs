//! Evaluates templates and expressions, and tells a value that is not set from a fault.

use minijinja::value::merge_maps;
use minijinja::{Error, ErrorKind, Value};

use super::Expressions;
use super::error::ExpressionError;
use super::template::{Expression, Rendered, Template, TemplateSource};

impl Expressions {
    /// Renders a template; undefined where the whole of it is one unset value.
    pub fn render(&self, template: &Template, scope: &Value) -> Result<Value, ExpressionError> {
        match self.render_if_set(template, scope)? {
            Rendered::Value(value) => Ok(value),
            Rendered::Unset(why) => Err(why),
        }
    }

    /// Renders a template that may use what has no value.
    pub fn render_if_set(
        &self,
        template: &Template,
        scope: &Value,
    ) -> Result<Rendered, ExpressionError> {
        let error = match self.evaluated(template, scope.clone()) {
            Ok(value) => return Ok(Rendered::Value(value)),
            Err(error) => error,
        };
        let is_unset = |name: &&String| {
            let value = scope.get_attr(name);
            value.is_ok_and(|value| value.is_undefined() || value.is_none())
        };
        let unset: Vec<_> = template.own_names.iter().filter(is_unset).collect();
        let is_cause = match error.kind() {
            ErrorKind::UndefinedError => !unset.is_empty(),
            // Not every operation says that it failed because a value is undefined: the same
            // fails otherwise, or not at all, with a text or a number.
            ErrorKind::InvalidOperation if !unset.is_empty() => {
                let same = |instead: Value| {
                    let instead = unset.iter().map(|name| ((*name).clone(), instead.clone()));
                    let values = merge_maps([Value::from_pairs(instead), scope.clone()]);
                    let again = self.evaluated(template, values).err();
                    again.is_some_and(|again| {
                        (again.kind(), again.detail()) == (error.kind(), error.detail())
                    })
                };
                !same("0".into()) || !same(0.into())
            }
            _ => false,
        };
        if is_cause {
            Ok(Rendered::Unset(self.unset(template)))
        } else if error.kind() == ErrorKind::UndefinedError {
            Err(self.unset(template))
        } else {
            Err(ExpressionError::of_evaluation(&error))
        }
    }

    fn evaluated(&self, template: &Template, scope: Value) -> Result<Value, Error> {
        match &template.source {
            TemplateSource::Literal(text) => Ok(Value::from(text.as_str())),
            TemplateSource::Whole(source) => self.templates.compile_expression(source)?.eval(scope),
            TemplateSource::Mixed(source) => {
                let text = self.templates.template_from_str(source)?.render(scope)?;
                Ok(text.into())
            }
        }
    }

    /// Names what a template uses, one of which has no value.
    fn unset(&self, template: &Template) -> ExpressionError {
        let names = match &template.source {
            TemplateSource::Literal(_) => return ExpressionError::new("a value is not set"),
            TemplateSource::Whole(source) => self
                .templates
                .compile_expression(source)
                .map(|expression| expression.undeclared_variables(true)),
            TemplateSource::Mixed(source) => self
                .templates
                .template_from_str(source)
                .map(|template| template.undeclared_variables(true)),
        };
        let mut names: Vec<_> = names.unwrap_or_default().into_iter().collect();
        names.sort();
        ExpressionError(format!(
            "a value that it uses is not set (it uses {})",
            names.join(", ")
        ))
    }

    pub fn evaluate(
        &self,
        expression: &Expression,
        scope: &Value,
    ) -> Result<Value, ExpressionError> {
        self.conditions
            .compile_expression(&expression.evaluated)
            .and_then(|compiled| compiled.eval(scope.clone()))
            .map_err(|error| ExpressionError::of_evaluation(&error))
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;
    use crate::realm::expression::Names;

    fn rendered(source: &str, scope: Value) -> Result<Value, ExpressionError> {
        let expressions = Expressions::new();
        let template = expressions.template(source)?;
        expressions.render(&template, &scope)
    }

    #[test]
    fn a_parameters_content_arrives_unchanged_and_is_never_expanded_again() {
        for content in [
            "a\"b'c",
            "${ key_2 }",
            "$key_2",
            "{% raw %}",
            "<&>",
            "line\n",
            "\0",
            "é🙂%&+ ",
        ] {
            let scope = context! { key_1 => content, key_2 => "other" };
            for (source, expected) in [
                ("$key_1", content.to_owned()),
                ("${ key_1 }", content.to_owned()),
                ("Bearer ${ key_1 }", format!("Bearer {content}")),
            ] {
                assert_eq!(
                    rendered(source, scope.clone()).unwrap().as_str(),
                    Some(&*expected)
                );
            }
        }
    }

    #[test]
    fn a_dollar_name_inside_other_text_stays_text() {
        let scope = context! { key_1 => "x" };
        assert_eq!(
            rendered("Bearer $key_1", scope).unwrap().as_str(),
            Some("Bearer $key_1")
        );
    }

    #[test]
    fn json_scalars_print_as_in_json_and_lists_do_not_print() {
        let scope = context! { yes => true, number => 5, list => vec![1] };
        assert_eq!(
            rendered("a=${ yes },${ number }", scope.clone())
                .unwrap()
                .as_str(),
            Some("a=true,5")
        );
        assert!(rendered("a=${ list }", scope.clone()).is_err());
        assert!(rendered("a=${ missing }", scope).is_err());
    }

    #[test]
    fn a_condition_may_ask_through_what_is_not_there() {
        let expressions = Expressions::new();
        let condition = expressions
            .condition("body.data.errcode is undefined")
            .unwrap();
        assert_eq!(condition.names(), &Names::from(["body".to_owned()]));
        let scope = context! { body => context! {} };
        assert!(expressions.evaluate(&condition, &scope).unwrap().is_true());
    }

    #[test]
    fn a_value_that_is_made_of_an_unset_one_is_unset_and_other_faults_are_faults() {
        let expressions = Expressions::new();
        let scope = context! { set => "s", list => vec![1] };
        let rendered = |source: &str| {
            let template = expressions.template(source).unwrap();
            expressions.render_if_set(&template, &scope)
        };
        for source in [
            "${ unset|upper }",
            "a${ unset }",
            "${ unset|int }",
            "${ unset + 1 }",
            "${ 1 - unset }",
            "${ -unset }",
            "${ set ~ unset }",
            "${ unset.a }",
            "${ unset['a']|upper }",
            "${ unset|split(',')|first|upper }",
            "${ unset|map('upper')|list }",
            "${ unset|sort }",
            "${ unset|fromjson }",
            "${ unset|times(2) }",
            "${ 2|times(unset) }",
            "${ unset|sha256 }",
            "${ set|replace(unset, 'b') }",
            "${ set|hmac_sha256(unset) }",
            "${ set|hmac_sha256(key=unset) }",
            "${ set|rsa_sha256(unset) }",
            "${ now(unset) if 0 else unset|lower }",
        ] {
            let given = rendered(source);
            let is_unset = match &given {
                Ok(Rendered::Unset(_)) => true,
                Ok(Rendered::Value(value)) => value.is_undefined(),
                Err(_) => false,
            };
            assert!(is_unset, "{source}: {given:?}");
        }
        for source in [
            "${ set|fromjson }",
            "${ set + 1 }",
            "${ -set }",
            "${ list|int ~ (unset or '') }",
            "${ (set or unset)|fromjson }",
            "${ (unset or 1)|rsa_sha256(set) }",
        ] {
            assert!(rendered(source).is_err(), "{source}");
        }
    }
}

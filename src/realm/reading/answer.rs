//! What is taken from an answer, and what is made of a refusal.

use serde_json::Value;

use super::pattern::read_pattern;
use super::reader::DocumentReader;
use super::remarks::remark_path;
use super::request::Origin;
use crate::foundation::fields::{Fields, NumberOrText, escape};
use crate::realm::date_form::{DateForm, offset_of};
use crate::realm::document::{
    AnswerRule, Declared, DefaultExpiry, ErrorRule, ExpiryRule, ExpiryUnit, Extraction,
    LIFETIME_MAX_S, StatedExpiry,
};
use crate::realm::expression::{Names, is_name};

/// Extra fields of one token.
const EXTRA_MAX: usize = 50;
/// Patterns for the refusals of one provider.
const PATTERNS_MAX: usize = 50;

impl DocumentReader<'_> {
    pub(super) fn answer(
        &self,
        fields: &Fields<'_>,
        minted: bool,
        origin: Origin<&AnswerRule>,
    ) -> Option<AnswerRule> {
        let inherited = origin.inherited();
        let token = self.extraction(fields, "token_path", "token");
        let says_nothing = !fields.has("token_path") && !fields.has("token");
        if says_nothing && matches!(origin, Origin::Own) {
            fields.fault(
                if minted { "token" } else { "token_path" },
                "is required: where the answer holds the token (or token, an expression)",
            );
        }
        let expiry = self.expiry(fields, inherited.map(|rule| &rule.expiry));
        let refresh_token = self.extraction(fields, "refresh_token_path", "refresh_token_from");
        let refresh_expires_in_path = self.path(fields, "refresh_expires_in_path");
        let extra = self.extra(fields);
        Some(AnswerRule {
            token: token.or_else(|| Some(inherited?.token.clone()))?,
            expiry,
            refresh_token: refresh_token.or_else(|| inherited?.refresh_token.clone()),
            refresh_expires_in_path: refresh_expires_in_path
                .or_else(|| inherited?.refresh_expires_in_path.clone()),
            extra: extra
                .unwrap_or_else(|| inherited.map_or_else(Vec::new, |rule| rule.extra.clone())),
        })
    }

    /// A dotted path, or in its place an expression.
    fn extraction(
        &self,
        fields: &Fields<'_>,
        path: &'static str,
        expression: &'static str,
    ) -> Option<Extraction> {
        if fields.has(path) && fields.has(expression) {
            fields.fault(
                expression,
                format!("stands beside {path}: give one of them"),
            );
        }
        let by_path = self.path(fields, path).map(Extraction::Path);
        let by_expression = self
            .over_answer(fields, expression)
            .map(Extraction::Expression);
        by_path.or(by_expression)
    }

    fn expiry(&self, fields: &Fields<'_>, inherited: Option<&ExpiryRule>) -> ExpiryRule {
        let units = [
            ("s", ExpiryUnit::Seconds),
            ("ms", ExpiryUnit::Milliseconds),
            ("d:hh:mm", ExpiryUnit::DaysClock),
            ("h:mm:ss", ExpiryUnit::HoursClock),
        ];
        let unit = fields.one_of("expires_in_unit", &units).unwrap_or_default();
        let within = self.extraction(fields, "expires_in_path", "expires_in");
        let at = self.extraction(fields, "expires_at_path", "expires_at");
        let form = self.date_form(fields);
        if within.is_some() && at.is_some() {
            let field = ["expires_at_path", "expires_at"]
                .into_iter()
                .find(|field| fields.has(field));
            fields.fault(
                field.unwrap_or("expires_at_path"),
                "stands beside expires_in_path or expires_in: give one of them",
            );
        }
        let stated = match (within, at) {
            (Some(within), _) => Some(StatedExpiry::In(within, unit)),
            (None, Some(at)) => Some(StatedExpiry::At(at, form)),
            (None, None) => inherited.and_then(|rule| rule.stated.clone()),
        };
        ExpiryRule {
            stated,
            default: self
                .default_expiry(fields)
                .or_else(|| inherited?.default.clone()),
        }
    }

    /// A number, or a template that gives one.
    fn default_expiry(&self, fields: &Fields<'_>) -> Option<DefaultExpiry> {
        let field = "default_expires_in_s";
        match fields.number_or_text(field, 0, LIFETIME_MAX_S)? {
            NumberOrText::Number(seconds) => Some(DefaultExpiry::Seconds(seconds)),
            NumberOrText::Text(source) => {
                let template = self.template_of(source, fields, field, &Names::new())?;
                if template.as_literal().is_some() {
                    fields.fault(
                        field,
                        "must be a whole number, or a template that gives one, such as $life_s",
                    );
                    return None;
                }
                Some(DefaultExpiry::Template(template))
            }
        }
    }

    fn date_form(&self, fields: &Fields<'_>) -> DateForm {
        let (format, offset) = (
            fields.text("expires_at_format"),
            fields.text("expires_at_offset"),
        );
        if let Some(why) = format.and_then(|format| DateForm::check_format(format).err()) {
            fields.fault("expires_at_format", why);
        }
        let offset_s = offset.map(offset_of);
        if offset_s == Some(None) {
            fields.fault("expires_at_offset", "must be an offset such as +08:00");
        }
        for field in ["expires_at_format", "expires_at_offset"] {
            let stated = fields.has("expires_at_path") || fields.has("expires_at");
            if fields.has(field) && !stated {
                fields.fault(field, "says how expires_at is written; there is none");
            }
        }
        DateForm {
            format: format.map(str::to_owned),
            offset_s: offset_s.flatten().unwrap_or(0),
        }
    }

    fn extra(
        &self,
        fields: &Fields<'_>,
    ) -> Option<Vec<(String, crate::realm::expression::Expression)>> {
        let entries = fields.entries("extra")?;
        if entries.len() > EXTRA_MAX {
            fields.fault("extra", format!("must not hold more than {EXTRA_MAX}"));
        }
        let read = entries.iter().filter_map(|(name, value)| {
            let at = format!("extra/{}", escape(name));
            if !is_name(name) {
                fields.fault_at(
                    &at,
                    "must be letters, digits and _, not beginning with a digit",
                );
            }
            let Some(source) = value.as_str() else {
                fields.fault_at(&at, "must be an expression, such as body.instance_url");
                return None;
            };
            Some((name.clone(), self.expression_of(source, fields, &at)?))
        });
        Some(read.collect())
    }

    pub(super) fn error(&self, error: Fields<'_>) -> ErrorRule {
        let mut rule = ErrorRule {
            code: self.over_answer(&error, "code"),
            message: self.over_answer(&error, "message"),
            ..ErrorRule::default()
        };
        if let Some(classes) = error.object("classes") {
            for (name, declared) in Declared::ALL {
                let codes = codes(&classes, name).into_iter();
                rule.classes.extend(codes.map(|code| (code, declared)));
            }
            classes.finish();
        }
        rule.patterns = error.each("patterns", PATTERNS_MAX, |pattern| {
            let regex = pattern.required("match", |fields, field| {
                let source = fields.text(field)?;
                read_pattern(source)
                    .map_err(|why| fields.fault(field, why))
                    .ok()
            });
            let class = pattern.required("class", |fields, field| {
                fields.one_of(field, &Declared::ALL)
            });
            pattern.finish();
            Some((regex?, class?))
        });
        if !rule.classes.is_empty() && rule.code.is_none() {
            error.fault("code", "is required beside classes");
        }
        error.finish();
        rule
    }

    /// A dotted path into the answer.
    fn path(&self, fields: &Fields<'_>, field: &'static str) -> Option<String> {
        let path = fields.text(field)?;
        if path.is_empty() || path.contains("${") {
            fields.fault(field, "must be a dotted path such as data.access_token");
            return None;
        }
        remark_path(fields, field, path);
        Some(path.to_owned())
    }
}

fn codes(classes: &Fields<'_>, name: &'static str) -> Vec<String> {
    let list = classes.list(name).unwrap_or_default().iter().enumerate();
    list.filter_map(|(index, code)| match code {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => {
            classes.fault_at(&format!("{name}/{index}"), "must be a string or a number");
            None
        }
    })
    .collect()
}

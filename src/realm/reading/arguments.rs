//! The arguments of a request.

use serde_json::Value;

use super::reader::DocumentReader;
use crate::foundation::fields::{Fields, escape};
use crate::realm::document::{Argument, ArgumentPlace, ClientAuth, NamedArgument, RequestRule};
use crate::realm::expression::Names;

/// Arguments in one request.
const ARGUMENTS_MAX: usize = 100;

impl DocumentReader<'_> {
    pub(super) fn arguments(&self, fields: &Fields<'_>, beside: &Names) -> Vec<NamedArgument> {
        let places = [
            ("url", ArgumentPlace::Url),
            ("header", ArgumentPlace::Header),
            ("body", ArgumentPlace::Body),
        ];
        let beside = with_args(beside);
        fields.each("arguments", ARGUMENTS_MAX, |argument| {
            let name = argument.required("name", |fields, field| {
                fields.text(field).filter(|name| {
                    let named = !name.is_empty();
                    if !named {
                        fields.fault(field, "must not be empty");
                    }
                    named
                })
            });
            let place = argument.required("place", |fields, field| fields.one_of(field, &places));
            let value = argument.required("value", |fields, field| {
                let value = fields.get(field)?;
                self.argument(value, fields, field, &beside)
            });
            let optional = argument.flag("optional").unwrap_or(false);
            argument.finish();
            Some(NamedArgument {
                name: name?.to_owned(),
                place: place?,
                value: value?,
                optional,
            })
        })
    }

    pub(super) fn argument(
        &self,
        value: &Value,
        fields: &Fields<'_>,
        at: &str,
        beside: &Names,
    ) -> Option<Argument> {
        match value {
            Value::String(source) => self
                .template_of(source, fields, at, beside)
                .map(Argument::Template),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, item)| self.argument(item, fields, &format!("{at}/{index}"), beside))
                .collect::<Option<_>>()
                .map(Argument::List),
            Value::Object(map) => map
                .iter()
                .map(|(name, item)| {
                    let at = format!("{at}/{}", escape(name));
                    Some((name.clone(), self.argument(item, fields, &at, beside)?))
                })
                .collect::<Option<_>>()
                .map(Argument::Object),
            plain => Some(Argument::Plain(plain.clone())),
        }
    }
}

/// The names that arguments and body may use, beside those of their request.
pub(super) fn with_args(beside: &Names) -> Names {
    let mut beside = beside.clone();
    beside.insert("args".to_owned());
    beside
}

pub(super) fn check_headers(fields: &Fields<'_>, request: &RequestRule) {
    for (index, argument) in request.arguments.iter().enumerate() {
        if argument.place != ArgumentPlace::Header {
            continue;
        }
        let at = format!("arguments/{index}/name");
        let name = argument.name.parse::<reqwest::header::HeaderName>();
        if name.is_err() {
            fields.fault_at(&at, "is not the name of a header");
        }
        if matches!(request.client_auth, Some(ClientAuth::Basic { .. }))
            && argument.name.eq_ignore_ascii_case("authorization")
        {
            fields.fault_at(&at, "client_auth makes this header already");
        }
    }
}

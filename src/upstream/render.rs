//! Renders the values of a request: templates become JSON values, or text where they stand
//! in a query, a header or a form.

use minijinja::value::ValueKind;
use serde_json::Value;

use super::scope::{MASK, Scope};
use crate::realm::document::Argument;
use crate::realm::expression::{Expressions, Template, to_json};
use crate::realm::failure::Failure;

pub(super) struct Renderer<'a> {
    expressions: &'a Expressions,
    context: minijinja::Value,
    /// Values are masked: what cannot be made of a mask is one.
    masks: bool,
}

impl<'a> Renderer<'a> {
    pub fn new(expressions: &'a Expressions, scope: &Scope, masks: bool) -> Self {
        Self {
            expressions,
            context: scope.value(),
            masks,
        }
    }

    /// The same with one more value in scope.
    pub fn with(&self, scope: &Scope, name: &str, value: minijinja::Value) -> Self {
        Self {
            expressions: self.expressions,
            context: scope.with([(name, value)]),
            masks: self.masks,
        }
    }

    pub fn masks(&self) -> bool {
        self.masks
    }

    /// None: the whole value is one that is not set.
    pub fn argument(&self, name: &str, argument: &Argument) -> Result<Option<Value>, Failure> {
        Ok(Some(match argument {
            Argument::Plain(value) => value.clone(),
            Argument::Template(template) => return self.template(name, template),
            Argument::List(list) => {
                let items = list.iter().map(|item| self.required(name, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Argument::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(field, item)| Ok((field.clone(), self.required(name, item)?)));
                Value::Object(fields.collect::<Result<_, Failure>>()?)
            }
        }))
    }

    fn required(&self, name: &str, argument: &Argument) -> Result<Value, Failure> {
        self.argument(name, argument)?
            .ok_or_else(|| Failure::internal(format!("a value within {name} is not set")))
    }

    pub fn template(&self, name: &str, template: &Template) -> Result<Option<Value>, Failure> {
        let rendered = match self.expressions.render(template, &self.context) {
            Ok(rendered) => rendered,
            Err(_) if self.masks => return Ok(Some(MASK.into())),
            Err(error) => return Err(Failure::internal(format!("{name}: {error}"))),
        };
        if matches!(rendered.kind(), ValueKind::Undefined | ValueKind::None) {
            return Ok(None);
        }
        to_json(&rendered)
            .map(Some)
            .map_err(|error| Failure::internal(format!("{name} {error}")))
    }

    /// A template that must have a value, as text.
    pub fn text(&self, name: &str, template: &Template) -> Result<String, Failure> {
        let value = self
            .template(name, template)?
            .ok_or_else(|| Failure::internal(format!("{name} is not set")))?;
        plain_text(name, &value)
    }

    /// A template that may be unset.
    pub fn text_if_set(&self, name: &str, template: &Template) -> Result<Option<String>, Failure> {
        self.template(name, template)?
            .map(|value| plain_text(name, &value))
            .transpose()
    }

    /// The value of a template in a URL.
    pub fn in_url(&self, template: &Template) -> Result<minijinja::Value, UrlFault> {
        self.expressions
            .render(template, &self.context)
            .map_err(|error| UrlFault(format!("url: {error}")))
    }
}

/// Why a URL cannot be rendered.
pub(super) struct UrlFault(pub String);

impl From<String> for UrlFault {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// A value as it stands in a query, a header or a form.
pub(super) fn plain_text(name: &str, value: &Value) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Failure::internal(format!(
            "{name} is a list or an object, which fits into a JSON or XML body only"
        ))),
    }
}

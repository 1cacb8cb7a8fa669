//! Renders the values of a request: templates become JSON values, or text where they stand
//! in a query, a header or a form.

use serde_json::Value;

use super::context::{Context, RenderedValue};
use super::scope::{ExpressionScope, MASK};
use crate::realm::document::Argument;
use crate::realm::expression::{Expressions, Template, to_json};
use crate::realm::failure::Failure;

const UNSET_IN_URL: &str = "url: a value in it is not set, or not text";

/// What a value of the document gives.
pub(super) enum RenderedArgument {
    Value(Value),
    /// It is not set, or made of what is not; why, where that is not plain.
    Unset(Option<String>),
}

impl RenderedArgument {
    pub fn set(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unset(_) => None,
        }
    }
}

pub(super) struct Renderer<'a> {
    expressions: &'a Expressions,
    context: Context<'a>,
    /// Values are masked: what cannot be made of a mask is one.
    masks: bool,
}

impl<'a> Renderer<'a> {
    pub fn new(expressions: &'a Expressions, scope: &'a ExpressionScope, masks: bool) -> Self {
        Self {
            expressions,
            context: Context::new(expressions, scope, [], masks),
            masks,
        }
    }

    /// The same with one more value in scope.
    pub fn with(&self, name: &str, value: minijinja::Value) -> Self {
        Self {
            expressions: self.expressions,
            context: self.context.with(name, value),
            masks: self.masks,
        }
    }

    pub fn masks(&self) -> bool {
        self.masks
    }

    /// Takes what was made of credentials out of messages from now on.
    pub fn also_mask(&self, made: &str) {
        self.context.also_mask(&made.into());
    }

    /// Unset where any part of it is.
    pub fn argument(&self, name: &str, argument: &Argument) -> Result<RenderedArgument, Failure> {
        match argument {
            Argument::Plain(value) => Ok(RenderedArgument::Value(value.clone())),
            Argument::Template(template) => self.given(name, template),
            Argument::List(list) => {
                let mut items = Vec::new();
                for item in list {
                    match self.argument(name, item)? {
                        RenderedArgument::Value(value) => items.push(value),
                        unset => return Ok(within(name, unset)),
                    }
                }
                Ok(RenderedArgument::Value(Value::Array(items)))
            }
            Argument::Object(fields) => {
                let mut object = serde_json::Map::new();
                for (field, item) in fields {
                    match self.argument(name, item)? {
                        RenderedArgument::Value(value) => {
                            object.insert(field.clone(), value);
                        }
                        unset => return Ok(within(name, unset)),
                    }
                }
                Ok(RenderedArgument::Value(Value::Object(object)))
            }
        }
    }

    fn given(&self, name: &str, template: &Template) -> Result<RenderedArgument, Failure> {
        let rendered = match self.context.render(name, template) {
            Ok(RenderedValue::Value(rendered)) => rendered,
            // What a step will answer is not known before.
            Ok(RenderedValue::Unset(_))
                if self.masks
                    && template.names().contains("steps")
                    && !self.context.knows("steps") =>
            {
                return Ok(RenderedArgument::Value(MASK.into()));
            }
            Ok(RenderedValue::Unset(why)) => return Ok(RenderedArgument::Unset(why)),
            Err(_) if self.masks => return Ok(RenderedArgument::Value(MASK.into())),
            Err(failure) => return Err(failure),
        };
        to_json(&rendered)
            .map(RenderedArgument::Value)
            .map_err(|error| Failure::internal(format!("{name} {error}")))
    }

    /// A template that must have a value, as text.
    pub fn text(&self, name: &str, template: &Template) -> Result<String, Failure> {
        match self.given(name, template)? {
            RenderedArgument::Value(value) => plain_text(name, &value),
            RenderedArgument::Unset(why) => Err(Failure::internal(
                why.unwrap_or_else(|| format!("{name} is not set")),
            )),
        }
    }

    /// A template that may be unset.
    pub fn text_if_set(&self, name: &str, template: &Template) -> Result<Option<String>, Failure> {
        let value = self.given(name, template)?.set();
        value.map(|value| plain_text(name, &value)).transpose()
    }

    /// The value of a template in a URL.
    pub fn in_url(&self, template: &Template) -> Result<minijinja::Value, UrlFault> {
        match self.context.render("url", template) {
            Ok(RenderedValue::Value(value)) => Ok(value),
            Ok(RenderedValue::Unset(why)) => {
                Err(UrlFault(why.unwrap_or_else(|| UNSET_IN_URL.to_owned())))
            }
            Err(failure) => Err(UrlFault(failure.detail)),
        }
    }
}

fn within(name: &str, unset: RenderedArgument) -> RenderedArgument {
    match unset {
        RenderedArgument::Unset(None) => {
            RenderedArgument::Unset(Some(format!("a value within {name} is not set")))
        }
        other => other,
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

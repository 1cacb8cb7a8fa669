//! Templates and expressions as they were read: their source, and the names they use.

use minijinja::Value;

use super::error::ExpressionError;
use super::{Names, is_name};

/// A value that is rendered for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) source: TemplateSource,
    /// Those that stand in it.
    pub(super) own_names: Names,
    /// Those, and what values named by `let` use.
    names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TemplateSource {
    /// Exactly `$name` or `${…}`: one expression, which keeps its type.
    Whole(String),
    /// Text around `${…}`.
    Mixed(String),
    /// Text without expressions.
    Literal(String),
}

impl Template {
    pub(super) fn of(source: TemplateSource, names: Names) -> Self {
        Self {
            source,
            own_names: names.clone(),
            names,
        }
    }

    /// The same, which uses some names through others.
    #[must_use]
    pub fn using(mut self, names: &Names) -> Self {
        self.names.extend(names.iter().cloned());
        self
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The text of a template without expressions.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.source {
            TemplateSource::Literal(text) => Some(text),
            TemplateSource::Whole(_) | TemplateSource::Mixed(_) => None,
        }
    }

    /// The name, where the template is exactly one.
    pub fn as_name(&self) -> Option<&str> {
        match &self.source {
            TemplateSource::Whole(source) if is_name(source) => Some(source),
            TemplateSource::Whole(_) | TemplateSource::Mixed(_) | TemplateSource::Literal(_) => {
                None
            }
        }
    }
}

/// A part of a template: text, or an expression within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Expression(Template),
}

/// A condition, or an extraction from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    pub(super) source: String,
    /// As it is evaluated.
    pub(super) evaluated: String,
    pub(super) names: Names,
}

impl Expression {
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The same, which uses some names through others.
    #[must_use]
    pub fn using(mut self, names: &Names) -> Self {
        self.names.extend(names.iter().cloned());
        self
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// What a template gives.
#[derive(Clone, Debug)]
pub enum Rendered {
    Value(Value),
    /// It cannot do without a name that has no value.
    Unset(ExpressionError),
}

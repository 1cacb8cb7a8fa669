//! Arguments of a request: their names, places and values.

use serde_json::Value;

use crate::realm::expression::{Names, Template};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentPlace {
    Url,
    Header,
    Body,
}

/// A value of any JSON type; every string in it is a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    Template(Template),
    Plain(Value),
    List(Vec<Argument>),
    Object(Vec<(String, Argument)>),
}

impl Argument {
    /// The names its templates use.
    pub fn names(&self) -> Names {
        match self {
            Self::Template(template) => template.names().clone(),
            Self::Plain(_) => Names::new(),
            Self::List(items) => items.iter().flat_map(Self::names).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, item)| item.names()).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NamedArgument {
    pub name: String,
    pub place: ArgumentPlace,
    pub value: Argument,
    /// Left out where its value is unset.
    pub optional: bool,
}

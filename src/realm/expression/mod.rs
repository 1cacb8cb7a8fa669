//! The one expression language of realm documents. Templates are text with `${ … }`;
//! conditions are the same expressions without the braces. MiniJinja evaluates them,
//! with only the filters named here, bounded by fuel, and one pass: what a parameter
//! contains is never expanded again.

mod attempt_values;
mod bounds;
mod digests;
mod environment;
mod error;
mod evaluation;
pub mod hints;
mod lazy;
mod parsing;
mod template;

use std::collections::BTreeSet;
use std::fmt;

use minijinja::{Environment, UndefinedBehavior};

pub use attempt_values::AttemptValues;
pub use bounds::{expressions_in, to_json};
use environment::environment;
pub use environment::{UNRESERVED, without_nulls, xml_text};
pub use error::ExpressionError;
pub use hints::FUNCTIONS as ALWAYS;
pub use template::{Expression, Piece, Rendered, Template};

/// Names the server itself puts in scope; no parameter may be called so. One exception:
/// the parameter `refresh_token` is the first refresh token.
pub const RESERVED: [&str; 20] = [
    STORED,
    "parent",
    "refresh_token",
    "token",
    "assertion",
    "ticket",
    "forced",
    "attempt",
    "args",
    "steps",
    "body",
    "headers",
    "cookies",
    "status",
    "text",
    "extra",
    "now",
    "uuid",
    "nonce",
    "realm",
];

/// What the last token brought beside itself.
pub const STORED: &str = "stored";

/// What an answer puts in scope.
pub const ANSWER_SCOPE: [&str; 5] = ["body", "headers", "cookies", "status", "text"];

/// The names an expression uses.
pub type Names = BTreeSet<String>;

/// The evaluator.
pub struct Expressions {
    templates: Environment<'static>,
    conditions: Environment<'static>,
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expressions")
    }
}

impl Default for Expressions {
    fn default() -> Self {
        Self::new()
    }
}

impl Expressions {
    pub fn new() -> Self {
        Self {
            // `hostname or 'x'` may ask for an unset parameter; printing one may not.
            templates: environment(UndefinedBehavior::SemiStrict),
            // `body.data.errcode is undefined` may ask through what is not there.
            conditions: environment(UndefinedBehavior::Chainable),
        }
    }
}

/// Whether `name` can be a parameter's name.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

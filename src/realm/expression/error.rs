//! Why an expression is refused or failed.

use minijinja::{Error, ErrorKind};

/// Why an expression is refused or failed. Says where, never what a value was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub(super) String);

impl ExpressionError {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self(detail.into())
    }

    /// MiniJinja's message, without the values its details may name. A filter of ours
    /// says what is wrong with a key, and never shows it.
    pub(super) fn of_evaluation(error: &Error) -> Self {
        match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => Self::new("takes more steps than an expression may"),
            (_, Some(detail)) if is_ours(detail) => Self::new(detail),
            (kind, _) => Self::new(kind.to_string()),
        }
    }
}

/// How the details begin that functions and filters of ours give: they show no value.
const OURS: [&str; 3] = ["filter ", "now: ", "nonce: "];

fn is_ours(detail: &str) -> bool {
    OURS.iter().any(|beginning| detail.starts_with(beginning))
}

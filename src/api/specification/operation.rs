//! What is said of an operation, and which problems it can answer by the rules that many share.

use serde_json::Value;

use super::problems::{self as problem, ProblemAnswer};

/// An operation, by its `operationId`.
pub struct Operation {
    pub id: &'static str,
    /// What a 200 holds.
    pub answer: &'static str,
    /// Each parameter with its limits.
    pub parameters: &'static [Parameter],
    /// Instead of the one that it would have by the rules of [`Operation::problems`], where
    /// that has the same status.
    pub own_problems: &'static [&'static ProblemAnswer],
}

/// A parameter and what is to be added to its schema.
pub struct Parameter(pub &'static str, pub fn() -> Value);

/// What decides which problems an operation can answer, beside its own.
pub struct Traits {
    pub needs_key: bool,
    /// What is sent is signed, instead of a key.
    pub is_signed: bool,
    /// A body is read, within its limits, even where none is expected (`has_body`).
    pub reads_body: bool,
    pub takes_json: bool,
    /// Of another site's page it is refused.
    pub changes: bool,
}

impl Operation {
    /// One for each status, in order.
    pub fn problems(&self, traits: &Traits) -> Vec<&'static ProblemAnswer> {
        let mut all = self.own_problems.to_vec();
        let mut add = |applies: bool, problem: &'static ProblemAnswer| {
            if applies && !all.iter().any(|own| own.status == problem.status) {
                all.push(problem);
            }
        };
        add(traits.takes_json, problem::INVALID_BODY);
        add(traits.reads_body, problem::INVALID_REQUEST);
        add(true, problem::INVALID_PARAMETER);
        add(traits.needs_key, problem::UNAUTHORIZED);
        add(
            traits.needs_key && traits.changes,
            problem::FORBIDDEN_CHANGE,
        );
        add(traits.changes, problem::CROSS_SITE);
        add(traits.needs_key, problem::FORBIDDEN);
        add(traits.reads_body, problem::REQUEST_TIMEOUT);
        add(traits.reads_body, problem::BODY_TOO_LARGE);
        add(traits.takes_json, problem::UNSUPPORTED_MEDIA_TYPE);
        add(traits.takes_json, problem::INVALID_DOCUMENT);
        add(
            traits.needs_key || traits.is_signed,
            problem::TOO_MANY_REQUESTS,
        );
        add(true, problem::HEADERS_TOO_LARGE);
        add(true, problem::INTERNAL);
        add(traits.needs_key, problem::DATABASE_UNAVAILABLE);
        all.sort_by_key(|problem| problem.status);
        all
    }
}

pub const fn operation(
    id: &'static str,
    answer: &'static str,
    parameters: &'static [Parameter],
    own_problems: &'static [&'static ProblemAnswer],
) -> Operation {
    Operation {
        id,
        answer,
        parameters,
        own_problems,
    }
}

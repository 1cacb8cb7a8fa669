//! What a token is good for, by a condition over its claims.

use minijinja::Value as ScopeValue;
use minijinja::value::ValueKind;
use serde_json::{Value, json};

use crate::access::scope::Scope;
use crate::foundation::pattern::{Coverage, Pattern};
use crate::realm::expression::{Expression, ExpressionError, Expressions, without_nulls};

/// The one name that a condition uses.
pub const CLAIMS: &str = "claims";

/// Claims that meet the condition have exactly these rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub when: Expression,
    pub scopes: Vec<Scope>,
    pub coverage: Coverage,
}

impl Rule {
    /// As it is read again.
    pub fn to_json(&self) -> Value {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let mut written = json!({"when": self.when.source(), "scopes": scopes});
        for (field, patterns) in [
            ("realms", &self.coverage.realms),
            ("keys", &self.coverage.keys),
        ] {
            if let Some(patterns) = patterns {
                let texts = patterns.iter().map(Pattern::as_str);
                written[field] = json!(texts.collect::<Vec<_>>());
            }
        }
        written
    }
}

/// A condition that could not be evaluated counts as one that is not met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the condition of rule {number} cannot be evaluated: {why}")]
pub struct RuleFailure {
    /// From 1.
    pub number: usize,
    why: String,
}

/// Reads a condition: one over the claims, and over nothing else.
pub fn condition(source: &str, expressions: &Expressions) -> Result<Expression, String> {
    let condition = expressions.condition(source);
    let condition = condition.map_err(|error: ExpressionError| error.to_string())?;
    let others = condition.names().iter().filter(|name| *name != CLAIMS);
    let others: Vec<_> = others.map(String::as_str).collect();
    if !others.is_empty() {
        return Err(format!(
            "uses {}: a condition knows {CLAIMS} and nothing else",
            others.join(", ")
        ));
    }
    if condition.names().is_empty() {
        return Err(format!(
            "looks at no claim: every token of the issuer would meet it; use {CLAIMS}, such as \
             {CLAIMS}.sub == 'somebody'"
        ));
    }
    Ok(condition)
}

/// The place of the first rule whose condition the claims meet; or the first failure, if there was
/// one.
pub fn first_met(
    rules: &[Rule],
    expressions: &Expressions,
    claims: &Value,
) -> Result<usize, Option<RuleFailure>> {
    let scope = ScopeValue::from_pairs([(CLAIMS, without_nulls(claims))]);
    let mut failed = None;
    for (index, rule) in rules.iter().enumerate() {
        let why = match expressions.evaluate(&rule.when, &scope) {
            // Nothing but true is true: a text or a number says nothing about rights.
            Ok(value) if value.kind() == ValueKind::Bool && value.is_true() => return Ok(index),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        failed.get_or_insert(RuleFailure {
            number: index + 1,
            why,
        });
    }
    Err(failed)
}

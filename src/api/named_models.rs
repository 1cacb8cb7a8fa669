//! Models that only the specification has: closed lists of words, and what the handlers take as
//! any JSON, by names that generators can use.

use serde_json::{Value, json};

use crate::access::audit::AuditOutcome;
use crate::access::issuer::JwtAlgorithm;
use crate::access::scope::Scope;
use crate::foundation::words::words;
use crate::reads::TokenSource;
use crate::realm::failure::FailureClass;
use crate::realm::preset::{Category, Verified};
use crate::registry::SaveOutcome;
use crate::renewal::cause::RenewalCause;
use crate::renewal::history::RenewalOutcome;
use crate::secret::params::VALUE_MAX_BYTES;
use crate::token::state::State;

/// A model by its name.
pub struct Named(pub &'static str);

pub const REALM_DOCUMENT: Named = Named("RealmDocument");
pub const PARAMS: Named = Named("Params");
pub const PARAM_CHANGES: Named = Named("ParamChanges");
pub const OK: Named = Named("Ok");
pub const SCOPE: Named = Named("Scope");
pub const JWT_ALGORITHM: Named = Named("JwtAlgorithm");
pub const TOKEN_SOURCE: Named = Named("TokenSource");
pub const SECRET_STATE: Named = Named("SecretState");
pub const FAILURE_CLASS: Named = Named("FailureClass");
pub const RENEWAL_CAUSE: Named = Named("RenewalCause");
pub const RENEWAL_OUTCOME: Named = Named("RenewalOutcome");
pub const AUDIT_OUTCOME: Named = Named("AuditOutcome");
pub const SAVE_OUTCOME: Named = Named("SaveOutcome");
pub const VERIFICATION: Named = Named("Verification");
pub const PRESET_CATEGORY: Named = Named("PresetCategory");

impl Named {
    pub fn reference(&self) -> Value {
        json!({"$ref": format!("#/components/schemas/{}", self.0)})
    }
}

/// Each with its schema.
pub fn named_models() -> Vec<(Named, Value)> {
    let value = json!({"type": "string", "maxLength": VALUE_MAX_BYTES});
    let mut change = value.clone();
    change["nullable"] = json!(true);
    vec![
        // Its own schema is served by itself: generators would make little of it.
        (
            REALM_DOCUMENT,
            json!({
                "description": "A realm document; `/realm.schema.json` is its JSON Schema.",
                "type": "object",
                "additionalProperties": true,
            }),
        ),
        (PARAMS, map("Values by the names of parameters.", &value)),
        (
            PARAM_CHANGES,
            map(
                "Values by the names of parameters; null clears one.",
                &change,
            ),
        ),
        (OK, one_of("The word of success.", &["ok"])),
        (
            SCOPE,
            one_of(
                "What an API key, or a JWT, is good for.",
                &words(Scope::ALL, Scope::as_str),
            ),
        ),
        (
            JWT_ALGORITHM,
            one_of(
                "How a JWT may be signed (RFC 7518).",
                &words(JwtAlgorithm::ALL, JwtAlgorithm::as_str),
            ),
        ),
        (
            TOKEN_SOURCE,
            one_of(
                "Where a token was taken from.",
                &words(TokenSource::ALL, TokenSource::as_str),
            ),
        ),
        (
            SECRET_STATE,
            one_of(
                "How a secret and its token are.",
                &words(State::ALL, State::as_str),
            ),
        ),
        (
            FAILURE_CLASS,
            one_of(
                "The kind of a failure, by what follows from it.",
                &words(FailureClass::ALL, FailureClass::as_str),
            ),
        ),
        (
            RENEWAL_CAUSE,
            one_of(
                "Why an attempt was made.",
                &words(RenewalCause::ALL, RenewalCause::as_str),
            ),
        ),
        (
            RENEWAL_OUTCOME,
            one_of(
                "How an attempt ended.",
                &words(RenewalOutcome::ALL, RenewalOutcome::as_str),
            ),
        ),
        (
            AUDIT_OUTCOME,
            one_of(
                "How a call ended.",
                &words(AuditOutcome::ALL, AuditOutcome::as_str),
            ),
        ),
        (
            SAVE_OUTCOME,
            one_of(
                "What a save would do.",
                &words(SaveOutcome::ALL, SaveOutcome::as_str),
            ),
        ),
        (
            VERIFICATION,
            one_of(
                "What the facts of a preset were taken from.",
                &words(Verified::ALL, Verified::as_str),
            ),
        ),
        (
            PRESET_CATEGORY,
            one_of(
                "What the provider of a preset is for.",
                &words(Category::ALL, Category::as_str),
            ),
        ),
    ]
}

fn one_of(description: &str, words: &[&str]) -> Value {
    json!({"description": description, "type": "string", "enum": words})
}

fn map(description: &str, value: &Value) -> Value {
    json!({"description": description, "type": "object", "additionalProperties": value})
}

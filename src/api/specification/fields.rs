//! What is known of the fields of answers, beside their types.

use serde_json::{Value, json};

use crate::api::named_models as named;
use crate::foundation::words::words;
use crate::reads::FlushDeniedCode;

fn date() -> Value {
    json!({"format": "date-time"})
}

pub fn count() -> Value {
    json!({"minimum": 0})
}

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

fn either_sign() -> Value {
    json!({"minimum": i64::MIN})
}

/// From 1: of rows and versions.
fn number() -> Value {
    json!({"minimum": 1})
}

fn realm_document() -> Value {
    named::REALM_DOCUMENT.reference()
}

fn params() -> Value {
    named::PARAMS.reference()
}

pub fn ok() -> Value {
    named::OK.reference()
}

fn class() -> Value {
    named::FAILURE_CLASS.reference()
}

fn source() -> Value {
    named::TOKEN_SOURCE.reference()
}

/// An open list: there may be more.
fn flush_denied_code() -> Value {
    let codes = words(FlushDeniedCode::ALL, FlushDeniedCode::as_str).join("`, `");
    json!({"description": format!(
        "Why it did not, for programs: stable snake_case. `{codes}`. There may be more."
    )})
}

fn state() -> Value {
    named::SECRET_STATE.reference()
}

fn cause() -> Value {
    named::RENEWAL_CAUSE.reference()
}

fn attempt_outcome() -> Value {
    named::RENEWAL_OUTCOME.reference()
}

fn save_outcome() -> Value {
    named::SAVE_OUTCOME.reference()
}

fn call_outcome() -> Value {
    named::AUDIT_OUTCOME.reference()
}

fn verified() -> Value {
    named::VERIFICATION.reference()
}

fn category() -> Value {
    named::PRESET_CATEGORY.reference()
}

fn country() -> Value {
    json!({"pattern": "^[A-Z]{2}$"})
}

fn scopes() -> Value {
    json!({"items": named::SCOPE.reference()})
}

fn algorithms() -> Value {
    json!({"items": named::JWT_ALGORITHM.reference()})
}

/// Whatever a provider answers with.
fn provider_status() -> Value {
    json!({"minimum": 100, "maximum": 999})
}

fn error_status() -> Value {
    json!({"minimum": 400, "maximum": 599})
}

/// A model, some of its fields, and what is known of them.
type Known = (&'static str, &'static [&'static str], fn() -> Value);

/// What is known of the fields of answers.
pub const FIELDS: &[Known] = &[
    ("Token", &["source"], source),
    ("Token", &["flush_denied_code"], flush_denied_code),
    (
        "Token",
        &["expires_in", "expires_in_s", "generation"],
        count,
    ),
    ("Token", &["expires_at"], date),
    ("Secret", &["state"], state),
    ("Secret", &["params"], params),
    ("Secret", &["generation"], count),
    (
        "Secret",
        &[
            "expires_at",
            "renew_at",
            "last_attempt_at",
            "created_at",
            "updated_at",
        ],
        date,
    ),
    ("LastError", &["class"], class),
    ("LastError", &["since"], date),
    ("LastError", &["failures"], count),
    ("Realm", &["config"], realm_document),
    ("Realm", &["version"], number),
    (
        "Realm",
        &["blocked_until", "created_at", "updated_at"],
        date,
    ),
    ("RealmChanges", &["outcome"], save_outcome),
    ("RealmChanges", &["before", "after"], any_object),
    (
        "RealmChanges",
        &["lacking_secrets_total", "unknown_secrets_total"],
        count,
    ),
    ("SecretChanges", &["outcome"], save_outcome),
    (
        "Deleted",
        &[
            "secrets",
            "tokens",
            "refresh_tokens",
            "candidates",
            "tickets",
        ],
        count,
    ),
    ("Preset", &["category"], category),
    ("Preset", &["country"], country),
    ("Preset", &["verified"], verified),
    ("Preset", &["config"], realm_document),
    ("DryRunResponse", &["status"], provider_status),
    ("DryRunFailure", &["class"], class),
    ("Renewal", &["cause"], cause),
    ("Renewal", &["outcome"], attempt_outcome),
    ("Renewal", &["class"], class),
    ("Renewal", &["started_at"], date),
    ("Renewal", &["id"], number),
    ("Renewal", &["generation", "duration_ms"], count),
    (
        "RenewalRun",
        &[
            "renewed",
            "failed",
            "discarded",
            "waiting",
            "left",
            "duration_ms",
        ],
        count,
    ),
    ("Overview", &["read_at"], date),
    ("StateCount", &["state"], state),
    ("StateCount", &["secrets"], count),
    ("FailingSecret", &["state"], state),
    ("FailingSecret", &["renew_at"], date),
    ("DueSecret", &["renew_at"], date),
    ("RenewalHour", &["begun_at"], date),
    ("RenewalHour", &["stored", "failed", "discarded"], count),
    ("Replica", &["lag_ms"], count),
    ("Replica", &["clock_offset_ms"], either_sign),
    ("Settings", &["configuration"], any_object),
    ("SealingKey", &["values"], count),
    ("Session", &["rule"], number),
    ("Session", &["scopes"], scopes),
    ("Session", &["idle_expires_at", "expires_at"], date),
    ("ApiKey", &["scopes"], scopes),
    ("ApiKey", &["created_at", "expires_at", "revoked_at"], date),
    ("ApiKey", &["id", "rate"], number),
    ("MadeApiKey", &["id"], number),
    ("Issuer", &["algorithms"], algorithms),
    ("Issuer", &["version"], number),
    ("Issuer", &["created_at", "updated_at"], date),
    ("IssuerRule", &["scopes"], scopes),
    ("AuditEntry", &["outcome"], call_outcome),
    ("AuditEntry", &["at"], date),
    ("AuditEntry", &["id", "count", "seq"], number),
    ("Problem", &["status"], error_status),
    ("Problem", &["class"], class),
];

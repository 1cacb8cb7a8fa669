//! What must hold, whatever was read.

use secrecy::ExposeSecret;
use serde_json::Value;
use token_server::foundation::clock::{EpochMs, Ms, Timeline};
use token_server::foundation::fields::Fault;
use token_server::realm::document::{DefaultExpiry, LIFETIME_MAX_S, ProviderDocument};
use token_server::realm::expression::to_json;
use token_server::realm::failure::Failure;
use token_server::secret::params::Params;
use token_server::token::expiry::Expiry;
use token_server::upstream::{HttpAnswer, Obtained};

use super::{NOW, UPSTREAM};

/// Details are for a log line and a column.
const DETAIL_MAX_CHARS: usize = 2000;
const CODE_MAX_CHARS: usize = 100;
/// What one evaluation may bring forth; its fuel stands for about 3 MB.
const VALUE_MAX_BYTES: usize = 16 << 20;
/// A mark in dictionaries and seeds: it can be no name, so no fault repeats it.
pub const MARK: &str = "~mark~";

/// Reads an answer and checks what comes of it; what went wrong, if it did.
pub fn read(document: &ProviderDocument, params: &Params, answer: &HttpAnswer) -> Option<Failure> {
    let refused = match UPSTREAM.read_answer(document, params, answer) {
        Ok(got) => {
            obtained(document, &got);
            let served = UPSTREAM.served(document, params, &got.payload.token, &got.payload.extra);
            served.err()
        }
        Err(refused) => Some(refused),
    };
    refused.inspect(failure)
}

/// Whatever an answer repeats, no parameter is shown.
pub fn shows_no_parameter(failure: &Failure, params: &Params) {
    let code = failure.code.as_deref().unwrap_or_default();
    for (name, value) in params.iter() {
        for text in [failure.detail.as_str(), code] {
            let shown = text.contains(value.expose_secret());
            assert!(!shown, "the parameter {name} is shown: {text:?}");
        }
    }
}

pub fn obtained(document: &ProviderDocument, obtained: &Obtained) {
    assert!(
        !obtained.payload.token.expose_secret().is_empty(),
        "an empty token"
    );
    assert_eq!(obtained.requested_at, NOW);
    match obtained.payload.expiry {
        Expiry::Never => assert_eq!(
            document.answer.expiry.default,
            Some(DefaultExpiry::Seconds(0)),
            "an eternal token that no document allows"
        ),
        Expiry::At(end) => lies_ahead(end),
    }
    if let Some(refresh) = &obtained.refresh {
        assert!(!refresh.token.expose_secret().is_empty());
        if let Some(end) = refresh.expires_at {
            lies_ahead(end);
        }
    }
    assert_eq!(
        obtained.payload.extra.is_null(),
        document.answer.extra.is_empty(),
        "extra fields that nobody asked for"
    );
    for value in obtained.payload.extra.as_object().into_iter().flatten() {
        let (name, value) = value;
        assert!(document.answer.extra.iter().any(|(known, _)| known == name));
        assert!(!value.is_null(), "an unset extra field is left out");
        assert!(size_of(value) <= VALUE_MAX_BYTES, "a value without end");
    }
    let rendered = document.serving.as_ref().is_some_and(|rule| !rule.per_read);
    assert_eq!(obtained.served.is_some(), rendered);
}

/// Later than now, and no later than ten years from now.
fn lies_ahead(end: EpochMs) {
    let left = end.since(NOW);
    assert!(left > Ms::ZERO, "a life that has passed: {left:?}");
    assert!(
        left <= Ms::from_secs(LIFETIME_MAX_S),
        "a life without end: {left:?}"
    );
}

pub fn failure(failure: &Failure) {
    let Failure { detail, code, .. } = failure;
    text(detail, DETAIL_MAX_CHARS);
    if let Some(code) = code {
        text(code, CODE_MAX_CHARS);
    }
    if let Some(wait) = failure.retry_after {
        assert!(wait >= Ms::ZERO, "a wait into the past");
    }
}

fn text(text: &str, max_chars: usize) {
    let chars = text.chars().count();
    assert!(chars <= max_chars, "a detail of {chars} characters");
    assert!(
        !text.chars().any(char::is_control),
        "not printable: {text:?}"
    );
}

pub fn faults(config: &Value, faults: &[Fault]) {
    assert!(!faults.is_empty(), "refused without a reason");
    for Fault { pointer, detail } in faults {
        assert!(
            pointer == "/config" || pointer.starts_with("/config/"),
            "it points elsewhere: {pointer:?}"
        );
        // A message may name a field or a parameter, but no value.
        assert!(
            !detail.contains(MARK) || is_named(config),
            "{pointer} repeats a value: {detail:?}"
        );
    }
}

/// Whether a field has the mark in its name.
fn is_named(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_named),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains(MARK) || is_named(value)),
        _ => false,
    }
}

/// A rendered or evaluated value is of a size that can be stored.
pub fn value(value: &minijinja::Value) {
    if let Some(text) = value.as_str() {
        assert!(text.len() <= VALUE_MAX_BYTES, "a text without end");
    } else if let Ok(value) = to_json(value) {
        assert!(size_of(&value) <= VALUE_MAX_BYTES, "a value without end");
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => 8 + items.iter().map(size_of).sum::<usize>(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| name.len() + size_of(value));
            8 + fields.sum::<usize>()
        }
    }
}

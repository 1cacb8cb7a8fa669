//! Custom logic: an HTTP function of the user's that obtains the token by itself.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::absence::contents;
use super::answer::Issued;
use super::client::{HttpAnswer, Request};
use super::parsed::{Parsed, is_harmed};
use super::scope::Previous;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::document::{LIFETIME_MAX_S, ProxyChoice, ResponseFormat};
use crate::realm::failure::Failure;
use crate::secret::Secret;
use crate::token::TokenPayload;
use crate::token::expiry::Expiry;

/// Everything the server knows about the secret, as one JSON object.
pub(super) fn request(url: &Url, secret: &Secret, previous: &Previous) -> Request {
    let mut body: Map<String, Value> = secret
        .params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.expose_secret().into()))
        .collect();
    let token = previous
        .inputs
        .token
        .as_ref()
        .map(ExposeSecret::expose_secret);
    for (name, value) in [
        ("realm", json!(secret.realm.as_str())),
        ("key", json!(secret.key.as_str())),
        ("token", json!(token)),
        ("expires_at", json!(previous.expires_at.map(|at| at.0))),
        ("created_at", json!(secret.created_at.0)),
        ("updated_at", json!(secret.updated_at.0)),
    ] {
        body.insert(name.to_owned(), value);
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Request {
        method: Method::POST,
        url: url.clone(),
        headers,
        body: Some(Value::Object(body).to_string().into_bytes()),
        tls: None,
        proxy: ProxyChoice::Unsaid,
    }
}

/// `{"token", "expires_in"}`, in seconds from the request.
pub(super) fn read(answer: &HttpAnswer, requested_at: EpochMs) -> Result<Issued, Failure> {
    if !answer.status.is_success() {
        let status = answer.status.as_u16();
        return Err(Failure::transient(format!(
            "custom logic answered {status}"
        )));
    }
    let parsed = Parsed::of(answer, ResponseFormat::Json);
    if let Some(fault) = &parsed.fault {
        let detail = format!("custom logic: {}", fault.detail);
        return Err(Failure::transient(detail));
    }
    let body = parsed.body();
    let token = body
        .get("token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::transient(format!(
            "custom logic's answer holds no token; it {}",
            contents(body)
        )));
    }
    if is_harmed(token) {
        return Err(Failure::transient(
            "custom logic's token holds a character that cannot be represented",
        ));
    }
    let seconds = body
        .get("expires_in")
        .and_then(Value::as_i64)
        .ok_or_else(|| {
            Failure::internal(format!(
                "expiry_unknown: custom logic's answer holds no expires_in in whole seconds; it {}",
                contents(body)
            ))
        })?;
    if seconds > LIFETIME_MAX_S {
        return Err(Failure::transient(
            "the expires_in of custom logic's answer is implausible: it is longer than ten years",
        ));
    }
    Ok(Issued {
        payload: TokenPayload {
            token: SecretString::from(token),
            token_type: None,
            extra: Value::Null,
            expiry: Expiry::At(requested_at.plus(Ms::from_secs(seconds))),
        },
        refresh: None,
        skew: None,
    })
}

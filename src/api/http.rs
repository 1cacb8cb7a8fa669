//! What handlers know of the request they work on: its id, and what the log names of it.

use poem::Request;
use poem::http::{HeaderValue, Method};

use crate::foundation::clock::Ms;
use crate::foundation::ids::{KeyName, RealmId};

pub const REQUEST_ID: &str = "x-request-id";

pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Where tickets are pushed: no key is shown, what is sent is signed.
pub const SIGNED: &str = "/api/ticket/";

/// Whether the body of such a request is read, even where none is expected.
pub fn has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// A method by its name. Anyone can make up others, of any length: they are one.
pub fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The id of a request, in answers and in the log.
#[derive(Clone)]
pub struct RequestId(pub String);

impl RequestId {
    pub fn of(request: &Request) -> String {
        request
            .data::<Self>()
            .map(|id| id.0.clone())
            .unwrap_or_default()
    }
}

/// An answer that is held back for so long.
#[derive(Clone, Copy, Debug)]
pub struct HeldBack(pub Ms);

/// Has the log name the realm that a request is about.
pub fn note_realm(realm: &RealmId) {
    tracing::Span::current().record("realm", realm.as_str());
}

/// Has the log name the secret that a request is about.
pub fn note_secret(realm: &RealmId, key: &KeyName) {
    note_realm(realm);
    tracing::Span::current().record("key", key.as_str());
}

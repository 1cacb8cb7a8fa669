//! `GET /api/token` where everything is in memory: the caller, the token, and nothing to be
//! said but that. It waits for nothing, so it needs no task of its own; all else goes the
//! long way, and so does whatever is not plain.

use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use poem::http::{HeaderValue, Method, StatusCode};
use poem::{Request, Response};
use prometheus_client::metrics::counter::Counter;

use super::admission::is_good;
use super::browser::NOSNIFF;
use super::credential::presented;
use super::http::{NO_STORE, REQUEST_ID};
use super::preconditions::{self, tag_value};
use super::tokens::plain;
use crate::access::scope::Scope;
use crate::access::writer::GivenToken;
use crate::app::App;
use crate::foundation::metrics::{RequestLabels, seconds};

const PATH: &str = "/api/token";
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub struct Hot {
    answered: Counter,
    not_modified: Counter,
}

impl Hot {
    pub fn new(app: &App) -> Self {
        let counted = |status: StatusCode| {
            let labels = RequestLabels {
                route: PATH.to_owned(),
                method: Method::GET.to_string(),
                status: status.as_u16(),
            };
            app.metrics.requests.get_or_create_owned(&labels)
        };
        Self {
            answered: counted(StatusCode::OK),
            not_modified: counted(StatusCode::NOT_MODIFIED),
        }
    }

    /// None where it goes the long way.
    pub fn answer(&self, app: &App, request: &Request) -> Option<Response> {
        if *request.method() != Method::GET || request.uri().path() != PATH {
            return None;
        }
        let now = app.clock.moment();
        let (realm, key) = plain_names(request.uri().query()?)?;
        let caller = app.memory.sure_caller(presented(request)?.hash(), now)?;
        if !caller.has(Scope::TokenRead) || !caller.coverage.secret(realm, key) {
            return None;
        }
        let (cell, expires_in) = app.reads.read_at_once(realm, key, now)?;
        let tag = tag_value(&cell.tag)?;
        let body = match preconditions::is_known(request.headers(), cell.tag.opaque()) {
            true => None,
            false => Some(plain(&cell, expires_in).ok()?),
        };
        if let Some(limit) = &caller.limit {
            // One too many is told on the long way.
            limit.take(now.boot).ok()?;
        }
        is_good(request);
        let id = app.randomness.id();
        let read = GivenToken {
            actor: &caller.name,
            realm,
            key,
            generation: cell.generation.0,
        };
        app.audit_writer.token_read(&read, &id);
        let id = HeaderValue::try_from(id).ok()?;
        let mut response = match body {
            Some(body) => {
                self.answered.inc();
                let mut response = Response::from(body);
                response.headers_mut().insert(CONTENT_TYPE, JSON);
                response
            }
            None => {
                self.not_modified.inc();
                StatusCode::NOT_MODIFIED.into()
            }
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, tag);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(REQUEST_ID, id);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        let took = app.clock.boot().since(now.boot);
        app.metrics.request_seconds.observe(seconds(took));
        Some(response)
    }
}

/// Realm and key, where the query holds nothing else, and nothing that is escaped.
fn plain_names(query: &str) -> Option<(&str, &str)> {
    if query.contains(['%', '+']) {
        return None;
    }
    let (one, other) = query.split_once('&')?;
    let (realm, key) = match (one.strip_prefix("realm="), other.strip_prefix("key=")) {
        (Some(realm), Some(key)) => (realm, key),
        _ => (other.strip_prefix("realm=")?, one.strip_prefix("key=")?),
    };
    (!realm.contains('&') && !key.contains('&')).then_some((realm, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_realm_and_a_key_in_plain_letters_are_answered_at_once() {
        for query in ["realm=r&key=k", "key=k&realm=r"] {
            assert_eq!(plain_names(query), Some(("r", "k")), "{query}");
        }
        for query in [
            "",
            "realm=r",
            "realm=r&realm=k",
            "realm=r&key=k&flush=true",
            "realm=r&min_ttl_s=5&key=k",
            "realm=r&key=a%20b",
            "realm=r&key=a+b",
            "key=k&realm=r&",
        ] {
            assert_eq!(plain_names(query), None, "{query}");
        }
    }
}

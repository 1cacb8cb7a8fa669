//! API keys at the door. A handler that takes a [`Key`] is reached only by callers whose
//! key has its scope; the scheme stands in the specification by the same token.

use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use secrecy::SecretString;

use super::front::RequestId;
use super::problem::Problem;
use crate::access::audit::{self, Entry, Outcome};
use crate::access::scope::Scope;
use crate::access::{Caller, store};
use crate::app::App;
use crate::foundation::ids::{KeyName, RealmId};
use crate::registry::Actor;

/// Names the scope that a handler asks for.
pub trait Asks: Send + Sync {
    const SCOPE: Scope;
}

pub struct TokenRead;
pub struct TokenFlush;
pub struct Admin;
pub struct ReadMetrics;

impl Asks for TokenRead {
    const SCOPE: Scope = Scope::TokenRead;
}
impl Asks for TokenFlush {
    const SCOPE: Scope = Scope::TokenFlush;
}
impl Asks for Admin {
    const SCOPE: Scope = Scope::Admin;
}
impl Asks for ReadMetrics {
    const SCOPE: Scope = Scope::Metrics;
}

/// A caller whose key has the scope `S`.
pub struct Key<S> {
    caller: Caller,
    request_id: String,
    scope: PhantomData<S>,
}

impl<S> Key<S> {
    pub fn actor(&self) -> Actor {
        Actor {
            name: self.caller.name.clone(),
            request_id: Some(self.request_id.clone()),
        }
    }

    /// Refuses a secret that the key's patterns do not cover.
    pub fn must_cover(&self, realm: &RealmId, key: &KeyName) -> Result<(), Problem> {
        if self.caller.covers(realm, key) {
            Ok(())
        } else {
            Err(Problem::forbidden(
                "This API key does not cover that realm and key.",
            ))
        }
    }

    pub fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        if self.caller.has(scope) {
            Ok(())
        } else {
            Err(lacks(scope))
        }
    }
}

fn lacks(scope: Scope) -> Problem {
    Problem::forbidden(format!("This API key lacks the scope {scope}."))
}

impl<'a, S: Asks> ApiExtractor<'a> for Key<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "bearer",
            scheme("bearer", "An API key: `Authorization: Bearer KEY`"),
        );
        registry.create_security_scheme(
            "basic",
            scheme(
                "basic",
                "An API key as the password; the user name does not matter",
            ),
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["bearer", "basic"]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let app = request
            .data::<App>()
            .ok_or_else(|| Problem::not_ready("The server is starting."))?;
        let request_id = RequestId::of(request);
        let now = app.clock.now();
        let caller = match presented(request) {
            Some(key) => store::recognise(app.database.reader(), &key, now)
                .await
                .map_err(Problem::from)?,
            None => None,
        };
        let denied = match caller {
            Some(caller) if caller.has(S::SCOPE) => {
                return Ok(Self {
                    caller,
                    request_id,
                    scope: PhantomData,
                });
            }
            Some(caller) => (Some(caller.name), lacks(S::SCOPE)),
            None => (None, Problem::unauthorized()),
        };
        let (actor, problem) = denied;
        let entry = Entry {
            at: now,
            actor,
            action: request.method().to_string(),
            target: request.uri().path().to_owned(),
            outcome: Outcome::Denied,
            detail: None,
            request_id: Some(request_id),
        };
        if let Err(error) = audit::append(app.database.writer(), entry).await {
            tracing::error!(%error, "a denied call could not be written to the audit");
        }
        Err(problem.into())
    }
}

fn scheme(name: &'static str, description: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        description: Some(description),
        name: None,
        key_in: None,
        scheme: Some(name),
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// The key a caller presents: a bearer token (RFC 6750) or a Basic password (RFC 7617).
fn presented(request: &Request) -> Option<SecretString> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.into());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.into());
    }
    None
}

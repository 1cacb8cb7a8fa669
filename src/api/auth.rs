//! API keys at the door. A handler that takes a [`Key`] is reached only by callers whose
//! key has its scope; the scheme stands in the specification by the same token.

use std::marker::PhantomData;
use std::sync::Arc;

use poem::http::header::{ACCEPT, ORIGIN, REFERER};
use poem::http::{HeaderMap, StatusCode};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::browser;
use super::credential::Credential;
use super::http::{RequestId, known_method, note_realm, note_secret};
use super::paths::Unfit;
use super::problem::Problem;
use crate::access::scope::Scope;
use crate::access::writer::{Denial, DenialReason, GivenToken, Look};
use crate::access::{Caller, Rights};
use crate::app::App;
use crate::foundation::ids::{Generation, KeyName, RealmId};
use crate::foundation::pattern::Coverage;
use crate::registry::{Actor, Refusal, RegistryError};

/// Names the scope that a handler asks for.
pub trait Asks: Send + Sync {
    /// None: any credential that is good will do.
    const SCOPE: Option<Scope>;
}

/// A type for each scope that a handler may ask for.
macro_rules! asks {
    ($($name:ident),* $(,)?) => {$(
        pub struct $name;

        impl Asks for $name {
            const SCOPE: Option<Scope> = Some(Scope::$name);
        }
    )*};
}

asks! {
    TokenRead, TokenFlush, RealmRead, RealmWrite, SecretRead, SecretWrite, KeyWrite, AuditRead,
    Metrics, Admin,
}

/// Of a handler that any credential opens which is good.
pub struct AnyScope;

impl Asks for AnyScope {
    const SCOPE: Option<Scope> = None;
}

/// A caller whose key has the scope `S`.
pub struct Key<S> {
    caller: Arc<Caller>,
    is_by_session: bool,
    call: Call,
    scope: PhantomData<S>,
}

/// The caller whose credential was recognised before the body was read.
#[derive(Clone)]
pub struct Recognised {
    pub caller: Arc<Caller>,
    pub credential: Credential,
}

/// What a caller who was let in has shown.
pub fn credential(request: &Request) -> Option<&Credential> {
    let recognised = request.data::<Recognised>()?;
    Some(&recognised.credential)
}

/// What is noted of a call that is denied.
pub struct Call {
    app: App,
    method: String,
    path: String,
    request_id: String,
}

impl Call {
    fn of(request: &Request) -> Result<Self, Problem> {
        let app = request
            .data::<App>()
            .ok_or_else(|| Problem::not_ready("The server is starting."))?;
        Ok(Self::by(request, app))
    }

    pub fn by(request: &Request, app: &App) -> Self {
        Self {
            app: app.clone(),
            method: known_method(request.method()).to_owned(),
            path: request.uri().path().to_owned(),
            request_id: RequestId::of(request),
        }
    }

    /// Every denial passes here, so that none misses the audit.
    pub fn deny(&self, actor: Option<&Caller>, reason: DenialReason) -> Problem {
        let problem = match reason {
            DenialReason::Unauthorized => Problem::unauthorized(),
            DenialReason::Lacks(scope) => {
                Problem::forbidden(format!("This API key lacks the scope {scope}."))
            }
            DenialReason::NotCovered => {
                Problem::forbidden("This API key does not cover that realm or key.")
            }
            DenialReason::NoRight => Problem::forbidden("This API key has no right to this."),
            DenialReason::Limited => Problem::forbidden(
                "This API key is limited to some realms or keys, and this call concerns all.",
            ),
            DenialReason::CrossSite => Problem::cross_site(),
            DenialReason::Csrf => Problem::csrf(),
            DenialReason::KeyRate => {
                too_many("This API key makes more calls a second than its rate allows: send fewer.")
            }
            DenialReason::SignIn(problem) => Problem::forbidden(format!("{problem}.")),
            DenialReason::AddressRate => {
                too_many("Too many calls without a good API key came from this address.")
            }
        };
        // The audit has it: anyone can be denied, as often as they like.
        tracing::debug!(status = problem.status().as_u16(), "a call is denied");
        self.note(actor, reason);
        problem
    }

    pub fn note(&self, actor: Option<&Caller>, reason: DenialReason) {
        self.note_of(actor.map(|caller| caller.name.clone()), reason);
    }

    /// The same of somebody who is known by name only.
    pub fn note_of(&self, actor: Option<String>, reason: DenialReason) {
        self.app.audit_writer.deny(Denial {
            actor,
            reason,
            method: self.method.clone(),
            path: self.path.clone(),
            request_id: self.request_id.clone(),
        });
    }
}

/// What the audit says of a change that was made by a session.
const VIA_SESSION: &str = "via session";

fn too_many(detail: &str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
}

/// Refuses what a page of another site sent and may change something, whatever credentials the
/// browser added.
pub fn refuse_cross_site(request: &Request, app: &App) -> Result<(), Problem> {
    if browser::is_cross_site(request) && browser::may_change(request) {
        let call = Call::by(request, app);
        return Err(call.deny(None, DenialReason::CrossSite));
    }
    Ok(())
}

impl<S> Key<S> {
    pub fn actor(&self) -> Actor {
        Actor {
            name: self.caller.name.clone(),
            request_id: Some(self.call.request_id.clone()),
            rights: Rights::Of(self.caller.clone()),
            via: self.is_by_session.then_some(VIA_SESSION),
        }
    }

    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// What the key's patterns cover.
    pub fn coverage(&self) -> &Coverage {
        &self.caller.coverage
    }

    /// Refuses a secret that the key's patterns do not cover.
    pub fn must_cover(&self, realm: &RealmId, key: &KeyName) -> Result<(), Problem> {
        note_secret(realm, key);
        let covers = self.coverage().secret(realm.as_str(), key.as_str());
        self.check(covers, DenialReason::NotCovered)
    }

    /// Refuses a realm that the key's patterns do not cover.
    pub fn must_cover_realm(&self, realm: &RealmId) -> Result<(), Problem> {
        note_realm(realm);
        let covers = self.coverage().realm(realm.as_str());
        self.check(covers, DenialReason::NotCovered)
    }

    /// Refuses what concerns all secrets of a realm, or all that there are, unless the key's
    /// patterns cover them.
    pub fn must_cover_all(&self, realm: Option<&RealmId>) -> Result<(), Problem> {
        let covers = match realm {
            Some(realm) => self.coverage().all_of(realm.as_str()),
            None => self.coverage().is_everything(),
        };
        self.check(covers, DenialReason::Limited)
    }

    /// A change that was not made; where the rights of the key do not allow it, the audit has it.
    pub fn refused(&self, error: RegistryError) -> Problem {
        match error {
            RegistryError::Refused(Refusal::Denied(why)) => {
                self.call.note(Some(&self.caller), DenialReason::NoRight);
                Problem::forbidden(format!("{why}."))
            }
            other => other.into(),
        }
    }

    /// Refuses what no scope opens; the audit has it.
    pub fn has_no_right(&self, why: &str) -> Problem {
        self.call.note(Some(&self.caller), DenialReason::NoRight);
        Problem::forbidden(why)
    }

    /// A look at a credential, or a use of it, that was granted: the audit has it.
    pub fn has_looked(&self, action: &'static str, target: String, detail: Option<String>) {
        let look = Look {
            actor: self.caller.name.clone(),
            action,
            target,
            detail,
        };
        let request_id = Some(self.call.request_id.clone());
        self.call.app.audit_writer.look(look, request_id);
    }

    /// The caller was given a token.
    pub fn has_read(&self, realm: &RealmId, key: &KeyName, generation: Generation) {
        let read = GivenToken {
            actor: &self.caller.name,
            realm: realm.as_str(),
            key: key.as_str(),
            generation: generation.0,
        };
        let writer = &self.call.app.audit_writer;
        writer.token_read(&read, &self.call.request_id);
    }

    pub fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        self.check(self.caller.has(scope), lacks(&self.caller, scope))
    }

    fn check(&self, allowed: bool, reason: DenialReason) -> Result<(), Problem> {
        match allowed {
            true => Ok(()),
            false => Err(self.call.deny(Some(&self.caller), reason)),
        }
    }
}

fn lacks(caller: &Caller, scope: Scope) -> DenialReason {
    match scope.concerns_all() && !caller.coverage.is_everything() {
        true => DenialReason::Limited,
        false => DenialReason::Lacks(scope),
    }
}

impl<'a, S: Asks> ApiExtractor<'a> for Key<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            "bearer",
            scheme(
                "bearer",
                "An API key, without the word Bearer: it is sent as `Authorization: Bearer KEY`",
            ),
        );
        registry.create_security_scheme(
            "basic",
            scheme(
                "basic",
                "An API key as the password, with any user name; or as the user name, without a \
                 password",
            ),
        );
        registry.create_security_scheme("session", session_scheme());
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["bearer", "basic", "session"]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let call = Call::of(request)?;
        let Some(Recognised { caller, credential }) = request.data::<Recognised>() else {
            return Err(call.deny(None, DenialReason::Unauthorized).into());
        };
        if let Some(scope) = S::SCOPE.filter(|scope| !caller.has(*scope)) {
            let reason = lacks(caller, scope);
            return Err(call.deny(Some(caller), reason).into());
        }
        match request.data::<Unfit>() {
            Some(Unfit(problem)) => Err(problem.clone().into()),
            None => Ok(Self {
                caller: caller.clone(),
                is_by_session: matches!(credential, Credential::Session(_)),
                call,
                scope: PhantomData,
            }),
        }
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

fn session_scheme() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some(
            "A session of the console (`POST /api/session`, or a sign-in by OpenID Connect), sealed; over TLS its name is \
             `__Host-token_server_session`. Looked at where there is no `Authorization` only. What \
             changes something needs `X-CSRF-Token`, too, with what `GET /api/session` says",
        ),
        name: Some("token_server_session"),
        key_in: Some("cookie"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

const BEARER: &str = r#"Bearer realm="token-server""#;
const BASIC: &str = r#"Basic realm="token-server""#;

/// What a 401 offers, one header each (RFC 9110, section 11.6.1). Many clients send no
/// Basic credentials before they are asked for them; a browser that is asked shows a dialogue over
/// the page that called.
pub fn challenges(headers: &HeaderMap) -> &'static [&'static str] {
    if is_of_browser(headers) {
        &[BEARER]
    } else {
        &[BEARER, BASIC]
    }
}

/// Whether a browser sent this: fetch metadata come with every request to a trustworthy
/// origin, `Origin` or `Referer` with those that a page makes, and who opens a page takes HTML.
fn is_of_browser(headers: &HeaderMap) -> bool {
    let marks = ["sec-fetch-mode", "sec-fetch-site"];
    let takes_html = || {
        let accepted = headers.get_all(ACCEPT).iter();
        let mut accepted = accepted.filter_map(|value| value.to_str().ok());
        accepted.any(|value| value.to_ascii_lowercase().contains("text/html"))
    };
    marks.iter().any(|mark| headers.contains_key(*mark))
        || headers.contains_key(ORIGIN)
        || headers.contains_key(REFERER)
        || takes_html()
}

//! Sessions of the console over HTTP: begin one with an API key, show it, end it; how else to sign in.

use poem::Request;
use poem::http::header::SET_COOKIE;
use poem::web::Data as State;
use poem_openapi::payload::{Json, Response};
use poem_openapi::{Object, OpenApi};

use super::auth::{AnyScope, Key, credential};
use super::cookies::SESSION;
use super::credential::Credential;
use super::group::Group;
use super::lists::{Data, Success, data, success};
use super::problem::Problem;
use crate::access::Caller;
use crate::app::App;
use crate::console::session::Session;
use crate::foundation::clock::{Ms, Timeline};
use crate::foundation::pattern::Pattern;

pub struct SessionApi;

/// A session of the console, and what it may do.
#[derive(Object)]
#[oai(rename = "Session")]
struct SessionView {
    /// The name of the API key that it was begun with; of who has signed in by OpenID Connect, `oidc:` and
    /// the subject.
    caller: String,
    /// The number of the rule of `console.oidc` that it has its rights by, from 1; null: an API key's.
    #[oai(nullable)]
    rule: Option<u64>,
    /// What that key or rule is good for now.
    scopes: Vec<String>,
    /// Realms that it is limited to; null: it is not.
    #[oai(nullable)]
    realms: Option<Vec<String>>,
    /// Secret keys, likewise.
    #[oai(nullable)]
    keys: Option<Vec<String>>,
    /// To be sent as `X-CSRF-Token` with each change that is made by the cookie.
    csrf: String,
    /// When it ends unless it is prolonged.
    idle_expires_at: String,
    /// When it ends in any case.
    expires_at: String,
}

fn view(app: &App, session: &Session, caller: &Caller) -> SessionView {
    let ends = app.sessions.ends(session);
    let texts = |patterns: &Vec<Pattern>| {
        let texts = patterns.iter().map(|pattern| pattern.as_str().to_owned());
        texts.collect()
    };
    SessionView {
        caller: caller.name.clone(),
        rule: app.sessions.rule_of(session).map(number),
        scopes: caller.scopes().iter().map(ToString::to_string).collect(),
        realms: caller.coverage.realms.as_ref().map(texts),
        keys: caller.coverage.keys.as_ref().map(texts),
        csrf: session.csrf(),
        idle_expires_at: ends.idle.to_rfc3339(),
        expires_at: ends.at_last.to_rfc3339(),
    }
}

/// Counted from 1.
fn number(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1)
}

/// How to sign in to the console.
#[derive(Object)]
#[oai(rename = "SignIn")]
struct SignInView {
    /// By OpenID Connect; null: by API key only.
    #[oai(nullable)]
    oidc: Option<OidcView>,
}

/// A sign-in by OpenID Connect.
#[derive(Object)]
#[oai(rename = "OidcSignIn")]
struct OidcView {
    /// What the provider is called (`console.oidc.name`).
    name: String,
    /// Where a browser begins: it is led to the provider, and back to the console.
    url: String,
}

/// The header that has the browser keep a session until it ends.
pub fn cookie(request: &Request, app: &App, session: &Session) -> String {
    let lasts: Ms = app.sessions.ends(session).idle.since(app.clock.now());
    let value = app.sessions.seal(session);
    SESSION.set(request, &app.settings.http, &value, lasts)
}

fn must_be_enabled(app: &App) -> Result<(), Problem> {
    match app.settings.console.enabled {
        true => Ok(()),
        false => Err(Problem::not_found(
            "console_disabled",
            "The console of this server is switched off: console.enabled is false.",
        )),
    }
}

/// The session by whose cookie a call is made.
fn shown(request: &Request) -> Result<&Session, Problem> {
    match credential(request) {
        Some(Credential::Session(session)) => Ok(session),
        Some(Credential::Presented(_) | Credential::Certificate(_)) | None => {
            Err(Problem::not_found(
                "no_session",
                "This call is not made by the cookie of a session.",
            ))
        }
    }
}

#[OpenApi(tag = "Group::Access")]
impl SessionApi {
    /// How to sign in to the console
    ///
    /// Needs no key: the sign-in page asks for it. Beside a session by API key (`POST /api/session`),
    /// which there always is, OpenID Connect where `console.oidc` is configured.
    #[oai(path = "/api/sign-in", method = "get", operation_id = "getSignIn")]
    async fn sign_in(&self, app: State<&App>) -> Result<Json<Data<SignInView>>, Problem> {
        must_be_enabled(&app)?;
        let oidc = app.sign_in.as_ref().map(|sign_in| OidcView {
            name: sign_in.name().to_owned(),
            url: sign_in.url(),
        });
        Ok(Json(data(SignInView { oidc })))
    }

    /// Begin a session of the console
    ///
    /// With an API key; a JWT, a certificate or another session begins none. The answer sets a cookie
    /// that is sealed and that only the browser can use. It stands for the key: it has the rights that
    /// the key has at each call, and ends with it, but after `console.session_max_s` at last.
    #[oai(path = "/api/session", method = "post", operation_id = "createSession")]
    async fn begin(
        &self,
        key: Key<AnyScope>,
        app: State<&App>,
        request: &Request,
    ) -> Result<Response<Json<Data<SessionView>>>, Problem> {
        must_be_enabled(&app)?;
        let session = match credential(request) {
            Some(Credential::Presented(presented)) => app.sessions.begin(presented).await?,
            Some(Credential::Session(_) | Credential::Certificate(_)) | None => None,
        };
        let Some(session) = session else {
            return Err(key.has_no_right(
                "A session begins with an API key in Authorization: not with a JWT, a certificate or \
                 another session.",
            ));
        };
        key.has_looked("session.begin", key.caller().name.clone(), None);
        let answer = Json(data(view(&app, &session, key.caller())));
        Ok(Response::new(answer).header(SET_COOKIE, cookie(request, &app, &session)))
    }

    /// Show the session, and prolong it
    ///
    /// The session that the cookie is of. Its idle time (`console.session_idle_s`) begins anew, by a new
    /// cookie, once a tenth of it has passed.
    #[oai(path = "/api/session", method = "get", operation_id = "getSession")]
    async fn show(
        &self,
        key: Key<AnyScope>,
        app: State<&App>,
        request: &Request,
    ) -> Result<Response<Json<Data<SessionView>>>, Problem> {
        must_be_enabled(&app)?;
        let session = shown(request)?;
        let Some(prolonged) = app.sessions.prolonged(session) else {
            return Ok(Response::new(Json(data(view(&app, session, key.caller())))));
        };
        let answer = Json(data(view(&app, &prolonged, key.caller())));
        Ok(Response::new(answer).header(SET_COOKIE, cookie(request, &app, &prolonged)))
    }

    /// End the session
    ///
    /// Has the browser forget the cookie. To end all sessions of an API key, revoke the key; all of a rule
    /// of `console.oidc` end where that is changed.
    #[oai(path = "/api/session", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        key: Key<AnyScope>,
        app: State<&App>,
        request: &Request,
    ) -> Result<Response<Json<Success>>, Problem> {
        must_be_enabled(&app)?;
        shown(request)?;
        key.has_looked("session.end", key.caller().name.clone(), None);
        let removed = SESSION.remove(request, &app.settings.http);
        Ok(Response::new(Json(success())).header(SET_COOKIE, removed))
    }
}

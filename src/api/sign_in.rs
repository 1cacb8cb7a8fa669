//! Sign-in to the console by OpenID Connect, as a browser goes through it: to the provider, and back.

use std::sync::Arc;

use poem::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use poem::http::{HeaderValue, StatusCode};
use poem::web::Data as State;
use poem::{Request, Response};
use url::form_urlencoded;

use super::admission::{give_back, is_good, take};
use super::auth::Call;
use super::console::CONSOLE;
use super::cookies::SIGN_IN;
use super::http::{NO_STORE, RequestId};
use super::sessions::cookie;
use crate::access::sign_in_problem::SignInProblem;
use crate::access::writer::{DenialReason, Look};
use crate::app::App;
use crate::console::rules::SignedIn;
use crate::issuers::sign_in::{Brought, PENDING_MAX, SignIn, SignInRefused};

/// Leads on by a page of this site: a browser sends no `SameSite=Strict` cookie where another site, the
/// provider, has led it.
const SIGNED_IN: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta http-equiv=\"refresh\" content=\"0; url=/console?signed_in=1\">\n<title>token-server</title>\n\
    <p><a href=\"/console?signed_in=1\">token-server</a></p>\n</html>\n";

/// To the provider.
#[poem::handler]
pub async fn begin(sign_in: State<&Arc<SignIn>>, app: State<&App>, request: &Request) -> Response {
    if take(request, &app).is_err() {
        return led_back(&app, request, SignInProblem::TooMany);
    }
    match sign_in.begin().await {
        Ok(begun) => {
            let kept = SIGN_IN.set(request, &app.settings.http, &begun.pending, PENDING_MAX);
            see_other(begun.location.as_str(), &kept)
        }
        Err(refused) => {
            sign_in.tell(&refused);
            refuse(&app, request, refused)
        }
    }
}

/// Back from the provider.
#[poem::handler]
pub async fn complete(
    sign_in: State<&Arc<SignIn>>,
    app: State<&App>,
    request: &Request,
) -> Response {
    if take(request, &app).is_err() {
        return led_back(&app, request, SignInProblem::TooMany);
    }
    let kept = SIGN_IN.shown(request, &app.settings.http);
    let brought = brought(request.uri().query().unwrap_or_default());
    // What asks a provider is large; few calls do.
    match Box::pin(sign_in.complete(kept, &brought)).await {
        Ok(signed_in) => {
            give_back(request, &app);
            is_good(request);
            signed_in_page(&app, request, signed_in)
        }
        Err(refused) => {
            sign_in.tell(&refused);
            refuse(&app, request, refused)
        }
    }
}

/// What is given once; of two nobody knows which is meant.
fn brought(query: &str) -> Brought {
    let once = |name: &str| {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut values = pairs.filter(|(other, _)| other == name);
        let (_, value) = values.next()?;
        match values.next() {
            None => Some(value.into_owned()),
            Some(_) => Some(String::new()),
        }
    };
    Brought {
        code: once("code"),
        state: once("state"),
        issuer: once("iss"),
        error: once("error"),
    }
}

fn signed_in_page(app: &App, request: &Request, signed_in: SignedIn) -> Response {
    let name = signed_in.name.clone();
    tracing::Span::current().record("caller", name.as_str());
    let session = app.sessions.begin_signed_in(signed_in);
    let rule = app.sessions.rule_of(&session);
    let look = Look {
        actor: name.clone(),
        action: "session.begin",
        target: name,
        detail: rule.map(|place| format!("by rule {} of console.oidc", place + 1)),
    };
    app.audit_writer.look(look, Some(RequestId::of(request)));
    Response::builder()
        .content_type("text/html; charset=utf-8")
        .header(CACHE_CONTROL, NO_STORE)
        .header(SET_COOKIE, cookie(request, app, &session))
        .header(SET_COOKIE, SIGN_IN.remove(request, &app.settings.http))
        .body(SIGNED_IN)
}

/// Says in the audit that a sign-in came to nothing, and leads back to the page that says so.
fn refuse(app: &App, request: &Request, refused: SignInRefused) -> Response {
    let problem = refused.problem;
    let call = Call::by(request, app);
    call.note_of(refused.name, DenialReason::SignIn(problem));
    led_back(app, request, problem)
}

fn led_back(app: &App, request: &Request, problem: SignInProblem) -> Response {
    let page = format!("{CONSOLE}?problem={}", problem.code());
    see_other(&page, &SIGN_IN.remove(request, &app.settings.http))
}

fn see_other(location: &str, set_cookie: &str) -> Response {
    let mut response = Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(SET_COOKIE, set_cookie)
        .header(CACHE_CONTROL, NO_STORE)
        .finish();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_twice_counts_as_nothing() {
        let brought = brought("code=a%2Bb&state=s&state=t&session_state=x&iss=https%3A%2F%2Fi");
        assert_eq!(brought.code.as_deref(), Some("a+b"));
        assert_eq!(brought.state.as_deref(), Some(""));
        assert_eq!(brought.issuer.as_deref(), Some("https://i"));
        assert_eq!(brought.error, None);
    }
}

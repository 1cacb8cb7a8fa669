//! Examples of what is sent and answered. Whoever runs `serve --demo` can execute them as they
//! are, in this order: the realm `demo` and its secret `app` are there, and what else an example
//! needs is made by one before it. A test does so.

mod access;
mod overview;
mod shared;
mod tokens;

use serde_json::{Value, json};

use super::problems::ProblemAnswer;
use access::{
    api_keys, audit, issuer_name, issuers, key_id, made_key, new_issuer, new_key, one_issuer,
    session, sign_in,
};
use overview::{overview, settings};
use shared::{DATE, app, data, demo, page, success};
use tokens::{fixed_token, flushed, report, token, token_events};

/// A name, and what makes its value.
pub type ExampleParameter = (&'static str, fn() -> Value);

/// An example of an operation.
pub struct Example {
    pub id: &'static str,
    /// Of required parameters: what is optional is best left out at first.
    pub parameters: &'static [ExampleParameter],
    pub body: Option<fn() -> Value>,
    pub answer: fn() -> Value,
}

const fn example(
    id: &'static str,
    parameters: &'static [ExampleParameter],
    body: Option<fn() -> Value>,
    answer: fn() -> Value,
) -> Example {
    Example {
        id,
        parameters,
        body,
        answer,
    }
}

fn second() -> Value {
    json!("second")
}

fn preset_id() -> Value {
    json!("github_app")
}

fn example_realm() -> Value {
    json!("example")
}

fn named() -> Value {
    json!({"realm": demo(), "key": app()})
}

fn fixed_realm() -> Value {
    json!({"id": "fixed", "comment": "Tokens that are typed in"})
}

fn second_secret() -> Value {
    json!({
        "realm": demo(),
        "key": second(),
        "key_1": "demo-client",
        "key_2": "what-the-provider-gave",
    })
}

fn secret() -> Value {
    json!({
        "realm": demo(),
        "key": app(),
        "params": {"key_1": "de********nt", "key_2": "********"},
        "state": "active",
        "generation": 3,
        "expires_at": DATE,
        "renew_at": DATE,
        "last_attempt_at": DATE,
        "last_error": null,
        "waiting": null,
        "created_at": DATE,
        "updated_at": DATE,
    })
}

fn events() -> Value {
    json!("event: realm\ndata: {\"realm\":\"demo\"}\n\n")
}

fn one_secret() -> Value {
    data(secret())
}

fn secrets() -> Value {
    page(secret())
}

fn deleted_secret() -> Value {
    data(json!({
        "secrets": 1,
        "keys": [second()],
        "tokens": 1,
        "refresh_tokens": 0,
        "candidates": 0,
        "tickets": 0,
    }))
}

fn deleted_realm() -> Value {
    data(json!({
        "secrets": 0,
        "keys": [],
        "tokens": 0,
        "refresh_tokens": 0,
        "candidates": 0,
        "tickets": 0,
    }))
}

fn realm() -> Value {
    json!({
        "id": "fixed",
        "comment": "Tokens that are typed in",
        "config": null,
        "logic_code": null,
        "version": 1,
        "blocked_until": null,
        "created_at": DATE,
        "updated_at": DATE,
    })
}

fn one_realm() -> Value {
    data(realm())
}

fn realms() -> Value {
    page(realm())
}

fn registration() -> Value {
    json!({"id": example_realm(), "replace": true})
}

fn document() -> Value {
    json!({
        "params": {"client_id": {"secret": false}, "client_secret": {}},
        "url": "https://provider.example/token",
        "method": "POST",
        "content_type": "form",
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "client_credentials"},
        ],
        "client_auth": {
            "method": "client_secret_basic",
            "client_id": "$client_id",
            "client_secret": "$client_secret",
        },
        "token_path": "access_token",
        "expires_in_path": "expires_in",
    })
}

fn trial() -> Value {
    json!({
        "config": document(),
        "params": {"client_id": "my-client", "client_secret": "my-secret"},
        "send": false,
    })
}

fn dry_run() -> Value {
    data(json!({
        "exchanges": [{
            "name": "main",
            "request": {
                "method": "POST",
                "url": "https://provider.example/token",
                "headers": [{"name": "authorization", "value": "Basic ********"}],
                "body": {"grant_type": "client_credentials"},
            },
        }],
    }))
}

fn preset() -> Value {
    json!({
        "id": preset_id(),
        "title": "GitHub App (installation access token)",
        "names": ["git"],
        "category": "developer",
        "country": "US",
        "documentation": "https://docs.github.com/en/apps",
        "verified": "documentation",
        "sources": [{
            "url": "https://docs.github.com/en/rest/apps/apps",
            "read": "2026-11-28",
            "for": "the request and its answer",
        }],
        "facts": ["A token lives for an hour."],
        "config": document(),
    })
}

fn presets() -> Value {
    page(preset())
}

fn one_preset() -> Value {
    data(preset())
}

fn renewals() -> Value {
    page(json!({
        "id": 7,
        "realm": demo(),
        "key": app(),
        "attempt_id": "0b9c7a1e52d84f3f-1",
        "cause": "scheduled",
        "outcome": "stored",
        "class": null,
        "detail": null,
        "generation": 3,
        "started_at": DATE,
        "duration_ms": 12,
        "replica": "replica-1",
    }))
}

fn run() -> Value {
    data(
        json!({"renewed": 1, "failed": 0, "discarded": 0, "waiting": 0, "left": 0, "duration_ms": 12}),
    )
}

fn metrics() -> Value {
    json!("# TYPE token_server_sweeps counter\ntoken_server_sweeps_total 42\n# EOF\n")
}

fn challenge() -> Value {
    json!({"type": "url_verification", "token": "the-verification-token", "challenge": "c"})
}

fn challenged() -> Value {
    json!({"challenge": "c"})
}

pub const EXAMPLES: &[Example] = &[
    example("getHealth", &[], None, success),
    example("getReadiness", &[], None, success),
    example("getMetrics", &[], None, metrics),
    example("getToken", &[("realm", demo), ("key", app)], None, token),
    example(
        "watchToken",
        &[("realm", demo), ("key", app)],
        None,
        token_events,
    ),
    example("flushToken", &[], Some(named), flushed),
    example("reportToken", &[], Some(report), token),
    example("listRealms", &[], None, realms),
    example("saveRealm", &[], Some(fixed_realm), one_realm),
    example("saveFixedToken", &[], Some(fixed_token), success),
    example("getRealm", &[("id", demo)], None, one_realm),
    example("previewRealm", &[("id", demo), ("key", app)], None, dry_run),
    example("testRealm", &[], Some(trial), dry_run),
    example("listPresets", &[], None, presets),
    example("getPreset", &[("id", preset_id)], None, one_preset),
    example(
        "registerPreset",
        &[("id", preset_id)],
        Some(registration),
        one_realm,
    ),
    example("deleteRealm", &[("id", example_realm)], None, deleted_realm),
    example("listSecrets", &[], None, secrets),
    example("getEvents", &[], None, events),
    example("saveSecret", &[], Some(second_secret), one_secret),
    example(
        "getSecret",
        &[("realm", demo), ("key", app)],
        None,
        one_secret,
    ),
    example(
        "pauseSecret",
        &[("realm", demo), ("key", second)],
        None,
        one_secret,
    ),
    example(
        "resumeSecret",
        &[("realm", demo), ("key", second)],
        None,
        one_secret,
    ),
    example(
        "deleteSecret",
        &[("realm", demo), ("key", second)],
        None,
        deleted_secret,
    ),
    example("listRenewals", &[], None, renewals),
    example("runRenewals", &[], None, run),
    example("getSignIn", &[], None, sign_in),
    example("createSession", &[], None, session),
    // These are for whoever has its cookie.
    example("getSession", &[], None, session),
    example("endSession", &[], None, success),
    example("createApiKey", &[], Some(new_key), made_key),
    example("listApiKeys", &[], None, api_keys),
    example("revokeApiKey", &[("id", key_id)], None, success),
    example(
        "saveIssuer",
        &[("name", issuer_name)],
        Some(new_issuer),
        one_issuer,
    ),
    example("listIssuers", &[], None, issuers),
    example("getIssuer", &[("name", issuer_name)], None, one_issuer),
    example("deleteIssuer", &[("name", issuer_name)], None, success),
    example("listAuditEntries", &[], None, audit),
    example("getOverview", &[], None, overview),
    example("getSettings", &[], None, settings),
    // Nothing pushes tickets for the demo: these are refused there.
    example("checkTicketUrl", &[("realm", demo)], None, challenged),
    example(
        "receiveTicket",
        &[("realm", demo)],
        Some(challenge),
        challenged,
    ),
];

/// What a problem looks like, by its first code.
pub fn of_problem(problem: &ProblemAnswer, title: &str) -> Value {
    let code = problem.codes.first().copied().unwrap_or_default();
    let mut example = json!({
        "type": format!("urn:token-server:problem:{code}"),
        "title": title,
        "status": problem.status,
        "detail": problem.description,
        "code": code,
        "request_id": "0b9c7a1e52d84f3f",
    });
    if problem.status == 422 {
        example["errors"] = json!([{"pointer": "/realm", "detail": "is required"}]);
    }
    if code == "token_unavailable" {
        example["class"] = json!("transient");
    }
    example
}

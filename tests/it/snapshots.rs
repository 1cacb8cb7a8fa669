//! The whole of what is answered, as it was recorded: the good answer of each operation, the
//! problems, and what dry runs say. `tests/it/snapshots/` holds the records; where a change of them
//! is meant, `INSTA_UPDATE=always cargo test --test it snapshots::` writes them anew.

mod problems;

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::kit::contract::{self, SPECIFICATION};
use crate::kit::issuer::unsigned;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    each_operation_answers_as_recorded,
    dry_runs_show_what_was_recorded,
}

/// What differs from one run to the next: chance, ports, and how long something took.
const VARYING: [&str; 7] = [
    "attempt_id",
    "chain",
    "duration_ms",
    "renew_at",
    "replica",
    "request_id",
    "seq",
];

/// What no call alone brings about: it takes a race, an outage or damage; or a session, or a stream
/// of events, which have tests of their own (`tests/it/sessions.rs`, `tests/it/console_events.rs`).
const NOT_BY_A_CALL: [&str; 12] = [
    "busy",
    "changed_meanwhile",
    "console_disabled",
    "csrf",
    "database_unavailable",
    "internal",
    "no_session",
    "not_ready",
    "params_damaged",
    "request_timeout",
    "too_many_streams",
    "unreadable_here",
];

/// Calls, and holds what is answered against the records.
struct Recorded<'a> {
    client: &'a Client,
    provider: &'a Provider,
    /// Names of operations.
    called: BTreeSet<String>,
}

impl<'a> Recorded<'a> {
    fn of(client: &'a Client, provider: &'a Provider) -> Self {
        let called = BTreeSet::new();
        Self {
            client,
            provider,
            called,
        }
    }

    /// Sends a call, `METHOD /path`; its answer is recorded under the operation's name.
    async fn operation(&mut self, call: &str, body: Option<Value>) -> Value {
        let request = request(self.client, call, body);
        let reply = self.client.send(request).await.expect(200);
        let (method, path) = parts(call);
        let name = contract::operation(&method, path).expect("it is in the specification");
        let name = name["operationId"]
            .as_str()
            .expect("it has a name")
            .to_owned();
        record("operations", &name, &self.text(&reply));
        self.called.insert(name);
        serde_json::from_str(&reply.text).unwrap_or_default()
    }

    /// Sends what is refused; its answer is recorded under the problem's code.
    async fn problem(&self, request: RequestBuilder, code: &str) {
        let reply = self.client.send(request).await;
        let status = reply.status.as_u16();
        reply.clone().expect_problem(status, code);
        record("problems", code, &self.text(&reply));
    }

    /// The status, the media type and the body, without what varies.
    fn text(&self, reply: &Reply) -> String {
        let media_type = reply.header("content-type").unwrap_or_default();
        let body = match serde_json::from_str::<Value>(&reply.text) {
            Ok(mut json) => {
                let own = self.provider.url("");
                steady(&mut json, &own);
                serde_json::to_string_pretty(&json).expect("it is JSON")
            }
            Err(_) => described(&reply.text),
        };
        format!("{} {media_type}\n\n{body}", reply.status.as_u16())
    }
}

fn parts(call: &str) -> (Method, &str) {
    let (method, target) = call.split_once(' ').expect("a method and a path");
    let path = target.split('?').next().unwrap_or(target);
    (method.parse().expect("a method"), path)
}

fn request(client: &Client, call: &str, body: Option<Value>) -> RequestBuilder {
    let (_, target) = call.split_once(' ').expect("a method and a path");
    let request = client.request(parts(call).0, target);
    match body {
        Some(body) => typed(request, "application/json").body(body.to_string()),
        None => request,
    }
}

fn typed(request: RequestBuilder, media_type: &str) -> RequestBuilder {
    request.header("content-type", media_type)
}

/// Takes out what varies.
fn steady(value: &mut Value, provider: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if VARYING.contains(&name.as_str()) && !field.is_null() && !field.is_boolean() {
                    *field = format!("<{name}>").into();
                }
                steady(field, provider);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| steady(item, provider)),
        Value::String(text) if text.starts_with("tsk_") => *text = "<API key>".to_owned(),
        Value::String(text) if text.ends_with(" GMT") => *text = "<date>".to_owned(),
        Value::String(text) => *text = text.replace(provider, "http://provider"),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Of metrics, what each is; their values vary. Of events, all.
fn described(text: &str) -> String {
    if text.starts_with("event:") {
        return text.to_owned();
    }
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

fn record(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn realm(provider: &Provider) -> Value {
    json!({
        "params": {
            "key_1": {"title": "App ID", "secret": false},
            "key_2": {"title": "App secret", "pattern": "[a-z-]{3,}"},
        },
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "arguments": [
            {"name": "client_id", "place": "body", "value": "$key_1"},
            {"name": "client_secret", "place": "body", "value": "$key_2"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "error": {"code": "body.error", "classes": {"permanent": ["invalid_client"]}},
    })
}

fn ticketed(provider: &Provider) -> Value {
    json!({
        "url": provider.url("/token"), "method": "GET",
        "arguments": [{"name": "ticket", "place": "url", "value": "$ticket"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "ticket": {"format": "feishu_json", "app_id": "$key_1", "token": "$key_2", "valid_s": 600},
    })
}

fn secret(realm: &str) -> Value {
    json!({"realm": realm, "key": "k", "key_1": "the-app", "key_2": "the-secret"})
}

async fn each_operation_answers_as_recorded(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, _) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let mut recorded = Recorded::of(client, &provider);
    let call = &mut recorded;

    call.operation("GET /healthz", None).await;
    call.operation("GET /readyz", None).await;
    call.operation("GET /api/preset?page=1&pageSize=1", None)
        .await;
    call.operation("GET /api/preset/wechat_oa", None).await;
    let body = json!({"id": "from-a-preset"});
    call.operation("POST /api/preset/wechat_oa", Some(body))
        .await;
    let body = json!({"config": realm(&provider), "params": {"key_1": "a", "key_2": "the-secret"}});
    call.operation("POST /api/realm/test", Some(body)).await;
    let body = json!({"id": "r", "config": realm(&provider), "comment": "an example"});
    call.operation("POST /api/realm", Some(body)).await;
    call.operation("GET /api/realm/r", None).await;
    call.operation("GET /api/realm?keyword=r&pageSize=1", None)
        .await;

    call.operation("POST /api/secret", Some(secret("r"))).await;
    client.generation("r", "k", 1).await;
    server.settled().await;
    call.operation("GET /api/token?realm=r&key=k", None).await;
    call.operation("GET /api/token/watch?realm=r&key=k", None)
        .await;
    call.operation("GET /api/secret/r/k", None).await;
    call.operation("GET /api/secret?state=active", None).await;
    call.operation("GET /api/realm/r/preview?key=k", None).await;
    call.operation("GET /api/renewal?outcome=stored", None)
        .await;
    let body = json!({"realm": "r", "key": "k"});
    call.operation("POST /api/token/flush", Some(body)).await;
    let body = json!({"realm": "r", "key": "k", "generation": 1});
    call.operation("POST /api/token/report", Some(body)).await;
    // Nothing is due.
    call.operation("POST /api/renewal/run?realm=r", None).await;
    call.operation("POST /api/secret/r/k/pause", None).await;
    call.operation("POST /api/secret/r/k/resume", None).await;

    let fixed = json!({"id": "fixed", "config": null});
    client.post("/api/realm", &fixed).await.expect(200);
    let body = json!({"realm": "fixed", "key": "k", "token": "typed-in"});
    call.operation("PUT /api/token", Some(body)).await;

    let body = json!({"id": "pushed", "config": ticketed(&provider)});
    client.post("/api/realm", &body).await.expect(200);
    client
        .post("/api/secret", &secret("pushed"))
        .await
        .expect(200);
    let push = json!({"type": "url_verification", "token": "the-secret", "challenge": "c"});
    call.operation("POST /api/ticket/pushed", Some(push)).await;

    let body = json!({"name": "reader", "scopes": ["token:read"], "realms": ["r*"]});
    let made = call.operation("POST /api/api-key", Some(body)).await;
    call.operation("GET /api/api-key", None).await;
    let id = made["data"]["id"].as_str().map(str::to_owned);
    let id = id.unwrap_or_else(|| made["data"]["id"].to_string());
    call.operation(&format!("DELETE /api/api-key/{id}"), None)
        .await;
    let issuer = json!({
        "issuer": "https://token.actions.githubusercontent.com",
        "audiences": ["token-server"],
        "rules": [{
            "when": "claims.repository == 'acme/site'",
            "scopes": ["token:read"],
            "realms": ["r*"],
        }],
    });
    call.operation("PUT /api/issuer/github", Some(issuer)).await;
    call.operation("GET /api/issuer", None).await;
    call.operation("GET /api/issuer/github", None).await;
    call.operation("DELETE /api/issuer/github", None).await;
    call.operation("DELETE /api/secret/r/k", None).await;
    call.operation("DELETE /api/realm/r", None).await;
    call.operation("GET /api/audit?pageSize=2&action=secret.delete", None)
        .await;
    call.operation("GET /metrics", None).await;

    let mut all = BTreeSet::new();
    for methods in SPECIFICATION["paths"].as_object().expect("paths").values() {
        let operations = methods.as_object().expect("methods").values();
        all.extend(operations.map(|said| said["operationId"].as_str().expect("a name").to_owned()));
    }
    // Of this one the good answer is a signed echo: tests/it/tickets.rs.
    all.remove("checkTicketUrl");
    // What these answer is of one server or session; it is read by tests/it/sessions.rs, sign_in.rs,
    // tests/it/console_events.rs and tests/it/console_pages.rs.
    for id in [
        "getSignIn",
        "createSession",
        "getSession",
        "endSession",
        "getEvents",
        "getOverview",
        "getSettings",
    ] {
        all.remove(id);
    }
    assert_eq!(recorded.called, all);
}

async fn dry_runs_show_what_was_recorded(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, _) = Server::on_manual_clock(&database).await;
    let recorded = Recorded::of(&server.client, &provider);
    let config = realm(&provider);
    let trial =
        |params: Value, send: bool| json!({"config": config, "params": params, "send": send});
    let good = json!({"key_1": "the-app", "key_2": "the-secret"});
    let refused = json!({"error": "invalid_client", "error_description": "no such client"});
    for (name, answer, trial) in [
        ("not sent", None, trial(good.clone(), false)),
        ("good", None, trial(good.clone(), true)),
        (
            "refused",
            Some(Answer::status(401).with_json(&refused)),
            trial(good.clone(), true),
        ),
        (
            "unreadable",
            Some(Answer::status(200).with_json(&json!({"token": "t"}))),
            trial(good, true),
        ),
    ] {
        if let Some(answer) = answer {
            provider.answer_next(answer);
        }
        let reply = server.client.dry_run(&trial).await.expect(200);
        record("dry_runs", name, &recorded.text(&reply));
    }
}

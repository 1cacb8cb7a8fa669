//! What is written down of who does what: changes, and calls that are denied.

use serde_json::{Value, json};

use super::{call, specified, with_key, with_scopes};
use crate::kit::server::Client;
use crate::kit::{Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    every_change_is_in_the_audit_with_actor_target_and_request,
    a_call_denied_at_the_door_is_in_the_audit_without_its_query,
    a_call_denied_for_the_secret_it_asks_for_is_in_the_audit_too,
}

/// Operations that change something, in an order in which each has something to change; with the
/// action and the target that the audit comes to hold.
pub const CHANGES: [(&str, &str, &str); 12] = [
    ("POST /api/api-key", "api_key.create", "made"),
    ("POST /api/realm", "realm.save", "r"),
    ("POST /api/preset/{id}", "realm.save", "auth0"),
    ("DELETE /api/api-key/{id}", "api_key.revoke", "{id}"),
    ("POST /api/secret", "secret.save", "r/k"),
    ("PUT /api/token", "secret.save", "r/k"),
    (
        "POST /api/secret/{realm}/{key}/pause",
        "secret.pause",
        "r/k",
    ),
    (
        "POST /api/secret/{realm}/{key}/resume",
        "secret.resume",
        "r/k",
    ),
    ("DELETE /api/secret/{realm}/{key}", "secret.delete", "r/k"),
    ("DELETE /api/realm/{id}", "realm.delete", "r"),
    ("PUT /api/issuer/{name}", "issuer.save", "made"),
    ("DELETE /api/issuer/{name}", "issuer.delete", "made"),
];

/// Operations that are no `GET` and change nothing that an admin has set: a dry run, a push by a
/// provider, renewals, which have a history of their own, and sessions, which nobody stores.
pub const NO_CHANGES: [&str; 7] = [
    "POST /api/session",
    "DELETE /api/session",
    "POST /api/realm/test",
    "POST /api/ticket/{realm}",
    "POST /api/token/flush",
    "POST /api/token/report",
    "POST /api/renewal/run",
];

/// An operation of [`CHANGES`] as it is called, and its body. `id` is that of an API key.
pub fn change(operation: &str, id: &str) -> (String, Value) {
    let body = match operation {
        "POST /api/api-key" => json!({"name": "made", "scopes": ["metrics"]}),
        "POST /api/realm" => json!({"id": "r", "comment": "a comment"}),
        "PUT /api/issuer/{name}" => json!({"issuer": "https://issuer.example", "audiences": ["a"]}),
        "POST /api/secret" => json!({"realm": "r", "key": "k", "token": "canary"}),
        "PUT /api/token" => json!({"realm": "r", "key": "k", "token": "another canary"}),
        _ => json!({}),
    };
    let called = operation
        .replace("{realm}/{key}", "r/k")
        .replace("realm/{id}", "realm/r")
        .replace("preset/{id}", "preset/auth0")
        .replace("{name}", "made")
        .replace("{id}", id);
    (called, body)
}

/// Compares what the audit comes to hold of one actor, oldest first: a denied call is
/// written a moment after its answer.
async fn expect_audited(client: &Client, actor: Value, expected: &[Value]) {
    let fields = ["action", "target", "outcome", "request_id"];
    let entries = eventually("as many entries as expected", async || {
        let entries = client.audited().await.into_iter().rev();
        let of_actor = entries.filter(|entry| entry["actor"] == actor);
        let told = of_actor.map(|entry| json!(fields.map(|field| entry[field].clone())));
        Some(told.collect::<Vec<_>>()).filter(|told| told.len() >= expected.len())
    });
    assert_eq!(entries.await, expected);
}

fn request_of(reply: &Reply) -> &str {
    reply.header("x-request-id").expect("every answer has one")
}

#[test]
fn of_every_operation_that_is_no_get_it_is_known_whether_the_audit_has_it() {
    let names = specified().into_iter().map(|(name, _)| name);
    let mut others: Vec<_> = names.filter(|name| !name.starts_with("GET ")).collect();
    others.sort();
    let changes = CHANGES.map(|(operation, _, _)| operation);
    let mut known = [&changes[..], &NO_CHANGES].concat();
    known.sort_unstable();
    assert_eq!(others, known);
}

async fn every_change_is_in_the_audit_with_actor_target_and_request(database: TestDatabase) {
    let server = Server::start(&database).await;
    let by = with_scopes(&server.client, "operator", &["admin"]).await;
    let (mut id, mut expected) = (String::new(), Vec::new());
    for (operation, action, target) in CHANGES {
        let (called, body) = change(operation, &id);
        let reply = call(&by, &called, &body).await.expect(200);
        if operation == "POST /api/api-key" {
            id = reply.json()["data"]["id"].to_string();
        }
        let target = target.replace("{id}", &id);
        expected.push(json!([action, target, "done", request_of(&reply)]));
    }
    // What was refused is no change.
    by.delete("/api/realm/r").await.expect(404);
    let secret = json!({"realm": "r", "key": "k", "token": "canary"});
    by.post("/api/secret", &secret).await.expect(400);
    expect_audited(&server.client, json!("operator"), &expected).await;
    let entries = server.client.list("/api/audit").await;
    assert!(entries.iter().all(|entry| entry["at"].is_string()));
    assert!(!json!(entries).to_string().contains("canary"));
}

async fn a_call_denied_at_the_door_is_in_the_audit_without_its_query(database: TestDatabase) {
    let server = Server::start(&database).await;
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let stranger = server.client.without_key();
    let long = format!("DELETE /api/realm/{}", "n".repeat(600));
    for (caller, actor) in [(stranger, Value::Null), (reader, json!("reader"))] {
        let mut expected = Vec::new();
        for operation in ["PUT /api/token", "GET /api/realm/r", &long] {
            let (method, target) = operation.split_once(' ').expect("a method and a path");
            let called = format!("{operation}?keyword=canary");
            let reply = call(&caller, &called, &json!({})).await;
            expected.push(json!([method, target, "denied", request_of(&reply)]));
        }
        expect_audited(&server.client, actor, &expected).await;
    }
}

async fn a_call_denied_for_the_secret_it_asks_for_is_in_the_audit_too(database: TestDatabase) {
    let server = Server::start(&database).await;
    let scopes = ["token:read", "token:flush"];
    let document = json!({"name": "limited", "scopes": scopes, "realms": ["wx"]});
    let limited = with_key(&server.client, document).await;
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let secret = json!({"realm": "other", "key": "k"});
    let read = limited.token("other", "k").await.expect(403);
    let flush = limited.post("/api/token/flush", &secret).await.expect(403);
    let read = json!(["GET", "/api/token", "denied", request_of(&read)]);
    let flush = json!(["POST", "/api/token/flush", "denied", request_of(&flush)]);
    expect_audited(&server.client, json!("limited"), &[read, flush]).await;
    let flush = reader.get("/api/token?realm=wx&key=k&flush=true").await;
    let flush = json!(["GET", "/api/token", "denied", request_of(&flush)]);
    expect_audited(&server.client, json!("reader"), &[flush]).await;
}

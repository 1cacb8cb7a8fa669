//! What the audit has of changes, looks and uses, and what it shows of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use token_server::foundation::clock::Ms;

use super::exported;
use crate::access::{call, make_key, scope_of, specified, with_key, with_scopes};
use crate::kit::server::{Client, Options};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_change_shows_what_it_replaced_and_no_secret,
    every_look_and_use_of_a_credential_is_in_the_audit,
    the_first_read_of_each_generation_by_each_caller_on_each_replica_is_in_the_audit,
    reads_are_left_out_of_the_audit_where_the_configuration_says_so,
    looks_of_one_kind_add_entries_by_the_minute,
    looks_that_cannot_be_written_are_counted_and_answered,
}

const MINUTE: Ms = Ms::from_secs(60);

/// Operations that show a credential or use one, with the action that the audit comes to hold.
const LOOKS: [(&str, &str, &str); 10] = [
    ("GET /api/token?realm=r&key=k", "token.read", "r/k"),
    (
        "GET /api/token/watch?realm=r&key=k&include=token",
        "token.read",
        "r/k",
    ),
    (
        "GET /api/token?realm=r&key=k&flush=true",
        "token.flush",
        "r/k",
    ),
    ("POST /api/token/flush", "token.flush", "r/k"),
    ("POST /api/token/report", "token.report", "r/k"),
    ("POST /api/renewal/run", "renewal.run", "(all realms)"),
    ("GET /api/secret", "secret.list", "(all realms)"),
    ("GET /api/secret/{realm}/{key}", "secret.read", "r/k"),
    ("GET /api/realm/{id}/preview?key=k", "secret.preview", "r/k"),
    (
        "POST /api/realm/test",
        "realm.test",
        "(a document of the call)",
    ),
];

/// Scopes whose operations show and use no credential of a secret.
const OF_NO_CREDENTIAL: [&str; 4] = ["realm:read", "key:write", "audit:read", "metrics"];
/// Nor do these.
const NO_LOOKS: [&str; 9] = [
    "GET /api/renewal",
    "GET /api/event",
    "GET /api/overview",
    "GET /api/settings",
    // Of sessions `sessions.rs` says what the audit holds.
    "POST /api/session",
    "GET /api/session",
    "DELETE /api/session",
    // Changes.
    "POST /api/preset/{id}",
    "PUT /api/token",
];

/// Entries of the audit that are no changes and no denied calls, oldest first.
async fn looks(client: &Client) -> Vec<Value> {
    let mut entries = client.list("/api/audit").await;
    entries.retain(|entry| {
        let action = entry["action"].as_str().unwrap_or_default();
        LOOKS.iter().any(|(_, look, _)| *look == action)
    });
    entries.reverse();
    entries
}

#[test]
fn of_every_operation_it_is_known_whether_it_looks_at_a_credential() {
    for (operation, _) in specified() {
        let scope = scope_of(&operation);
        let path = |look: &str| look.split('?').next() == Some(operation.as_str());
        let looks = LOOKS.iter().any(|(look, _, _)| path(look));
        let changes = matches!(scope, "realm:write" | "secret:write" | "");
        let known =
            OF_NO_CREDENTIAL.contains(&scope) || NO_LOOKS.contains(&operation.as_str()) || changes;
        assert!(looks || known, "{operation} is in none of the lists");
    }
}

/// A realm whose document has an open and a secret parameter.
fn document(url: &str) -> Value {
    json!({
        "url": url, "method": "POST",
        "params": {
            "account": {"secret": false}, "password": {}, "more": {"optional": true},
        },
        "arguments": [
            {"name": "account", "place": "url", "value": "${ account }"},
            {"name": "password", "place": "url", "value": "${ password }"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

async fn changes(client: &Client) -> Vec<Value> {
    let entries = client.audited().await.into_iter().rev();
    entries
        .map(|entry| {
            let fields = ["action", "before", "after"];
            json!(fields.map(|field| entry[field].clone()))
        })
        .collect()
}

async fn a_change_shows_what_it_replaced_and_no_secret(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    let (one, other) = (provider.url("/one"), provider.url("/other"));
    let realm =
        |url: &str, comment: &str| json!({"id": "r", "comment": comment, "config": document(url)});
    let saves = [
        ("/api/realm", realm(&one, "first")),
        ("/api/realm", realm(&other, "second")),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": {"account": "a-1", "password": "canary-1"}}),
        ),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": {"account": "a-2", "password": "canary-2", "more": "canary-3"}}),
        ),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": {"more": null}}),
        ),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": {"account": "a-2"}}),
        ),
        ("/api/secret/r/k/pause", json!({})),
        ("/api/secret/r/k/resume", json!({})),
    ];
    for (path, body) in saves {
        client.post(path, &body).await.expect(200);
    }
    let key = json!({"name": "made", "scopes": ["token:read"], "realms": ["r*"]});
    let (id, key) = make_key(client, &key).await;
    client
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    client.delete("/api/secret/r/k").await.expect(200);
    client.delete("/api/realm/r").await.expect(200);
    client
        .post("/api/realm", &json!({"id": "f"}))
        .await
        .expect(200);
    let token =
        json!({"realm": "f", "key": "k", "token": "canary-4", "expires_at": 4_102_444_800_000_i64});
    client.put("/api/token", &token).await.expect(200);
    let told = changes(client).await;
    let revoked = &told[10][2]["revoked_at"];
    let scopes = json!(["token:read"]);
    let expected = [
        json!(["realm.save", {"comment": "first", "config": {"/url": one}}, {"comment": "second", "config": {"/url": other}}]),
        json!(["secret.save", null, {"params": {"account": "a-1", "password": "***"}}]),
        json!(["secret.save",
            {"params": {"account": "a-1", "more": null, "password": "***"}},
            {"params": {"account": "a-2", "more": "***", "password": "***"}}]),
        json!(["secret.save", {"params": {"more": "***"}}, {"params": {"more": null}}]),
        json!(["secret.save", {"params": {}}, {"params": {}}]),
        json!(["secret.pause", {"paused": false}, {"paused": true}]),
        json!(["secret.resume", {"paused": true}, {"paused": false}]),
        json!(["api_key.create", null, {
            "name": "made", "scopes": scopes, "realms": ["r*"], "keys": null, "expires_at": null,
            "rate": null,
        }]),
        json!(["api_key.revoke",
            {"name": "made", "scopes": scopes, "revoked_at": null},
            {"name": "made", "scopes": scopes, "revoked_at": revoked}]),
        json!(["secret.delete", {"params": {"account": "***", "password": "***"}}, null]),
    ];
    // Before these are the administrator's key and the realm.
    assert_eq!(told[2..12], expected);
    assert_eq!(told[1][1], Value::Null);
    assert_eq!(told[1][2]["config"]["/url"], one);
    assert_eq!(told[12][0], "realm.delete");
    assert_eq!(told[12][1]["config"]["/url"], other);
    assert_eq!(told[12][2], Value::Null);
    let token = json!(["secret.save", null, {
        "params": {}, "token": {"token": "***", "expires_at": "2100-01-01T00:00:00.000Z"},
    }]);
    assert_eq!(told.last(), Some(&token));
    let everything = json!(client.list("/api/audit").await).to_string();
    assert!(!everything.contains("canary") && !everything.contains(&key));
}

async fn every_look_and_use_of_a_credential_is_in_the_audit(database: TestDatabase) {
    let provider = Provider::start().await;
    let interval = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
    let server = Server::with_env(&database, &[interval]).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    let scopes = ["token:read", "token:flush", "admin"];
    let by = with_scopes(client, "operator", &scopes).await;
    let mut expected = BTreeSet::new();
    for (operation, action, target) in LOOKS {
        let operation = operation
            .replace("{realm}/{key}", "r/k")
            .replace("{id}", "r");
        let body = match action {
            "token.report" => json!({"realm": "r", "key": "k", "generation": 1}),
            "realm.test" => json!({
                "config": {
                    "url": provider.url("/tried"), "method": "GET",
                    "token_path": "access_token", "expires_in_path": "expires_in",
                },
                "send": true,
            }),
            _ => json!({"realm": "r", "key": "k"}),
        };
        call(&by, &operation, &body).await.expect(200);
        expected.insert(json!(["operator", action, target, "done"]).to_string());
    }
    // A dry run that sends nothing uses nothing, and what was not found was not looked at.
    let tried = json!({"config": {"url": provider.url("/t"), "method": "GET", "token_path": "t", "expires_in": 60}});
    by.post("/api/realm/test", &tried).await;
    by.get("/api/secret/r/unknown").await.expect(404);
    server.stop().await;
    let (mut told, mut flushes) = (BTreeSet::new(), 0);
    for entry in exported(&database, &[]) {
        let action = entry["action"].as_str().unwrap_or_default();
        if entry["actor"] == "operator" {
            let fields = ["actor", "action", "target", "outcome"];
            told.insert(json!(fields.map(|field| entry[field].clone())).to_string());
            assert!(entry["request_id"].is_string(), "{entry}");
        }
        if action == "token.flush" {
            flushes += entry["count"].as_i64().unwrap_or(0);
        }
    }
    assert_eq!(told, expected);
    assert_eq!(flushes, 2);
    let actions = "SELECT COUNT(*) FROM ts_audit WHERE action = 'realm.test'";
    assert_eq!(database.number(actions).await, 1);
    let unknown = "SELECT COUNT(*) FROM ts_audit WHERE target = 'r/unknown'";
    assert_eq!(database.number(unknown).await, 0);
}

async fn the_first_read_of_each_generation_by_each_caller_on_each_replica_is_in_the_audit(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let interval = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
    let options = || Options::default().with(&[interval]);
    let servers = [
        Server::start_with(&database, options()).await,
        Server::start_with(&database, options()).await,
    ];
    let client = &servers[0].client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    let mut readers = Vec::new();
    for name in ["one", "two"] {
        let document = json!({"name": name, "scopes": ["token:read"]});
        readers.push((name, make_key(client, &document).await.1));
    }
    let mut expected = Vec::new();
    for generation in 1..=2 {
        for server in &servers {
            for (name, key) in &readers {
                let reader = server.client.with_key(key);
                for _ in 0..5 {
                    let token = reader.token("r", "k").await.expect(200).json();
                    assert_eq!(token["generation"], generation);
                }
                expected.push(json!([name, format!("generation {generation}")]));
            }
        }
        if generation == 1 {
            let body = json!({"realm": "r", "key": "k"});
            client.post("/api/token/flush", &body).await.expect(200);
            for server in &servers {
                server.client.generation("r", "k", 2).await;
            }
        }
    }
    // Of all others it is known by then that they were not the first.
    for server in servers {
        server.stop().await;
    }
    let server = Server::start(&database).await;
    let mut reads: Vec<_> = looks(&server.client)
        .await
        .into_iter()
        .filter(|entry| entry["action"] == "token.read" && entry["actor"] != "bootstrap-admin")
        .map(|entry| {
            assert_eq!(
                (&entry["target"], &entry["count"]),
                (&json!("r/k"), &json!(1))
            );
            json!([entry["actor"], entry["detail"]])
        })
        .collect();
    reads.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(reads, expected);
}

async fn reads_are_left_out_of_the_audit_where_the_configuration_says_so(database: TestDatabase) {
    let provider = Provider::start().await;
    for (reads, entries) in [("off", 0), ("first", 1)] {
        let options = Options::default().with(&[("TOKEN_SERVER__AUDIT__READS", reads)]);
        let server = Server::start_with(&database, options).await;
        let client = &server.client;
        client.register_realm("r", &provider.url("/token")).await;
        client.save_secret("r", "k").await;
        client.generation("r", "k", 1).await;
        client.token("r", "k").await.expect(200);
        client.get("/api/secret/r/k").await.expect(200);
        server.stop().await;
        let read = "SELECT COUNT(*) FROM ts_audit WHERE action = 'token.read'";
        assert_eq!(database.number(read).await, entries, "{reads}");
        // Other looks are there whatever it says.
        let looked = "SELECT COUNT(*) FROM ts_audit WHERE action = 'secret.read'";
        assert!(database.number(looked).await > 0, "{reads}");
    }
}

async fn looks_of_one_kind_add_entries_by_the_minute(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let realm = json!({"id": "r"});
    client.post("/api/realm", &realm).await.expect(200);
    let secret = json!({"realm": "r", "key": "k", "token": "fixed"});
    client.post("/api/secret", &secret).await.expect(200);
    let document = json!({"name": "operator", "scopes": ["secret:read"]});
    let operator = with_key(client, document).await;
    let mut last = String::new();
    for _ in 0..40 {
        let reply = operator.get("/api/secret/r/k").await.expect(200);
        last = reply.header("x-request-id").expect("an id").to_owned();
    }
    clock.advance(MINUTE);
    let entries = eventually("the sum is written", async || {
        Some(looks(client).await).filter(|entries| entries.len() > 1)
    })
    .await;
    let counts: Vec<_> = entries.iter().map(|entry| &entry["count"]).collect();
    assert_eq!(counts, [1, 39]);
    assert_eq!(entries[1]["request_id"], *last);
}

async fn looks_that_cannot_be_written_are_counted_and_answered(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    client
        .post("/api/realm", &json!({"id": "r"}))
        .await
        .expect(200);
    let secret = json!({"realm": "r", "key": "k", "token": "fixed"});
    client.post("/api/secret", &secret).await.expect(200);
    database.run("ALTER TABLE ts_audit RENAME TO away").await;
    for _ in 0..3 {
        client.token("r", "k").await.expect(200);
        client.get("/api/secret/r/k").await.expect(200);
    }
    let app = server.app().clone();
    server.stop().await;
    // One first read and three looks.
    assert_eq!(app.metrics.audit_dropped.get(), 4);
}

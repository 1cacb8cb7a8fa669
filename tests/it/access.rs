//! Who may do what.

pub mod audited;
mod key_patterns;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use token_server::access::key::KeyHash;
use token_server::access::scope::Scope;
use token_server::foundation::clock::{Clock, Ms};
use token_server::foundation::words::words;

use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::{Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    only_a_key_that_is_known_unrevoked_and_unexpired_opens_anything,
    an_operation_opens_for_its_own_scope_and_for_no_other_but_admin,
    a_key_counts_as_a_password_or_lone_name_of_basic_and_not_in_the_query,
    a_key_of_patterns_reads_and_flushes_only_what_they_cover,
    a_flush_by_get_needs_the_scopes_of_reading_and_of_flushing,
    the_list_of_keys_shows_neither_a_key_nor_its_hash,
    the_name_of_a_key_is_taken_once,
    documentation_is_public_and_serves_the_generated_specification,
    metrics_are_openmetrics_and_name_no_secret,
}

pub const SCOPES: [&str; 10] = [
    "token:read",
    "token:flush",
    "realm:read",
    "realm:write",
    "secret:read",
    "secret:write",
    "key:write",
    "audit:read",
    "metrics",
    "admin",
];

/// Stands for any scope: the credential must be good.
pub const ANY_SCOPE: &str = "any";

/// Every operation, by the scope it asks for; anybody may call the first, by design.
const OPERATIONS: [(&str, &str); 12] = [
    (
        "",
        "GET /api/sign-in, GET /healthz, GET /readyz, GET /api/ticket/{realm}, POST /api/ticket/{realm}",
    ),
    (
        ANY_SCOPE,
        "POST /api/session, GET /api/session, DELETE /api/session",
    ),
    ("token:read", "GET /api/token, GET /api/token/watch"),
    (
        "token:flush",
        "POST /api/token/flush, POST /api/token/report, POST /api/renewal/run",
    ),
    (
        "realm:read",
        "GET /api/realm, GET /api/realm/{id}, GET /api/preset, GET /api/preset/{id}",
    ),
    (
        "realm:write",
        "POST /api/realm, DELETE /api/realm/{id}, POST /api/realm/test, POST /api/preset/{id}",
    ),
    (
        "secret:read",
        "GET /api/secret, GET /api/secret/{realm}/{key}, GET /api/realm/{id}/preview, \
         GET /api/renewal, GET /api/event, GET /api/overview",
    ),
    (
        "secret:write",
        "POST /api/secret, DELETE /api/secret/{realm}/{key}, \
         POST /api/secret/{realm}/{key}/pause, POST /api/secret/{realm}/{key}/resume, \
         PUT /api/token",
    ),
    (
        "key:write",
        "GET /api/api-key, POST /api/api-key, DELETE /api/api-key/{id}, GET /api/issuer, \
         GET /api/issuer/{name}, PUT /api/issuer/{name}, DELETE /api/issuer/{name}",
    ),
    ("audit:read", "GET /api/audit"),
    ("metrics", "GET /metrics"),
    ("admin", "GET /api/settings"),
];

pub fn scope_of(operation: &str) -> &'static str {
    let named = |(_, names): &&(&str, &str)| names.split(", ").any(|name| name == operation);
    match OPERATIONS.iter().find(named) {
        Some((scope, _)) => scope,
        None => panic!("{operation} is not in OPERATIONS"),
    }
}

fn specification() -> Value {
    serde_json::from_str(token_server::api::specification()).expect("it is JSON")
}

/// `METHOD /path` of what the specification holds, and whether it requires security.
pub fn specified() -> Vec<(String, bool)> {
    let mut operations = Vec::new();
    for (path, methods) in specification()["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            // An empty requirement would mean: a key or none.
            let schemes = operation["security"].as_array();
            let secured = schemes.is_some_and(|s| !s.is_empty() && !s.contains(&json!({})));
            operations.push((format!("{} {path}", method.to_uppercase()), secured));
        }
    }
    operations
}

fn secured_operations() -> impl Iterator<Item = String> {
    let names = specified().into_iter().map(|(name, _)| name);
    names.filter(|name| !scope_of(name).is_empty())
}

/// Calls `METHOD /path`; parameters of the path stand for their own values.
pub async fn call(client: &Client, operation: &str, body: &Value) -> Reply {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    let method = method.parse().expect("a method");
    let request = client.request(method, &path.replace(['{', '}'], ""));
    let request = request.header("content-type", "application/json");
    client.send(request.body(body.to_string())).await
}

pub async fn make_key(client: &Client, document: &Value) -> (i64, String) {
    let made = client.post("/api/api-key", document).await.expect(200);
    let made = &made.json()["data"];
    let key = made["key"].as_str().expect("a key").to_owned();
    (made["id"].as_i64().expect("an id"), key)
}

pub async fn with_key(client: &Client, document: Value) -> Client {
    client.with_key(&make_key(client, &document).await.1)
}

pub async fn with_scopes(client: &Client, name: &str, scopes: &[&str]) -> Client {
    with_key(client, json!({"name": name, "scopes": scopes})).await
}

#[test]
fn every_operation_of_the_specification_is_public_by_design_or_secured() {
    let specified = specified();
    for (name, secured) in &specified {
        assert_eq!(*secured, !scope_of(name).is_empty(), "{name}");
    }
    for name in OPERATIONS.iter().flat_map(|(_, names)| names.split(", ")) {
        let there = specified.iter().any(|(specified, _)| specified == name);
        assert!(there, "{name} is not in the specification");
    }
}

#[test]
fn the_scopes_that_are_tried_are_all_there_are() {
    assert_eq!(SCOPES[..], words(Scope::ALL, Scope::as_str));
}

async fn only_a_key_that_is_known_unrevoked_and_unexpired_opens_anything(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let end = clock.now().0 + 60_000;
    let key = json!({"name": "expired", "scopes": SCOPES, "expires_at": end});
    let expired = with_key(client, key).await;
    let (id, revoked) = make_key(client, &json!({"name": "revoked", "scopes": SCOPES})).await;
    let revoked = client.with_key(&revoked);
    expired.get("/api/realm").await.expect(200);
    revoked.get("/api/realm").await.expect(200);
    let revocation = format!("/api/api-key/{id}");
    client.delete(&revocation).await.expect(200);
    let again = client.delete(&revocation).await;
    again.expect_problem(404, "unknown_api_key");
    clock.advance(Ms::from_secs(60));
    let callers = [
        ("no key", client.without_key()),
        ("an empty key", client.with_key("")),
        ("an unknown key", client.with_key(&ADMIN_KEY[1..])),
        ("a revoked key", revoked),
        ("an expired key", expired),
    ];
    for operation in secured_operations() {
        for (what, caller) in &callers {
            let reply = call(caller, &operation, &json!({})).await;
            assert_eq!(reply.status, 401, "{operation} with {what}");
            let challenge = reply.header("www-authenticate").expect("a challenge");
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            reply.expect_problem(401, "unauthorized");
        }
    }
}

async fn an_operation_opens_for_its_own_scope_and_for_no_other_but_admin(database: TestDatabase) {
    let server = Server::start(&database).await;
    let admin = with_scopes(&server.client, "administrator", &["admin"]).await;
    for scope in SCOPES.into_iter().filter(|scope| *scope != "admin") {
        let others = SCOPES.into_iter();
        let others: Vec<_> = others
            .filter(|other| ![scope, "admin"].contains(other))
            .collect();
        let others = with_scopes(&server.client, &format!("not {scope}"), &others).await;
        let owner = with_scopes(&server.client, scope, &[scope]).await;
        let is_of_admin = !scope.starts_with("token:");
        for operation in secured_operations().filter(|name| scope_of(name) == scope) {
            let denied = call(&others, &operation, &json!({})).await;
            assert_eq!(denied.status, 403, "{operation} without {scope}");
            let problem = denied.expect_problem(403, "forbidden");
            assert!(problem["detail"].as_str().expect("a text").contains(scope));
            for (caller, opens) in [(&owner, true), (&admin, is_of_admin)] {
                let status = call(caller, &operation, &json!({})).await.status.as_u16();
                assert_eq!(
                    ![401, 403].contains(&status),
                    opens,
                    "{operation}: {status}"
                );
            }
        }
    }
}

async fn a_key_counts_as_a_password_or_lone_name_of_basic_and_not_in_the_query(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = server.client.without_key();
    for (name, password, status) in [
        ("anybody", ADMIN_KEY, 200),
        ("", ADMIN_KEY, 200),
        ("anybody", "", 401),
        ("anybody", &ADMIN_KEY[1..], 401),
        // Whoever pastes it into the first field of a dialog.
        (ADMIN_KEY, "", 200),
        (&ADMIN_KEY[1..], "", 401),
        (ADMIN_KEY, "something", 401),
        ("", "", 401),
    ] {
        let request = client.request(Method::GET, "/api/realm");
        let request = request.basic_auth(name, Some(password));
        client.send(request).await.expect(status);
    }
    for name in ["key", "api_key", "token", "access_token", "authorization"] {
        let reply = client.get(&format!("/api/realm?{name}={ADMIN_KEY}")).await;
        reply.expect_problem(401, "unauthorized");
    }
}

/// A server that flushes as often as it is asked, with three secrets in two realms.
async fn with_secrets(database: &TestDatabase, provider: &Provider) -> Server {
    let interval = "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S";
    let server = Server::with_env(database, &[(interval, "0")]).await;
    let (client, url) = (&server.client, provider.url("/token"));
    client.register_realm("wx-1", &url).await;
    client.register_realm("other", &url).await;
    for (realm, key) in [("wx-1", "app-1"), ("wx-1", "foreign"), ("other", "app-1")] {
        client.save_secret(realm, key).await;
        client.generation(realm, key, 1).await;
    }
    server
}

async fn a_key_of_patterns_reads_and_flushes_only_what_they_cover(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider).await;
    let document = json!({
        "name": "limited", "scopes": ["token:read", "token:flush"],
        "realms": ["wx-*"], "keys": ["app-*"],
    });
    let limited = with_key(&server.client, document).await;
    for (realm, key, status) in [
        ("wx-1", "app-1", 200),
        ("wx-1", "foreign", 403),
        ("other", "app-1", 403),
        ("other", "unknown", 403),
    ] {
        let read = format!("GET /api/token?realm={realm}&key={key}");
        let body = json!({"realm": realm, "key": key});
        let flush = format!("{read}&flush=true");
        for operation in [&read, &flush, "POST /api/token/flush"] {
            let reply = call(&limited, operation, &body).await.expect(status);
            let code = &reply.json()["code"];
            assert_eq!(code == "forbidden", status == 403, "{operation}: {code}");
        }
    }
    let run = limited.post("/api/renewal/run", &json!({})).await;
    run.expect_problem(403, "forbidden");
    // Three first tokens, and the two flushes that were allowed.
    assert_eq!(provider.request_count(), 5);
}

async fn a_flush_by_get_needs_the_scopes_of_reading_and_of_flushing(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider).await;
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let flusher = with_scopes(&server.client, "flusher", &["token:flush"]).await;
    let both = with_scopes(&server.client, "both", &["token:read", "token:flush"]).await;
    let flush = "/api/token?realm=wx-1&key=app-1&flush=true";
    reader.token("wx-1", "app-1").await.expect(200);
    reader.get(flush).await.expect_problem(403, "forbidden");
    flusher.get(flush).await.expect_problem(403, "forbidden");
    assert_eq!(provider.request_count(), 3);
    assert_eq!(both.get(flush).await.expect(200).json()["generation"], 2);
}

async fn the_list_of_keys_shows_neither_a_key_nor_its_hash(database: TestDatabase) {
    let server = Server::start(&database).await;
    let document = json!({
        "name": "shown once", "scopes": ["token:read"], "realms": ["wx*"], "keys": ["a", "b"],
        "expires_at": 4_102_444_800_000_i64,
    });
    let (id, key) = make_key(&server.client, &document).await;
    let keys = server.client.list("/api/api-key").await;
    let text = json!(keys).to_string();
    for key in [key.as_str(), ADMIN_KEY] {
        let hash = KeyHash::of(&SecretString::from(key));
        for secret in [&key[key.len() - 16..], &hash.hex()[..16]] {
            assert!(!text.contains(secret), "a key or its hash is shown");
        }
    }
    let expected = json!({
        "id": id, "name": "shown once", "hint": &key[..8], "scopes": ["token:read"],
        "realms": ["wx*"], "keys": ["a", "b"], "created_at": keys[0]["created_at"],
        "expires_at": "2100-01-01T00:00:00.000Z", "revoked_at": null, "rate": null, "authentic": true,
    });
    assert_eq!(keys[0], expected);
}

async fn the_name_of_a_key_is_taken_once(database: TestDatabase) {
    let server = Server::start(&database).await;
    let first = with_scopes(&server.client, "one", &["admin"]).await;
    let before = first.list("/api/api-key").await;
    let again = json!({"name": "one", "scopes": ["metrics"]});
    let refused = first.post("/api/api-key", &again).await;
    refused.expect_problem(409, "name_taken");
    assert_eq!(first.list("/api/api-key").await, before);
    // Names are exact.
    with_scopes(&first, "One", &["admin"]).await;
}

async fn documentation_is_public_and_serves_the_generated_specification(database: TestDatabase) {
    let server = Server::start(&database).await;
    let anybody = server.client.without_key();
    let page = anybody.get("/docs").await.expect(200);
    assert!(page.text.to_lowercase().contains("swagger"));
    let served = anybody.get("/openapi.json").await.expect(200);
    assert_eq!(served.json(), specification());
    let yaml = anybody.get("/openapi.yaml").await.expect(200).text;
    for path in specification()["paths"].as_object().expect("paths").keys() {
        assert!(yaml.contains(&format!("  {path}:\n")), "{path} is missing");
    }
}

async fn metrics_are_openmetrics_and_name_no_secret(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider).await;
    server.client.token("wx-1", "foreign").await.expect(200);
    server.client.get("/api/token/foreign").await.expect(404);
    let scraper = with_scopes(&server.client, "prometheus", &["metrics"]).await;
    // A renewal is counted just after it is stored.
    let renewals = [("wx-1", 2), ("other", 1)].map(|(realm, count)| {
        format!("token_server_renewals_total{{realm=\"{realm}\",outcome=\"stored\",class=\"\"}} {count}\n")
    });
    let counted = eventually("three renewals", async || {
        let page = scraper.get("/metrics").await.expect(200);
        let counted = renewals.iter().all(|line| page.text.contains(line));
        counted.then_some(page)
    });
    let page = counted.await;
    let media = page.header("content-type").expect("a media type");
    assert!(media.starts_with("application/openmetrics-text"), "{media}");
    assert!(page.text.contains("# TYPE token_server_renewals counter\n"));
    assert!(page.text.ends_with("# EOF\n"));
    for name in ["foreign", "app-1"] {
        assert!(!page.text.contains(name), "{name}");
    }
}

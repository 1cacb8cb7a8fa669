//! Who may do what, and what is written down of it.

use std::sync::Arc;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use token_server::access::key::KeyHash;
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};

use crate::kit::server::{ADMIN_KEY, Client, Options};
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    an_operation_answers_401_without_a_key_that_is_known_unrevoked_and_unexpired,
    an_operation_answers_403_to_a_key_with_every_scope_but_its_own_and_opens_for_that_alone,
    a_key_is_taken_as_the_password_of_basic_authentication,
    a_key_in_the_query_opens_nothing,
    a_key_of_patterns_reads_and_flushes_what_they_cover_and_nothing_else,
    a_flush_by_get_needs_the_scope_of_flushing_beside_that_of_reading,
    the_list_of_keys_shows_neither_a_key_nor_its_hash,
    the_name_of_a_key_is_taken_once,
    a_key_is_revoked_once_and_for_good,
    every_change_is_in_the_audit_with_actor_target_and_request,
    a_call_denied_at_the_door_is_in_the_audit_without_its_query,
    a_call_denied_for_what_it_asks_of_a_secret_is_in_the_audit_too,
    documentation_is_public_and_the_served_specification_is_the_generated_one,
    metrics_are_openmetrics_and_name_no_secret,
}

const SCOPES: [&str; 4] = ["token:read", "token:flush", "admin", "metrics"];

/// Operations that anybody may call.
const PUBLIC: [&str; 2] = ["GET /healthz", "GET /readyz"];

/// The scope that each other operation asks for.
const SCOPE_OF: [(&str, &str); 20] = [
    ("GET /api/realm", "admin"),
    ("POST /api/realm", "admin"),
    ("GET /api/realm/{id}", "admin"),
    ("DELETE /api/realm/{id}", "admin"),
    ("GET /api/secret", "admin"),
    ("POST /api/secret", "admin"),
    ("GET /api/secret/{realm}/{key}", "admin"),
    ("DELETE /api/secret/{realm}/{key}", "admin"),
    ("POST /api/secret/{realm}/{key}/pause", "admin"),
    ("POST /api/secret/{realm}/{key}/resume", "admin"),
    ("GET /api/token", "token:read"),
    ("PUT /api/token", "admin"),
    ("POST /api/token/flush", "token:flush"),
    ("GET /api/renewal", "admin"),
    ("POST /api/renewal/run", "token:flush"),
    ("GET /api/api-key", "admin"),
    ("POST /api/api-key", "admin"),
    ("DELETE /api/api-key/{id}", "admin"),
    ("GET /api/audit", "admin"),
    ("GET /metrics", "metrics"),
];

struct Operation {
    name: String,
    method: Method,
    path: String,
    secured: bool,
}

impl Operation {
    fn is_public(&self) -> bool {
        PUBLIC.contains(&self.name.as_str())
    }

    fn scope(&self) -> &'static str {
        let known = SCOPE_OF.iter().find(|(name, _)| *name == self.name);
        let (_, scope) = known.unwrap_or_else(|| panic!("{} is not in SCOPE_OF", self.name));
        scope
    }

    /// Calls it, with dummies for the names in its path.
    async fn call(&self, client: &Client) -> crate::kit::Reply {
        let part = |part: &'static str| {
            move |of: &str| match of.starts_with('{') {
                true => part.to_owned(),
                false => of.to_owned(),
            }
        };
        let parts: Vec<_> = self.path.split('/').map(part("dummy")).collect();
        client
            .send(client.request(self.method.clone(), &parts.join("/")))
            .await
    }
}

fn operations() -> Vec<Operation> {
    let specification: Value =
        serde_json::from_str(&token_server::api::specification()).expect("it is JSON");
    let paths = specification["paths"].as_object().expect("paths").clone();
    let of_path = |(path, methods): (String, Value)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(move |(method, operation)| {
            let method = method.to_uppercase();
            let security = operation["security"].as_array().cloned();
            Operation {
                name: format!("{method} {path}"),
                method: method.parse().expect("a method"),
                path: path.clone(),
                // An empty requirement would mean: a key or none.
                secured: security
                    .is_some_and(|schemes| !schemes.is_empty() && !schemes.contains(&json!({}))),
            }
        })
    };
    paths.into_iter().flat_map(of_path).collect()
}

async fn make_key(client: &Client, document: &Value) -> (i64, String) {
    let reply = client.post("/api/api-key", document).await.expect(200);
    let made = &reply.json()["data"];
    let key = made["key"].as_str().expect("a key").to_owned();
    (made["id"].as_i64().expect("an id"), key)
}

async fn with_scopes(client: &Client, name: &str, scopes: &[&str]) -> Client {
    let (_, key) = make_key(client, &json!({"name": name, "scopes": scopes})).await;
    client.with_key(&key)
}

async fn list(client: &Client, path: &str) -> Vec<Value> {
    let reply = client.get(&format!("{path}?pageSize=1000")).await;
    let list = reply.expect(200).json()["data"]["list"].clone();
    list.as_array().expect("a list").clone()
}

#[test]
fn every_operation_of_the_specification_is_public_by_design_or_secured() {
    let operations = operations();
    for operation in &operations {
        assert_ne!(
            operation.is_public(),
            operation.secured,
            "{}",
            operation.name
        );
    }
    let named = PUBLIC.into_iter().chain(SCOPE_OF.map(|(name, _)| name));
    for name in named {
        let there = operations.iter().any(|operation| operation.name == name);
        assert!(there, "{name} is no longer served");
    }
}

async fn an_operation_answers_401_without_a_key_that_is_known_unrevoked_and_unexpired(
    database: TestDatabase,
) {
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    let document = json!({"name": "revoked", "scopes": SCOPES});
    let (id, revoked) = make_key(client, &document).await;
    let end = clock.now().0 + 60_000;
    let document = json!({"name": "expired", "scopes": SCOPES, "expires_at": end});
    let (_, expired) = make_key(client, &document).await;
    for key in [&revoked, &expired] {
        client.with_key(key).get("/api/realm").await.expect(200);
    }
    client
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    clock.advance(Ms::from_secs(60));
    let unknown = "tsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let callers = [
        ("no key", client.without_key()),
        ("an unknown key", client.with_key(unknown)),
        ("an empty key", client.with_key("")),
        ("a revoked key", client.with_key(&revoked)),
        ("an expired key", client.with_key(&expired)),
    ];
    for operation in operations()
        .iter()
        .filter(|operation| !operation.is_public())
    {
        for (what, caller) in &callers {
            let reply = operation.call(caller).await;
            assert_eq!(reply.status, 401, "{} with {what}", operation.name);
            let challenge = reply.header("www-authenticate").expect("a challenge");
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            reply.expect_problem(401, "unauthorized");
        }
    }
}

async fn an_operation_answers_403_to_a_key_with_every_scope_but_its_own_and_opens_for_that_alone(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let mut callers = Vec::new();
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let without = with_scopes(&server.client, &format!("not {scope}"), &others).await;
        let with = with_scopes(&server.client, &format!("only {scope}"), &[scope]).await;
        callers.push((scope, without, with));
    }
    for operation in operations()
        .iter()
        .filter(|operation| !operation.is_public())
    {
        let scope = operation.scope();
        let (_, without, with) = callers
            .iter()
            .find(|(of, ..)| *of == scope)
            .expect("SCOPE_OF names scopes");
        let denied = operation.call(without).await;
        assert_eq!(denied.status, 403, "{} without {scope}", operation.name);
        let problem = denied.expect_problem(403, "forbidden");
        assert!(problem["detail"].as_str().expect("a text").contains(scope));
        let status = operation.call(with).await.status;
        assert!(
            status != 401 && status != 403,
            "{}: {status}",
            operation.name
        );
    }
}

async fn a_key_is_taken_as_the_password_of_basic_authentication(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = server.client.without_key();
    for (user, password, status) in [
        ("x", ADMIN_KEY, 200),
        ("", ADMIN_KEY, 200),
        (ADMIN_KEY, "", 401),
        ("x", "not-the-key-of-anybody-at-all-0123456789", 401),
    ] {
        let request = client.request(Method::GET, "/api/realm");
        let request = request.basic_auth(user, Some(password));
        client.send(request).await.expect(status);
    }
}

async fn a_key_in_the_query_opens_nothing(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = server.client.without_key();
    for name in [
        "key",
        "api_key",
        "apikey",
        "token",
        "access_token",
        "authorization",
    ] {
        for value in [ADMIN_KEY.to_owned(), format!("Bearer%20{ADMIN_KEY}")] {
            let reply = client.get(&format!("/api/realm?{name}={value}")).await;
            reply.expect_problem(401, "unauthorized");
        }
    }
    server.client.get("/api/realm").await.expect(200);
}

/// A server that flushes as often as it is asked, with three secrets in two realms.
async fn with_secrets(database: &TestDatabase, provider: &Provider) -> Server {
    let interval = "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S";
    let options = Options {
        env: vec![(interval, "0".to_owned())],
        ..Options::default()
    };
    let server = Server::start_with(database, options).await;
    let client = &server.client;
    client.register_realm("wx-1", &provider.url("/token")).await;
    client
        .register_realm("other", &provider.url("/token"))
        .await;
    for (realm, key) in [("wx-1", "app-1"), ("wx-1", "foreign"), ("other", "app-1")] {
        client.save_secret(realm, key).await;
        client.generation(realm, key, 1).await;
    }
    server
}

async fn a_key_of_patterns_reads_and_flushes_what_they_cover_and_nothing_else(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider).await;
    let document = json!({
        "name": "limited", "scopes": ["token:read", "token:flush"],
        "realms": ["wx-*"], "keys": ["app-*"],
    });
    let (_, key) = make_key(&server.client, &document).await;
    let limited = server.client.with_key(&key);
    for (realm, key, status) in [
        ("wx-1", "app-1", 200),
        ("wx-1", "foreign", 403),
        ("other", "app-1", 403),
        ("other", "not-there", 403),
    ] {
        let asked = format!("/api/token?realm={realm}&key={key}");
        limited.get(&asked).await.expect(status);
        limited
            .get(&format!("{asked}&flush=true"))
            .await
            .expect(status);
        let flush = json!({"realm": realm, "key": key});
        let reply = limited
            .post("/api/token/flush", &flush)
            .await
            .expect(status);
        if status == 403 {
            reply.expect_problem(403, "forbidden");
        }
    }
    // Three first tokens, and the two flushes that were allowed.
    assert_eq!(provider.request_count(), 5);
}

async fn a_flush_by_get_needs_the_scope_of_flushing_beside_that_of_reading(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = with_secrets(&database, &provider).await;
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let flusher = with_scopes(&server.client, "flusher", &["token:flush"]).await;
    let both = with_scopes(&server.client, "both", &["token:read", "token:flush"]).await;
    let asked = "/api/token?realm=wx-1&key=app-1";
    let flush = format!("{asked}&flush=true");
    reader.get(asked).await.expect(200);
    reader.get(&format!("{asked}&flush=1")).await.expect(200);
    reader.get(&flush).await.expect_problem(403, "forbidden");
    flusher.get(&flush).await.expect_problem(403, "forbidden");
    assert_eq!(provider.request_count(), 3);
    assert_eq!(both.get(&flush).await.expect(200).json()["generation"], 2);
}

async fn the_list_of_keys_shows_neither_a_key_nor_its_hash(database: TestDatabase) {
    let server = Server::start(&database).await;
    let end = 4_102_444_800_000_i64;
    let document = json!({
        "name": "shown once", "scopes": ["token:read"], "realms": ["wx*"], "keys": ["a", "b"],
        "expires_at": end,
    });
    let (id, key) = make_key(&server.client, &document).await;
    let text = server.client.get("/api/api-key").await.expect(200).text;
    for key in [key.as_str(), ADMIN_KEY] {
        let hash = KeyHash::of(&SecretString::from(key));
        let tail = &key[key.len() - 16..];
        for secret in [key, tail, hash.as_str(), &hash.as_str()[..16]] {
            assert!(!text.contains(secret), "a key or its hash is shown");
        }
    }
    let keys = list(&server.client, "/api/api-key").await;
    let listed = keys
        .iter()
        .find(|key| key["id"] == id)
        .expect("it is listed");
    assert_eq!(listed["name"], "shown once");
    assert_eq!(listed["scopes"], json!(["token:read"]));
    assert_eq!(listed["realms"], json!(["wx*"]));
    assert_eq!(listed["keys"], json!(["a", "b"]));
    assert_eq!(listed["expires_at"], "2100-01-01T00:00:00.000Z");
    assert_eq!(listed["revoked_at"], Value::Null);
}

async fn the_name_of_a_key_is_taken_once(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let first = with_scopes(client, "one", &["admin"]).await;
    let before = list(client, "/api/api-key").await;
    let again = json!({"name": "one", "scopes": ["metrics"]});
    let refused = client.post("/api/api-key", &again).await;
    refused.expect_problem(409, "name_taken");
    assert_eq!(list(client, "/api/api-key").await, before);
    first.get("/api/realm").await.expect(200);
    // Names are exact.
    with_scopes(client, "One", &["admin"]).await;
}

async fn a_key_is_revoked_once_and_for_good(database: TestDatabase) {
    let server = Server::start(&database).await;
    let document = json!({"name": "short", "scopes": ["admin"]});
    let (id, key) = make_key(&server.client, &document).await;
    let path = format!("/api/api-key/{id}");
    // It may be its own last act.
    server.client.with_key(&key).delete(&path).await.expect(200);
    server
        .client
        .with_key(&key)
        .get("/api/realm")
        .await
        .expect(401);
    let again = server.client.delete(&path).await;
    again.expect_problem(404, "unknown_api_key");
    let keys = list(&server.client, "/api/api-key").await;
    let listed = keys
        .iter()
        .find(|key| key["id"] == id)
        .expect("it is listed");
    assert!(listed["revoked_at"].is_string(), "{listed}");
}

async fn every_change_is_in_the_audit_with_actor_target_and_request(database: TestDatabase) {
    let server = Server::start(&database).await;
    let by = with_scopes(&server.client, "operator", &["admin"]).await;
    let secret = json!({"realm": "r", "key": "k", "key_2": "canary-value"});
    let token = json!({"realm": "r", "key": "k", "token": "canary-token"});
    let made = by
        .post(
            "/api/api-key",
            &json!({"name": "made", "scopes": ["admin"]}),
        )
        .await;
    let id = made.clone().expect(200).json()["data"]["id"].to_string();
    let revoked = by.delete(&format!("/api/api-key/{id}")).await;
    let mut expected = Vec::new();
    for (reply, action, target) in [
        (made, "api_key.create", "made"),
        (revoked, "api_key.revoke", id.as_str()),
        (
            by.post("/api/realm", &json!({"id": "r"})).await,
            "realm.save",
            "r",
        ),
        (by.post("/api/secret", &secret).await, "secret.save", "r/k"),
        (by.put("/api/token", &token).await, "secret.save", "r/k"),
        (
            by.post("/api/secret/r/k/pause", &json!({})).await,
            "secret.pause",
            "r/k",
        ),
        (
            by.post("/api/secret/r/k/resume", &json!({})).await,
            "secret.resume",
            "r/k",
        ),
        (by.delete("/api/secret/r/k").await, "secret.delete", "r/k"),
        (by.delete("/api/realm/r").await, "realm.delete", "r"),
    ] {
        let request = reply
            .expect(200)
            .header("x-request-id")
            .expect("an id")
            .to_owned();
        expected.push(json!(["operator", action, target, "done", request]));
    }
    // What was refused is no change.
    by.delete("/api/realm/r").await.expect(404);
    by.post("/api/secret", &secret).await.expect(400);
    assert_eq!(audited_of(&server.client, "operator").await, expected);
    let text = server
        .client
        .get("/api/audit?pageSize=1000")
        .await
        .expect(200)
        .text;
    assert!(!text.contains("canary"), "{text}");
}

/// Actor, action, target, outcome and request id of one actor's entries, oldest first.
async fn audited_of(client: &Client, actor: &str) -> Vec<Value> {
    let entries = list(client, "/api/audit").await;
    let fields = |entry: &Value| {
        assert!(entry["at"].is_string(), "{entry}");
        let fields = ["actor", "action", "target", "outcome", "request_id"];
        json!(fields.map(|field| entry[field].clone()))
    };
    let of_actor = entries
        .iter()
        .filter(|entry| entry["actor"] == json!(actor));
    of_actor.rev().map(fields).collect()
}

async fn a_call_denied_at_the_door_is_in_the_audit_without_its_query(database: TestDatabase) {
    let server = Server::start(&database).await;
    let stranger = server.client.without_key();
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let long = format!("/api/realm/{}", "n".repeat(600));
    let cases = [
        (
            Value::Null,
            "GET",
            "/api/audit",
            stranger.get("/api/audit?x=canary").await,
        ),
        (Value::Null, "GET", long.as_str(), stranger.get(&long).await),
        (
            json!("reader"),
            "POST",
            "/api/realm",
            reader.post("/api/realm", &json!({})).await,
        ),
        (
            json!("reader"),
            "DELETE",
            "/api/secret/r/k",
            reader.delete("/api/secret/r/k").await,
        ),
    ];
    let reply = server
        .client
        .get("/api/audit?pageSize=1000")
        .await
        .expect(200);
    assert!(!reply.text.contains("canary"));
    let entries = reply.json()["data"]["list"].clone();
    for (actor, action, target, reply) in cases {
        let request = json!(reply.header("x-request-id").expect("an id"));
        let entries = entries.as_array().expect("a list");
        let entry = entries.iter().find(|entry| entry["request_id"] == request);
        let entry = entry.unwrap_or_else(|| panic!("no entry for {action} {target}"));
        assert_eq!(entry["actor"], actor);
        assert_eq!(entry["action"], action);
        assert_eq!(entry["target"], target);
        assert_eq!(entry["outcome"], "denied");
    }
}

async fn a_call_denied_for_what_it_asks_of_a_secret_is_in_the_audit_too(database: TestDatabase) {
    let server = Server::start(&database).await;
    let document = json!({
        "name": "limited", "scopes": ["token:read", "token:flush"], "realms": ["wx"],
    });
    let (_, key) = make_key(&server.client, &document).await;
    let limited = server.client.with_key(&key);
    let reader = with_scopes(&server.client, "reader", &["token:read"]).await;
    let secret = json!({"realm": "other", "key": "k"});
    let mut by_limited = Vec::new();
    for (reply, action, target) in [
        (limited.token("other", "k").await, "GET", "/api/token"),
        (
            limited.post("/api/token/flush", &secret).await,
            "POST",
            "/api/token/flush",
        ),
    ] {
        let request = reply
            .expect(403)
            .header("x-request-id")
            .expect("an id")
            .to_owned();
        by_limited.push(json!(["limited", action, target, "denied", request]));
    }
    assert_eq!(audited_of(&server.client, "limited").await, by_limited);
    let reply = reader
        .get("/api/token?realm=wx&key=k&flush=true")
        .await
        .expect(403);
    let request = reply.header("x-request-id").expect("an id").to_owned();
    assert_eq!(
        audited_of(&server.client, "reader").await,
        [json!(["reader", "GET", "/api/token", "denied", request])]
    );
}

async fn documentation_is_public_and_the_served_specification_is_the_generated_one(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let anybody = server.client.without_key();
    let page = anybody.get("/docs").await.expect(200);
    assert!(
        page.header("content-type")
            .is_some_and(|media| media.starts_with("text/html"))
    );
    assert!(page.text.to_lowercase().contains("swagger"));
    let generated: Value =
        serde_json::from_str(&token_server::api::specification()).expect("it is JSON");
    let served = anybody.get("/openapi.json").await.expect(200).json();
    assert_eq!(served, generated);
    let yaml = anybody.get("/openapi.yaml").await.expect(200).text;
    for path in generated["paths"].as_object().expect("paths").keys() {
        assert!(yaml.contains(&format!("  {path}:\n")), "{path} is missing");
    }
}

async fn metrics_are_openmetrics_and_name_no_secret(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client
        .register_realm("canary-r", &provider.url("/token"))
        .await;
    client.save_secret("canary-r", "canary-k").await;
    client.generation("canary-r", "canary-k", 1).await;
    client.token("canary-r", "canary-k").await.expect(200);
    client.get("/api/token/canary-r").await.expect(404);
    let scraper = with_scopes(client, "prometheus", &["metrics"]).await;
    let page = scraper.get("/metrics").await.expect(200);
    let media = page.header("content-type").expect("a media type");
    assert!(media.starts_with("application/openmetrics-text"), "{media}");
    for line in [
        "# TYPE token_server_renewals counter",
        "token_server_renewals_total{outcome=\"stored\",class=\"\"} 1",
        "token_server_reads_total{source=\"database\"} 1",
    ] {
        assert!(
            page.text.lines().any(|of| of == line),
            "{line}\n{}",
            page.text
        );
    }
    assert!(page.text.ends_with("# EOF\n"));
    assert!(!page.text.contains("canary"), "{}", page.text);
}

//! Sessions of the console: begun with an API key, and as good as that, for as long as it is.

mod cookies;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, Timeline};
use token_server::registry::BootstrapKey;

use crate::access::{make_key, scope_of, specified};
use crate::kit::browser::Browser;
use crate::kit::issuer::SigningKey;
use crate::kit::server::{ADMIN_KEY, Options};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};
use crate::rights::aimed_at;

on_every_database! {
    a_session_has_the_rights_of_its_key_as_they_are,
    a_session_ends_on_every_replica_when_its_key_is_revoked,
    a_session_ends_with_its_key,
    a_session_ends_when_it_is_idle_and_at_last_however_often_it_is_prolonged,
    a_session_begins_with_an_api_key_only,
    a_console_that_is_switched_off_has_no_sessions,
    the_audit_names_the_key_and_says_that_a_session_made_the_change,
    a_session_has_the_rate_of_its_key,
}

async fn a_session_has_the_rights_of_its_key_as_they_are(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    for realm in ["r", "other"] {
        client.register_realm(realm, &provider.url("/token")).await;
        client.save_secret(realm, "k").await;
    }
    let document = json!({
        "name": "limited", "scopes": ["secret:read", "secret:write"], "realms": ["r"], "keys": ["k*"],
    });
    let (_, key) = make_key(client, &document).await;
    let browser = Browser::sign_in(client, &key).await;
    let shown = &browser.shown;
    assert_eq!(
        json!([
            shown["caller"],
            shown["scopes"],
            shown["realms"],
            shown["keys"]
        ]),
        json!(["limited", ["secret:read", "secret:write"], ["r"], ["k*"]])
    );
    browser.get("/api/secret/r/k").await.expect(200);
    let denied = browser.get("/api/secret/other/k").await;
    denied.expect_problem(403, "forbidden");
    browser
        .get("/api/realm")
        .await
        .expect_problem(403, "forbidden");
    browser
        .change(Method::POST, "/api/secret/r/k/pause")
        .await
        .expect(200);
    let denied = browser.change(Method::DELETE, "/api/secret/other/k").await;
    denied.expect_problem(403, "forbidden");
    // The administrator's own has all that his key has.
    let admin = Browser::sign_in(client, ADMIN_KEY).await;
    assert_eq!(admin.shown["realms"], Value::Null);
    for (operation, _) in specified() {
        if operation.starts_with("GET ") && !scope_of(&operation).is_empty() {
            let (called, _) = aimed_at(&operation, "r", "k");
            let path = called.strip_prefix("GET ").expect("a GET");
            let reply = admin.get(path).await;
            assert_ne!(reply.status, 401, "{operation}");
            assert_ne!(reply.status, 403, "{operation}");
        }
    }
}

async fn a_session_ends_on_every_replica_when_its_key_is_revoked(database: TestDatabase) {
    let one = Server::start(&database).await;
    let other = Server::start(&database).await;
    let (id, key) = make_key(
        &one.client,
        &json!({"name": "operator", "scopes": ["realm:read"]}),
    )
    .await;
    let browser = Browser::sign_in(&one.client, &key).await;
    let elsewhere = browser.at(&other.client);
    for browser in [&browser, &elsewhere] {
        browser.get("/api/realm").await.expect(200);
        browser.get("/api/session").await.expect(200);
    }
    let path = format!("/api/api-key/{id}");
    other.client.delete(&path).await.expect(200);
    elsewhere
        .get("/api/realm")
        .await
        .expect_problem(401, "unauthorized");
    one.follows().await;
    for path in ["/api/realm", "/api/session"] {
        browser.get(path).await.expect_problem(401, "unauthorized");
    }
}

async fn a_session_ends_with_its_key(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let mut document = json!({"name": "ending", "scopes": ["realm:read"]});
    document["expires_at"] = json!(clock.now().0 + 60_000);
    let (_, key) = make_key(client, &document).await;
    let browser = Browser::sign_in(client, &key).await;
    clock.advance(Ms::from_secs(59));
    browser.get("/api/realm").await.expect(200);
    clock.advance(Ms::from_secs(1));
    browser
        .get("/api/realm")
        .await
        .expect_problem(401, "unauthorized");
    // Another key in the place of the first administrator's.
    let admin = Browser::sign_in(client, ADMIN_KEY).await;
    let another = SecretString::from("another-administrator-of-the-tests-0123456789");
    let replaced = server.app().registry.set_bootstrap_key(&another);
    let replaced = replaced.await.expect("the database answers");
    assert_eq!(replaced, BootstrapKey::Good);
    admin
        .get("/api/realm")
        .await
        .expect_problem(401, "unauthorized");
}

async fn a_session_ends_when_it_is_idle_and_at_last_however_often_it_is_prolonged(
    database: TestDatabase,
) {
    let (idle, longest) = (Ms::from_secs(100), Ms::from_secs(250));
    let options = Options::default().with(&[
        ("TOKEN_SERVER__CONSOLE__SESSION_IDLE_S", "100"),
        ("TOKEN_SERVER__CONSOLE__SESSION_MAX_S", "250"),
    ]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let mut browser = Browser::sign_in(&server.client, ADMIN_KEY).await;
    let begun = clock.now();
    let at = |length: Ms| json!(begun.plus(length).to_rfc3339());
    assert_eq!(browser.shown["idle_expires_at"], at(idle));
    assert_eq!(browser.shown["expires_at"], at(longest));
    let left_alone = Browser::sign_in(&server.client, ADMIN_KEY).await;
    // A tenth of the idle time is nothing yet.
    clock.advance(Ms::from_secs(10));
    assert!(!browser.show().await, "no new cookie");
    for _ in 0..2 {
        clock.advance(Ms::from_secs(80));
        // No other call prolongs it.
        browser.get("/api/realm").await.expect(200);
        assert!(browser.show().await, "a new cookie");
    }
    left_alone
        .get("/api/session")
        .await
        .expect_problem(401, "unauthorized");
    // The one that was prolonged ends at last.
    assert_eq!(browser.shown["idle_expires_at"], at(longest));
    assert_eq!(browser.shown["expires_at"], at(longest));
    clock.advance(Ms::from_secs(79));
    browser.get("/api/realm").await.expect(200);
    browser.show().await;
    clock.advance(Ms::from_secs(1));
    browser
        .get("/api/session")
        .await
        .expect_problem(401, "unauthorized");
}

async fn a_session_begins_with_an_api_key_only(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let key = SigningKey::new("k", "ES256");
    let issuer = json!({
        "issuer": "https://issuer.example", "audiences": ["a"], "algorithms": ["ES256"],
        "jwks": {"keys": [key.jwk()]},
        "rules": [{"when": "claims.sub == 's'", "scopes": ["realm:read"]}],
    });
    client.put("/api/issuer/one", &issuer).await.expect(200);
    let now = clock.now().0 / 1000;
    let claims = json!({
        "iss": "https://issuer.example", "aud": "a", "sub": "s", "exp": now + 1000, "iat": now,
    });
    let bearer = client.with_key(&key.token(&claims));
    bearer.get("/api/realm").await.expect(200);
    let refused = bearer.post("/api/session", &json!({})).await;
    assert_eq!(refused.header("set-cookie"), None);
    refused.expect_problem(403, "forbidden");
    let browser = Browser::sign_in(client, ADMIN_KEY).await;
    let refused = browser.change(Method::POST, "/api/session").await;
    assert_eq!(refused.header("set-cookie"), None);
    refused.expect_problem(403, "forbidden");
    let nobody = client.without_key().post("/api/session", &json!({})).await;
    nobody.expect_problem(401, "unauthorized");
}

async fn a_console_that_is_switched_off_has_no_sessions(database: TestDatabase) {
    let on = Server::start(&database).await;
    let off = Server::with_env(&database, &[("TOKEN_SERVER__CONSOLE__ENABLED", "false")]).await;
    let browser = Browser::sign_in(&on.client, ADMIN_KEY).await;
    let elsewhere = browser.at(&off.client);
    elsewhere
        .get("/api/realm")
        .await
        .expect_problem(401, "unauthorized");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let request = off.client.request(method, "/api/session");
        let refused = off.client.send(request).await;
        refused.expect_problem(404, "console_disabled");
    }
}

async fn the_audit_names_the_key_and_says_that_a_session_made_the_change(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let scopes = json!({"name": "operator", "scopes": ["secret:write", "realm:write"]});
    let (_, key) = make_key(client, &scopes).await;
    let browser = Browser::sign_in(client, &key).await;
    let created = browser.request(Method::POST, "/api/realm");
    let created = created.header("x-csrf-token", &browser.csrf);
    let created = created.header("content-type", "application/json");
    client
        .send(created.body(r#"{"id": "r"}"#))
        .await
        .expect(200);
    let forged = browser.request(Method::DELETE, "/api/realm/r");
    client.send(forged).await.expect_problem(403, "csrf");
    browser
        .change(Method::DELETE, "/api/session")
        .await
        .expect(200);
    let fields = ["action", "target", "outcome", "detail"];
    let expected = json!([
        [
            "DELETE",
            "/api/realm/r",
            "denied",
            "a change by a session without its X-CSRF-Token"
        ],
        ["realm.save", "r", "done", "via session"],
        ["session.begin", "operator", "done", null],
        ["session.end", "operator", "done", null],
    ]);
    let entries = eventually("what was done is in the audit", async || {
        let entries = client.list("/api/audit?actor=operator").await;
        let mut told: Vec<_> = entries
            .iter()
            .map(|entry| json!(fields.map(|field| entry[field].clone())))
            .collect();
        told.sort_by_key(ToString::to_string);
        (told.len() >= 4).then_some(told)
    });
    assert_eq!(json!(entries.await), expected);
    let text = json!(client.list("/api/audit").await).to_string();
    let (_, value) = browser.cookie.split_once('=').expect("a value");
    assert!(!text.contains(value) && !text.contains(&browser.csrf));
}

async fn a_session_has_the_rate_of_its_key(database: TestDatabase) {
    let (server, _) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let document = json!({"name": "seldom", "scopes": ["realm:read"], "rate": 3});
    let (_, key) = make_key(client, &document).await;
    let browser = Browser::sign_in(client, &key).await;
    browser.get("/api/realm").await.expect(200);
    client.with_key(&key).get("/api/realm").await.expect(200);
    let limited = browser.get("/api/realm").await;
    limited.expect_problem(429, "too_many_requests");
}

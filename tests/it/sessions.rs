//! Sessions of the console: begun with an API key, and as good as that, for as long as it is.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, Timeline};
use token_server::registry::BootstrapKey;

use crate::access::{make_key, scope_of, specified, with_scopes};
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
    no_change_is_made_by_a_cookie_alone,
    a_cookie_that_no_server_of_the_ring_sealed_opens_nothing,
    of_a_cookie_and_a_key_the_key_counts,
    a_session_begins_with_an_api_key_only,
    a_session_that_is_ended_leaves_no_cookie,
    by_tls_the_cookie_comes_by_tls_only,
    a_console_that_is_switched_off_has_no_sessions,
    the_audit_names_the_key_and_says_that_a_session_made_the_change,
    a_session_has_the_rate_of_its_key,
}

/// Another key under the id of the one that the other tests seal with.
const OTHER_RING: &str = "test:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

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

async fn no_change_is_made_by_a_cookie_alone(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let browser = Browser::sign_in(client, ADMIN_KEY).await;
    let other = Browser::sign_in(client, ADMIN_KEY).await;
    let flush = "GET /api/token?realm=r&key=k&flush=true".to_owned();
    let changes = specified().into_iter().map(|(operation, _)| operation);
    let changes = changes
        .filter(|operation| !operation.starts_with("GET ") && !scope_of(operation).is_empty());
    let before = client.secret("r", "k").await;
    for operation in changes.chain([flush]) {
        let (called, body) = aimed_at(&operation, "r", "k");
        let (method, path) = called.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        // None; that of another session; what only begins like it.
        for shown in [None, Some(&*other.csrf), Some(&browser.csrf[1..]), Some("")] {
            let mut request = browser.request(method.clone(), path);
            if let Some(shown) = shown {
                request = request.header("x-csrf-token", shown);
            }
            let request = request.header("content-type", "application/json");
            let reply = client.send(request.body(body.to_string())).await;
            assert_eq!(reply.status, 403, "{operation} with {shown:?}");
            reply.expect_problem(403, "csrf");
        }
    }
    assert_eq!(client.secret("r", "k").await, before);
    // Nor by another site's page that has it.
    let request = browser.request(Method::POST, "/api/secret/r/k/pause");
    let request = request.header("x-csrf-token", &browser.csrf);
    let request = request.header("origin", "https://other.example");
    client.send(request).await.expect_problem(403, "cross_site");
    browser
        .change(Method::POST, "/api/secret/r/k/pause")
        .await
        .expect(200);
}

async fn a_cookie_that_no_server_of_the_ring_sealed_opens_nothing(database: TestDatabase) {
    let server = Server::start(&database).await;
    let of_another_ring = TestDatabase::sqlite();
    let options = [("TOKEN_SERVER__SEALING__KEYS", OTHER_RING)];
    let other = Server::with_env(&of_another_ring, &options).await;
    let browser = Browser::sign_in(&server.client, ADMIN_KEY).await;
    let foreign = Browser::sign_in(&other.client, ADMIN_KEY).await;
    foreign.get("/api/realm").await.expect(200);
    let good = browser.cookie.clone();
    let (head, tail) = good.split_at(good.len() - 9);
    let other = if tail.starts_with('A') { 'B' } else { 'A' };
    let name = "token_server_session=";
    for cookie in [
        foreign.cookie.clone(),
        format!("{head}{other}{}", &tail[1..]),
        good[..good.len() - 4].to_owned(),
        format!("{good}; {good}"),
        format!("{name}{ADMIN_KEY}"),
        name.to_owned(),
        format!("__Host-{good}"),
        good.to_uppercase(),
    ] {
        let browser = browser.with_cookie(&cookie);
        for path in ["/api/realm", "/api/session"] {
            browser.get(path).await.expect_problem(401, "unauthorized");
        }
    }
    // Beside others.
    let browser = browser.with_cookie(&format!("a=b; {good};c=d"));
    browser.get("/api/realm").await.expect(200);
}

async fn of_a_cookie_and_a_key_the_key_counts(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let browser = Browser::sign_in(client, ADMIN_KEY).await;
    let reader = with_scopes(client, "reader", &["audit:read"]).await;
    let with_both = async |by: &crate::kit::server::Client, path: &str| {
        let request = by.request(Method::GET, path);
        by.send(request.header("cookie", &browser.cookie)).await
    };
    with_both(&reader, "/api/audit").await.expect(200);
    let denied = with_both(&reader, "/api/realm").await;
    denied.expect_problem(403, "forbidden");
    for key in ["an-unknown-key", ""] {
        let refused = with_both(&client.with_key(key), "/api/realm").await;
        refused.expect_problem(401, "unauthorized");
    }
    let request = browser.request(Method::GET, "/api/realm");
    let unknown = client
        .send(request.header("authorization", "Digest x"))
        .await;
    unknown.expect_problem(401, "unauthorized");
    // Where the key counts there is no session, and no token against forgery is needed.
    with_both(client, "/api/session")
        .await
        .expect_problem(404, "no_session");
    let request = client.request(Method::POST, "/api/realm");
    let request = request.header("cookie", &browser.cookie);
    let request = request.header("content-type", "application/json");
    client
        .send(request.body(r#"{"id": "r"}"#))
        .await
        .expect(200);
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

async fn a_session_that_is_ended_leaves_no_cookie(database: TestDatabase) {
    let server = Server::start(&database).await;
    let browser = Browser::sign_in(&server.client, ADMIN_KEY).await;
    let attributes = "; Path=/; Max-Age=1800; HttpOnly; SameSite=Strict";
    assert!(browser.set.ends_with(attributes), "what follows the value");
    let ended = browser
        .change(Method::DELETE, "/api/session")
        .await
        .expect(200);
    assert_eq!(
        ended.header("set-cookie"),
        Some("token_server_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    );
}

async fn by_tls_the_cookie_comes_by_tls_only(database: TestDatabase) {
    let env = [("TOKEN_SERVER__HTTP__TRUSTED_PROXIES", "127.0.0.0/8")];
    let server = Server::with_env(&database, &env).await;
    let begin = async |scheme: &str| {
        let request = server.client.request(Method::POST, "/api/session");
        let request = request.header("x-forwarded-proto", scheme);
        let begun = server.client.send(request).await.expect(200);
        begun.header("set-cookie").expect("a cookie").to_owned()
    };
    let plain = begin("http").await;
    assert!(plain.starts_with("token_server_session="));
    assert!(!plain.contains("Secure"));
    let secure = begin("https").await;
    assert!(secure.starts_with("__Host-token_server_session="));
    assert!(secure.ends_with("; SameSite=Strict; Secure"));
    let (cookie, _) = secure.split_once(';').expect("attributes");
    let plain_name = cookie.trim_start_matches("__Host-");
    for (scheme, cookie, status) in [
        ("https", cookie, 200),
        // Whoever has no TLS can put a cookie of the plain name in its place.
        ("https", plain_name, 401),
        ("http", plain_name, 200),
        ("http", cookie, 401),
    ] {
        let request = server
            .client
            .without_key()
            .request(Method::GET, "/api/realm");
        let request = request.header("x-forwarded-proto", scheme);
        let reply = server.client.send(request.header("cookie", cookie)).await;
        assert_eq!(reply.status, status, "by {scheme}");
    }
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

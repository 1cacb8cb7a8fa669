//! The cookie of a session: what it opens, what it does not, and how it is set.

use reqwest::Method;

use crate::access::{scope_of, specified, with_scopes};
use crate::kit::browser::Browser;
use crate::kit::server::ADMIN_KEY;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};
use crate::rights::aimed_at;

on_every_database! {
    no_change_is_made_by_a_cookie_alone,
    a_cookie_that_no_server_of_the_ring_sealed_opens_nothing,
    of_a_cookie_and_a_key_the_key_counts,
    a_session_that_is_ended_leaves_no_cookie,
    by_tls_the_cookie_comes_by_tls_only,
}

/// Another key under the id of the one that the other tests seal with.
const OTHER_RING: &str = "test:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

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

//! What open pages of the console are told of: what changes, as far as the caller sees it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use token_server::foundation::clock::Ms;
use token_server::foundation::ids::SecretId;
use token_server::memory::changes::MemoryChange;

use crate::access::{make_key, with_key, with_scopes};
use crate::kit::browser::Browser;
use crate::kit::events::Events;
use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    each_change_of_a_secret_and_of_a_realm_is_told_on_every_replica,
    a_failure_is_told,
    a_caller_is_told_of_what_he_sees_and_of_nothing_else,
    a_stream_ends_when_its_key_is_revoked_elsewhere,
    a_stream_of_a_session_ends_with_that,
    no_more_streams_are_open_than_there_may_be,
    who_missed_something_is_told_to_load_anew,
    a_stream_outlives_the_limits_of_requests_and_idle_connections,
    a_server_that_stops_ends_its_streams,
}

const PATH: &str = "/api/event";

async fn follow(request: reqwest::RequestBuilder) -> Events {
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut events = Events::of(answer);
    // What changes after the first comment is told.
    comment(&mut events).await;
    events
}

/// What the server began with is told to nobody who follows from now on.
async fn settled(server: &Server) {
    server.follows().await;
    let told = server.app().newsroom.pass().await;
    assert!(!told.expect("the database answers"), "nobody follows yet");
}

/// A server that has read what there was.
async fn started(database: &TestDatabase, env: &[(&'static str, &str)]) -> Server {
    let server = Server::with_env(database, env).await;
    settled(&server).await;
    server
}

/// Waits for a comment. Where the server began to follow the feed just now, as after a leap of its
/// clock, that may be told before; nothing else is.
async fn comment(events: &mut Events) {
    loop {
        match events.first().await.as_str() {
            ":\n\n" => return,
            told => assert!(told.starts_with("event: resync\n"), "{told}"),
        }
    }
}

async fn followed_by(client: &Client) -> Events {
    follow(client.request(Method::GET, PATH)).await
}

/// The next event: its name, and its data.
async fn next(events: &mut Events) -> (String, Value) {
    let told = events.told().await.expect("it goes on");
    let told = told.strip_prefix("event: ").expect("a name");
    let (name, data) = told.split_once("\ndata: ").expect("a name and data");
    let data = serde_json::from_str(data).expect("JSON");
    (name.to_owned(), data)
}

/// Waits for an event that has these fields; answers what came before, and it.
async fn until(events: &mut Events, name: &str, fields: Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    loop {
        let (other, data) = next(events).await;
        let fields = fields.as_object().expect("an object");
        let is_it = other == name && fields.iter().all(|(field, value)| data[field] == *value);
        all.push((other, data));
        if is_it {
            return all;
        }
    }
}

async fn each_change_of_a_secret_and_of_a_realm_is_told_on_every_replica(database: TestDatabase) {
    let provider = Provider::start().await;
    let interval = [("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0")];
    let server = started(&database, &interval).await;
    let other = started(&database, &interval).await;
    let client = &server.client;
    let mut here = followed_by(client).await;
    let mut there = followed_by(&other.client).await;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    for events in [&mut here, &mut there] {
        until(events, "realm", json!({"realm": "r"})).await;
        let fields = json!({"realm": "r", "key": "k", "generation": 1, "state": "active"});
        let told = until(events, "secret", fields).await;
        let (_, data) = told.last().expect("one event");
        let shown = client.secret("r", "k").await;
        assert_eq!(data["expires_at"], shown["expires_at"]);
        assert_eq!(data.as_object().expect("an object").len(), 5, "{data}");
    }
    // What is done at one replica is told at the other, too.
    let secret = json!({"realm": "r", "key": "k"});
    client.post("/api/token/flush", &secret).await.expect(200);
    other
        .client
        .post("/api/secret/r/k/pause", &json!({}))
        .await
        .expect(200);
    for events in [&mut here, &mut there] {
        let fields = json!({"key": "k", "generation": 2, "state": "paused"});
        until(events, "secret", fields).await;
    }
    client.delete("/api/secret/r/k").await.expect(200);
    client.delete("/api/realm/r").await.expect(200);
    for events in [&mut here, &mut there] {
        let told = until(events, "secret_deleted", secret.clone()).await;
        let (_, data) = told.last().expect("one event");
        assert_eq!(*data, secret);
    }
}

async fn a_failure_is_told(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = started(&database, &[]).await;
    let client = &server.client;
    let refused = Answer::status(401).with_json(&json!({"error": "invalid_client"}));
    provider.answer_with(refused);
    client.register_realm("r", &provider.url("/token")).await;
    let mut events = followed_by(client).await;
    client.save_secret("r", "k").await;
    let fields = json!({"realm": "r", "key": "k", "generation": 0, "state": "needs_attention"});
    let told = until(&mut events, "secret", fields).await;
    let (_, data) = told.last().expect("one event");
    assert_eq!(data["expires_at"], Value::Null);
}

async fn a_caller_is_told_of_what_he_sees_and_of_nothing_else(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = started(&database, &[]).await;
    let client = &server.client;
    let url = provider.url("/token");
    for realm in ["own", "other"] {
        client.register_realm(realm, &url).await;
    }
    let limited = json!({
        "name": "limited", "scopes": ["secret:read"], "realms": ["own"], "keys": ["k*"],
    });
    let limited = with_key(client, limited).await;
    let mut reads_realms = json!({"name": "reads realms", "scopes": ["secret:read", "realm:read"]});
    reads_realms["realms"] = json!(["own"]);
    let reads_realms = with_key(client, reads_realms).await;
    settled(&server).await;
    let mut events = followed_by(&limited).await;
    let mut with_realms = followed_by(&reads_realms).await;
    for (realm, key) in [("other", "k"), ("own", "x"), ("own", "k")] {
        client.save_secret(realm, key).await;
        client.generation(realm, key, 1).await;
        client
            .delete(&format!("/api/secret/{realm}/{key}"))
            .await
            .expect(200);
        client.register_realm(realm, &url).await;
    }
    let own = json!({"realm": "own", "key": "k"});
    for (name, data) in until(&mut events, "secret_deleted", own.clone()).await {
        assert_eq!(
            (&data["realm"], &data["key"]),
            (&own["realm"], &own["key"]),
            "{name}"
        );
    }
    let told = until(&mut with_realms, "secret_deleted", own).await;
    assert!(
        told.iter().all(|(_, data)| data["realm"] == "own"),
        "{told:?}"
    );
    assert!(told.iter().any(|(name, _)| name == "realm"), "{told:?}");
    assert!(told.iter().any(|(_, data)| data["key"] == "x"), "{told:?}");
    let other = with_scopes(client, "no secrets", &["realm:read", "token:read"]).await;
    other.get(PATH).await.expect_problem(403, "forbidden");
    client
        .without_key()
        .get(PATH)
        .await
        .expect_problem(401, "unauthorized");
}

async fn a_stream_ends_when_its_key_is_revoked_elsewhere(database: TestDatabase) {
    let one = started(&database, &[]).await;
    let other = started(&database, &[]).await;
    let document = json!({"name": "operator", "scopes": ["secret:read"]});
    let (id, key) = make_key(&one.client, &document).await;
    let browser = Browser::sign_in(&one.client, &key).await;
    settled(&one).await;
    let of_session = follow(browser.request(Method::GET, PATH)).await;
    let of_key = followed_by(&one.client.with_key(&key)).await;
    let mut of_another = followed_by(&one.client).await;
    let path = format!("/api/api-key/{id}");
    other.client.delete(&path).await.expect(200);
    of_session.end().await;
    of_key.end().await;
    // Others are told as before.
    one.client
        .post("/api/realm", &json!({"id": "r"}))
        .await
        .expect(200);
    until(&mut of_another, "realm", json!({"realm": "r"})).await;
}

async fn a_stream_of_a_session_ends_with_that(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let mut browser = Browser::sign_in(client, ADMIN_KEY).await;
    let mut first = follow(browser.request(Method::GET, PATH)).await;
    clock.advance(Ms::from_secs(1000));
    assert!(browser.show().await, "it is prolonged");
    let mut second = follow(browser.request(Method::GET, PATH)).await;
    clock.advance(Ms::from_secs(1000));
    // Whoever follows is looked at when any key ends.
    let (id, _) = make_key(client, &json!({"name": "other", "scopes": ["metrics"]})).await;
    client
        .delete(&format!("/api/api-key/{id}"))
        .await
        .expect(200);
    // As long as it is open, the leap of the clock may be told.
    while first.next("resync").await.is_some() {}
    // What changes while the leap is told is told with it.
    for number in 0.. {
        let realm = json!({"id": format!("r{number}")});
        client.post("/api/realm", &realm).await.expect(200);
        match next(&mut second).await.0.as_str() {
            "realm" => break,
            told => assert_eq!(told, "resync"),
        }
    }
}

async fn no_more_streams_are_open_than_there_may_be(database: TestDatabase) {
    let limits = [
        ("TOKEN_SERVER__CONSOLE__EVENT_STREAMS_MAX", "3"),
        ("TOKEN_SERVER__CONSOLE__CALLER_EVENT_STREAMS_MAX", "2"),
    ];
    let server = started(&database, &limits).await;
    let client = &server.client;
    let one = with_scopes(client, "one", &["secret:read"]).await;
    let other = with_scopes(client, "other", &["secret:read"]).await;
    let first = followed_by(&one).await;
    let _second = followed_by(&one).await;
    let refused = one.get(PATH).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.expect_problem(503, "too_many_streams");
    let third = followed_by(&other).await;
    other
        .get(PATH)
        .await
        .expect_problem(503, "too_many_streams");
    assert_eq!(server.app().metrics.event_streams.get(), 3);
    drop((first, third));
    eventually("those who have gone are counted no more", async || {
        (server.app().metrics.event_streams.get() == 1).then_some(())
    })
    .await;
    followed_by(&one).await;
}

async fn who_missed_something_is_told_to_load_anew(database: TestDatabase) {
    let server = started(&database, &[]).await;
    let mut events = followed_by(&server.client).await;
    let changes = server.app().memory.changes();
    for id in 0..5000 {
        changes.tell(MemoryChange::Token(SecretId(1_000_000 + id)));
    }
    until(&mut events, "resync", json!({})).await;
    // Of a secret that is gone an earlier version says no name.
    changes.tell(MemoryChange::Forgotten(SecretId(1_000_000)));
    until(&mut events, "resync", json!({})).await;
}

async fn a_stream_outlives_the_limits_of_requests_and_idle_connections(database: TestDatabase) {
    let limits = [
        ("TOKEN_SERVER__HTTP__IDLE_TIMEOUT_S", "4"),
        ("TOKEN_SERVER__HTTP__REQUEST_TIMEOUT_S", "4"),
        ("TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S", "4"),
    ];
    let server = started(&database, &limits).await;
    let mut events = followed_by(&server.client).await;
    // One each two seconds: half of the idle time.
    for _ in 0..3 {
        comment(&mut events).await;
    }
    server
        .client
        .post("/api/realm", &json!({"id": "r"}))
        .await
        .expect(200);
    until(&mut events, "realm", json!({"realm": "r"})).await;
}

async fn a_server_that_stops_ends_its_streams(database: TestDatabase) {
    let server = started(&database, &[]).await;
    settled(&server).await;
    let events = followed_by(&server.client).await;
    // Not cut off, as what outlasts the grace time is.
    let ((), ()) = tokio::join!(server.stop(), events.end());
}

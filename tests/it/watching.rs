//! `GET /api/token/watch`: whoever watches a token is told of it, and of each that takes its place, for
//! as long as he may read it.

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, Timeline};

use crate::access::{make_key, with_key};
use crate::kit::events::Events;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    who_watches_is_told_of_each_token_whichever_replica_renews_it,
    the_token_itself_is_sent_to_who_asks_for_it_and_the_audit_has_that,
    tokens_are_watched_that_are_not_remembered,
    a_watch_is_refused_as_a_read_is,
    a_watch_ends_when_the_key_is_revoked_on_any_replica,
    a_watch_ends_when_the_key_ends_by_itself,
    a_watch_ends_when_the_secret_is_deleted,
    no_more_watch_than_may_and_of_each_caller_its_part,
    comments_keep_a_watch_open_while_nothing_changes,
    watches_end_when_the_server_stops,
}

/// Comments come twice a second.
const BRISK: (&str, &str) = ("TOKEN_SERVER__HTTP__IDLE_TIMEOUT_S", "1");

async fn replica(database: &TestDatabase, name: &str) -> Server {
    let directory = database.directory.path().join(name).display().to_string();
    Server::with_env(database, &[("TOKEN_SERVER__DATA_DIR", &directory)]).await
}

/// Has the current token, which is of this generation, replaced.
async fn replace(client: &Client, generation: i64) {
    let report = json!({"realm": "r", "key": "k", "generation": generation});
    let replaced = client.post("/api/token/report", &report).await.expect(200);
    assert_eq!(replaced.json()["generation"], generation + 1);
}

async fn next(events: &mut Events) -> Value {
    events.next("token").await.expect("it goes on")
}

async fn who_watches_is_told_of_each_token_whichever_replica_renews_it(database: TestDatabase) {
    let provider = Provider::start().await;
    let (one, other) = (replica(&database, "a").await, replica(&database, "b").await);
    one.client.register(&provider.url("/token")).await;
    let mut watches = Vec::new();
    for server in [&one, &other] {
        for _ in 0..2 {
            watches.push(server.client.watch("k", "").await);
        }
    }
    for generation in 1..5 {
        for events in &mut watches {
            let event = next(events).await;
            assert_eq!(event["generation"], generation);
            assert_eq!((&event["realm"], &event["key"]), (&json!("r"), &json!("k")));
            assert!(event["expires_in"].as_i64() > Some(7_000_000), "{event}");
            assert!(event["expires_at"].is_string(), "{event}");
            assert_eq!(event.get("token"), None);
        }
        let renewing = if generation % 2 == 0 { &one } else { &other };
        replace(&renewing.client, generation).await;
    }
    // Nobody has asked the provider but for that.
    assert_eq!(provider.request_count(), 5);
    // Another secret's is nothing to them.
    one.client.save_secret("r", "another").await;
    one.client.generation("r", "another", 1).await;
    for events in &mut watches {
        assert_eq!(next(events).await["generation"], 5);
    }
    replace(&one.client, 5).await;
    for events in &mut watches {
        assert_eq!(next(events).await["generation"], 6);
    }
}

async fn the_token_itself_is_sent_to_who_asks_for_it_and_the_audit_has_that(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    let config = json!({
        "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in", "extra": {"of": "\"the answer\""},
    });
    client.save_realm("r", config).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    let reads = async |name: &str| {
        let entries = client.list("/api/audit").await;
        let is_read = |entry: &&Value| entry["action"] == "token.read" && entry["actor"] == name;
        entries.iter().filter(is_read).count()
    };
    let blind = with_key(client, json!({"name": "blind", "scopes": ["token:read"]})).await;
    let seeing = with_key(client, json!({"name": "seeing", "scopes": ["token:read"]})).await;
    let (mut told, mut given) = (
        blind.watch("k", "").await,
        seeing.watch("k", "&include=token").await,
    );
    for generation in 1..3 {
        assert_eq!(next(&mut told).await.get("token"), None);
        let event = next(&mut given).await;
        let served = client.token("r", "k").await.expect(200).json();
        for field in ["token", "token_type", "extra", "generation", "expires_at"] {
            assert_eq!(event[field], served[field], "{field}");
        }
        assert_eq!(served["generation"], generation);
        eventually("the audit has it", async || {
            (reads("seeing").await == usize::try_from(generation).ok()?).then_some(())
        })
        .await;
        replace(client, generation).await;
    }
    assert_eq!(reads("blind").await, 0);
}

async fn tokens_are_watched_that_are_not_remembered(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::with_env(&database, &[("TOKEN_SERVER__READ__MEMORY_MIB", "0")]).await;
    server.client.register(&provider.url("/token")).await;
    let mut events = server.client.watch("k", "&include=token").await;
    for generation in 1..4 {
        let event = next(&mut events).await;
        assert_eq!(event["generation"], generation);
        assert!(event["token"].is_string());
        replace(&server.client, generation).await;
    }
}

async fn a_watch_is_refused_as_a_read_is(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let key = |scope: &str, keys: &str| json!({"name": format!("{scope} {keys}"), "scopes": [scope], "keys": [keys]});
    let other = with_key(client, key("token:read", "x*")).await;
    let without = with_key(client, key("secret:read", "*")).await;
    let watch = "/api/token/watch?realm=r&key=k";
    for more in ["", "&include=token"] {
        let path = format!("{watch}{more}");
        for (caller, status, code) in [
            (&other, 403, "forbidden"),
            (&without, 403, "forbidden"),
            (&client.without_key(), 401, "unauthorized"),
        ] {
            caller.get(&path).await.expect_problem(status, code);
        }
    }
    let unknown = client.get("/api/token/watch?realm=r&key=x").await;
    unknown.expect_problem(400, "unknown_secret");
    let wrong = client.get(&format!("{watch}&include=secret")).await;
    wrong.expect_problem(400, "invalid_parameter");
    // There is none, and none can be had.
    provider.answer_with(Answer::status(500));
    client.save_secret("r", "none").await;
    eventually("the attempt has failed", async || {
        let secret = client.secret("r", "none").await;
        (!secret["last_error"].is_null()).then_some(())
    })
    .await;
    let none = client.get("/api/token/watch?realm=r&key=none").await;
    assert!(none.header("retry-after").is_some());
    none.expect_problem(503, "token_unavailable");
    assert_eq!(server.app().metrics.watchers.get(), 0);
}

async fn a_watch_ends_when_the_key_is_revoked_on_any_replica(database: TestDatabase) {
    let provider = Provider::start().await;
    let (one, other) = (replica(&database, "a").await, replica(&database, "b").await);
    one.client.register(&provider.url("/token")).await;
    let key = json!({"name": "app", "scopes": ["token:read"], "keys": ["k"]});
    let (id, key) = make_key(&one.client, &key).await;
    let mut watches = Vec::new();
    for server in [&one, &other] {
        let caller = server.client.with_key(&key);
        watches.push(caller.watch("k", "&include=token").await);
    }
    let mut of_another = one.client.watch("k", "").await;
    for events in &mut watches {
        assert_eq!(next(events).await["generation"], 1);
    }
    let revoked = one.client.delete(&format!("/api/api-key/{id}")).await;
    revoked.expect(200);
    for events in watches {
        events.end().await;
    }
    // Others go on.
    assert_eq!(next(&mut of_another).await["generation"], 1);
    replace(&one.client, 1).await;
    assert_eq!(next(&mut of_another).await["generation"], 2);
}

async fn a_watch_ends_when_the_key_ends_by_itself(database: TestDatabase) {
    let provider = Provider::start().await;
    let options = Options::default().with(&[BRISK]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    // Before the connection has been idle for too long, by the same clock.
    let length = Ms(500);
    let expires_at = clock.now().plus(length).0;
    let key = json!({"name": "app", "scopes": ["token:read"], "expires_at": expires_at});
    let mut events = with_key(client, key).await.watch("k", "").await;
    assert_eq!(next(&mut events).await["generation"], 1);
    events.comment().await;
    clock.advance(length);
    events.end().await;
}

async fn a_watch_ends_when_the_secret_is_deleted(database: TestDatabase) {
    let provider = Provider::start().await;
    let (one, other) = (replica(&database, "a").await, replica(&database, "b").await);
    one.client.register(&provider.url("/token")).await;
    let mut events = other.client.watch("k", "").await;
    assert_eq!(next(&mut events).await["generation"], 1);
    one.client.delete("/api/secret/r/k").await.expect(200);
    // It is another one, although it has that name.
    one.client.save_secret("r", "k").await;
    events.end().await;
}

async fn no_more_watch_than_may_and_of_each_caller_its_part(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::with_env(
        &database,
        &[
            BRISK,
            ("TOKEN_SERVER__HTTP__WATCHERS_MAX", "2"),
            ("TOKEN_SERVER__HTTP__CALLER_WATCHERS_MAX", "1"),
        ],
    )
    .await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let mut callers = Vec::new();
    for name in ["a", "b", "c"] {
        callers.push(with_key(client, json!({"name": name, "scopes": ["token:read"]})).await);
    }
    let first = callers[0].watch("k", "").await;
    let path = "/api/token/watch?realm=r&key=k";
    let refused = async |caller: &Client, status| {
        let reply = caller.get(path).await;
        assert_eq!(reply.header("retry-after"), Some("5"));
        reply.expect_problem(status, "too_many_watchers");
    };
    refused(&callers[0], 429).await;
    let _second = callers[1].watch("k", "").await;
    refused(&callers[2], 503).await;
    refused(&callers[0], 429).await;
    assert_eq!(server.app().metrics.watchers.get(), 2);
    // Whoever goes makes room.
    drop(first);
    eventually("there is room", async || {
        (server.app().metrics.watchers.get() == 1).then_some(())
    })
    .await;
    let mut third = callers[2].watch("k", "").await;
    assert_eq!(next(&mut third).await["generation"], 1);
}

async fn comments_keep_a_watch_open_while_nothing_changes(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::with_env(&database, &[BRISK]).await;
    server.client.register(&provider.url("/token")).await;
    let mut events = server.client.watch("k", "").await;
    assert_eq!(next(&mut events).await["generation"], 1);
    // For longer than a connection may be idle.
    for _ in 0..4 {
        events.comment().await;
    }
    replace(&server.client, 1).await;
    assert_eq!(next(&mut events).await["generation"], 2);
}

async fn watches_end_when_the_server_stops(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    server.client.register(&provider.url("/token")).await;
    let mut events = server.client.watch("k", "").await;
    assert_eq!(next(&mut events).await["generation"], 1);
    let stopping = tokio::spawn(server.stop());
    events.end().await;
    stopping.await.expect("it stops");
}

//! How long an API key is good that the database cannot be asked about.

use std::sync::Arc;

use sea_orm::ConnectionTrait;
use serde_json::json;
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use crate::kit::line::Line;
use crate::kit::server::{Client, Options};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    without_the_database_a_key_is_trusted_for_a_minute_and_then_nobody_is,
    where_nobody_is_trusted_each_call_asks_the_database,
}

const TRUST: Ms = Ms::from_secs(60);
const TRUST_S: &str = "TOKEN_SERVER__ACCESS__TRUST_S";

/// What tells of API keys: where these tables are gone, nobody answers for a key.
const TABLES: [&str; 2] = ["ts_api_key", "ts_change"];

async fn run(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    let done = connection.execute_unprepared(sql).await;
    done.expect("the statement is good");
    connection.close().await.expect("the connection closes");
}

async fn take_keys_away(database: &TestDatabase) {
    for table in TABLES {
        run(
            database,
            &format!("ALTER TABLE {table} RENAME TO {table}_away"),
        )
        .await;
    }
}

async fn bring_keys_back(database: &TestDatabase) {
    for table in TABLES {
        run(
            database,
            &format!("ALTER TABLE {table}_away RENAME TO {table}"),
        )
        .await;
    }
}

/// A key that reads tokens, and its id.
async fn application_key(client: &Client) -> (String, i64) {
    let key = json!({"name": "app", "scopes": ["token:read"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    let made = &made["data"];
    let key = made["key"].as_str().expect("a text").to_owned();
    (key, made["id"].as_i64().expect("a number"))
}

async fn expect_served(callers: &[&Client]) {
    for caller in callers {
        caller.token("r", "k").await.expect(200);
    }
}

/// Not 401: nothing is known of their keys.
async fn expect_nobody_served(callers: &[&Client]) {
    for caller in callers {
        let refused = caller.token("r", "k").await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.expect_problem(503, "database_unavailable");
    }
}

async fn without_the_database_a_key_is_trusted_for_a_minute_and_then_nobody_is(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    server.settled().await;
    let (key, id) = application_key(client).await;
    let app = client.with_key(&key);
    server.follows().await;
    let callers = [client, &app];
    expect_served(&callers).await;
    take_keys_away(&database).await;
    let revoke = format!("UPDATE ts_api_key_away SET revoked_at = 1 WHERE id = {id}");
    run(&database, &revoke).await;
    expect_served(&callers).await;
    clock.advance(Ms(TRUST.0 - 500));
    expect_served(&callers).await;
    // Who asks soon after another is answered at once, and not beyond the minute.
    clock.advance(Ms(400));
    expect_served(&callers).await;
    clock.advance(Ms(100));
    expect_nobody_served(&callers).await;
    let refused = client.get("/api/secret").await;
    refused.expect_problem(503, "database_unavailable");
    // Of whoever was let in before, metrics are asked for beyond that, too: they tell of it.
    clock.advance(Ms(TRUST.0 * 100));
    let page = client.get("/metrics").await.expect(200).text;
    assert!(page.contains("token_server_database_up "), "{page}");
    let refused = app.get("/metrics").await;
    refused.expect_problem(403, "forbidden");
    let stranger = client.with_key("a-key-that-nobody-has-shown-before-0123");
    let refused = stranger.get("/metrics").await;
    refused.expect_problem(503, "database_unavailable");
    bring_keys_back(&database).await;
    expect_served(&[client]).await;
    for path in ["/api/token?realm=r&key=k", "/metrics"] {
        app.get(path).await.expect_problem(401, "unauthorized");
    }
}

async fn where_nobody_is_trusted_each_call_asks_the_database(database: TestDatabase) {
    let provider = Provider::start().await;
    let options = Options::default().with(&[(TRUST_S, "0")]);
    let server = Server::start_with(&database, options).await;
    server.client.register(&provider.url("/token")).await;
    expect_served(&[&server.client, &server.client]).await;
    take_keys_away(&database).await;
    expect_nobody_served(&[&server.client]).await;
    bring_keys_back(&database).await;
    expect_served(&[&server.client]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_while_a_replica_is_cut_off_is_refused_there_after_a_minute() {
    let database = TestDatabase::mysql().await;
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = |directory: &str, url: String| {
        let directory = database.directory.path().join(directory);
        let directory = directory.display().to_string();
        let env = [
            ("DATABASE_URL", url.as_str()),
            ("TOKEN_SERVER__DATA_DIR", &directory),
            ("TOKEN_SERVER__DATABASE__READ_PATIENCE_MS", "200"),
        ];
        Options {
            clock: Some(clock.clone()),
            ..Options::default().with(&env)
        }
    };
    let line = Line::to(&database.url).await;
    let one = Server::start_with(&database, options("a", database.url.clone())).await;
    let other = Server::start_with(&database, options("b", line.url().to_owned())).await;
    one.client.register(&provider.url("/token")).await;
    let (key, id) = application_key(&one.client).await;
    let app = one.client.with_key(&key);
    let caller = other.client.with_key(&key);
    let callers = [&other.client, &caller];
    expect_served(&callers).await;
    other.follows().await;
    line.cut();
    let revoked = one.client.delete(&format!("/api/api-key/{id}")).await;
    revoked.expect(200);
    app.token("r", "k")
        .await
        .expect_problem(401, "unauthorized");
    expect_served(&callers).await;
    clock.advance(Ms(TRUST.0 - 1));
    expect_served(&callers).await;
    clock.advance(Ms(1));
    expect_nobody_served(&callers).await;
    line.mend();
    eventually("the other replica reaches the database", async || {
        let reply = other.client.token("r", "k").await;
        (reply.status.as_u16() == 200).then_some(())
    })
    .await;
    let refused = caller.token("r", "k").await;
    refused.expect_problem(401, "unauthorized");
}

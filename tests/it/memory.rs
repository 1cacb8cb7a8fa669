//! Reads from memory: what a replica remembers, and how soon it learns of what another has
//! changed.

use std::sync::Arc;

use rustix::process::Signal;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};

use crate::kit::database_server::DatabaseServer;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    another_replica_serves_a_new_token_once_it_followed_and_never_an_older_one_again,
    another_replica_refuses_what_was_deleted_and_whoever_was_revoked_once_it_followed,
    a_change_whose_number_becomes_visible_late_is_followed,
    what_no_feed_tells_is_found_within_a_minute,
    a_second_look_shows_no_older_token_than_a_secret_does,
    an_answer_from_memory_is_the_answer_of_the_long_way,
    where_nothing_is_remembered_every_read_asks_the_database,
    old_entries_of_the_feed_are_deleted,
}

/// Another replica on the same database.
async fn replica(database: &TestDatabase, name: &str, options: Options) -> Server {
    let directory = database.directory.path().join(name).display().to_string();
    let mut env = options.env;
    env.push(("TOKEN_SERVER__DATA_DIR", directory));
    Server::start_with(database, Options { env, ..options }).await
}

/// On a clock that stands still: to them no time passes since they followed the feed, and
/// nothing but the feed tells one of what the other does.
async fn two_replicas(database: &TestDatabase) -> (Server, Server) {
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = || Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    (
        replica(database, "a", options()).await,
        replica(database, "b", options()).await,
    )
}

/// What a read answers, and where from.
async fn read(client: &Client) -> Value {
    client.token("r", "k").await.expect(200).json()
}

async fn another_replica_serves_a_new_token_once_it_followed_and_never_an_older_one_again(
    database: TestDatabase,
) {
    let (provider, (one, other)) = (Provider::start().await, two_replicas(&database).await);
    let mut config = json!({
        "url": provider.url("/token"), "token_path": "access_token",
        "expires_in_path": "expires_in", "policy": {"min_flush_interval_s": 0},
    });
    config["method"] = json!("GET");
    one.client.save_realm("r", config).await;
    let secret = json!({"realm": "r", "key": "k"});
    one.client.post("/api/secret", &secret).await.expect(200);
    one.client.generation("r", "k", 1).await;
    other.follows().await;
    read(&other.client).await;
    assert_eq!(read(&other.client).await["source"], "cache");
    for generation in 2..6 {
        let flush = json!({"realm": "r", "key": "k"});
        let flushed = one.client.post("/api/token/flush", &flush).await;
        assert_eq!(flushed.expect(200).json()["generation"], generation);
        assert_eq!(read(&one.client).await["generation"], generation);
        let client = other.client.clone();
        let reader = tokio::spawn(async move {
            let mut last = generation - 1;
            while last < generation {
                let served = read(&client).await;
                assert_eq!(served["source"], "cache");
                let seen = served["generation"].as_i64().expect("a number");
                assert!(seen >= last, "{seen} after {last}");
                last = seen;
            }
        });
        other.follows().await;
        let served = read(&other.client).await;
        assert_eq!(
            (&served["generation"], &served["source"]),
            (&json!(generation), &json!("cache"))
        );
        reader.await.expect("it saw no older one after a newer");
    }
}

async fn another_replica_refuses_what_was_deleted_and_whoever_was_revoked_once_it_followed(
    database: TestDatabase,
) {
    let (provider, (one, other)) = (Provider::start().await, two_replicas(&database).await);
    one.client.register(&provider.url("/token")).await;
    let key = json!({"name": "app", "scopes": ["token:read"]});
    let made = one.client.post("/api/api-key", &key).await.expect(200);
    let made = made.json()["data"].clone();
    let caller = other.client.with_key(made["key"].as_str().expect("a text"));
    // What has made token and key is behind it.
    other.follows().await;
    read(&caller).await;
    assert_eq!(read(&caller).await["source"], "cache");
    let id = made["id"].as_i64().expect("a number");
    let revoked = one.client.delete(&format!("/api/api-key/{id}")).await;
    revoked.expect(200);
    other.follows().await;
    caller
        .token("r", "k")
        .await
        .expect_problem(401, "unauthorized");
    assert_eq!(read(&other.client).await["source"], "cache");
    one.client.delete("/api/secret/r/k").await.expect(200);
    other.follows().await;
    let gone = other.client.token("r", "k").await;
    gone.expect_problem(400, "unknown_secret");
}

/// Stores another token as a server of another kind would; tells the feed, or nobody.
async fn store_beside(database: &TestDatabase, key: &str, number: Option<i64>) {
    let connection = database.connect().await;
    let store = format!(
        "UPDATE ts_token SET generation = generation + 1, obtained_at = obtained_at + 1 \
         WHERE key_name = '{key}'"
    );
    let done = connection.execute_unprepared(&store).await;
    done.expect("the statement is good");
    database.authenticate_tokens().await;
    if let Some(number) = number {
        let tell = format!(
            "INSERT INTO ts_change (id, subject, row_id) \
             SELECT {number}, 'token', secret_id FROM ts_token WHERE key_name = '{key}'"
        );
        let done = connection.execute_unprepared(&tell).await;
        done.expect("the statement is good");
    }
}

async fn a_change_whose_number_becomes_visible_late_is_followed(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, _clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    client.save_secret("r", "other").await;
    client.generation("r", "other", 1).await;
    let newest = database.number("SELECT MAX(id) FROM ts_change").await;
    let generation = async |key: &str| client.token("r", key).await.json()["generation"].clone();
    assert_eq!(generation("other").await, 1);
    store_beside(&database, "k", Some(newest + 10)).await;
    server.follows().await;
    assert_eq!(generation("k").await, 2, "the one that came first");
    store_beside(&database, "other", Some(newest + 5)).await;
    server.follows().await;
    assert_eq!(generation("other").await, 2, "and the one before it");
}

async fn what_no_feed_tells_is_found_within_a_minute(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    server.settled().await;
    server.follows().await;
    assert_eq!(read(client).await["source"], "cache");
    store_beside(&database, "k", None).await;
    assert_eq!(read(client).await["generation"], 1);
    clock.advance(Ms::from_secs(61));
    assert_eq!(read(client).await["generation"], 2);
}

async fn a_second_look_shows_no_older_token_than_a_secret_does(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    assert_eq!(read(client).await["generation"], 1);
    store_beside(&database, "k", None).await;
    assert_eq!(client.secret("r", "k").await["generation"], 2);
    assert_eq!(read(client).await["generation"], 2);
}

async fn an_answer_from_memory_is_the_answer_of_the_long_way(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let answer = json!({
        "access_token": "a \"quoted\" töken", "expires_in": 3600, "scope": ["x", "y"],
        "token_type": "Bearer",
    });
    provider.answer_with(Answer::status(200).with_json(&answer));
    let config = json!({
        "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in", "extra": {"scope": "body.scope"},
    });
    server.client.save_realm("r", config).await;
    let secret = json!({"realm": "r", "key": "k"});
    server.client.post("/api/secret", &secret).await.expect(200);
    server.client.generation("r", "k", 1).await;
    server.settled().await;
    clock.advance(Ms(1));
    let long = "/api/token?realm=r&key=k&flush=false";
    let [at_once, long] = ["/api/token?realm=r&key=k", long].map(|path| server.client.get(path));
    let (at_once, long) = (at_once.await.expect(200), long.await.expect(200));
    assert_eq!(at_once.json()["source"], "cache");
    assert_eq!(at_once.json()["expires_in_s"], 3599);
    assert_eq!(at_once.json()["extra"], json!({"scope": ["x", "y"]}));
    assert_eq!(at_once.json()["token_type"], "Bearer");
    assert_eq!(at_once.text, long.text);
    let headers = |reply: &crate::kit::server::Reply| {
        let mut headers = reply.headers.clone();
        for of_its_own in ["x-request-id", "date"] {
            assert!(headers.remove(of_its_own).is_some(), "{of_its_own}");
        }
        headers
    };
    assert_eq!(headers(&at_once), headers(&long));
    let metrics = server.client.get("/metrics").await.expect(200).text;
    for line in [
        "token_server_reads_total{source=\"cache\"} 2",
        "token_server_http_requests_total{route=\"/api/token\",method=\"GET\",status=\"200\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

async fn where_nothing_is_remembered_every_read_asks_the_database(database: TestDatabase) {
    let provider = Provider::start().await;
    let env = vec![("TOKEN_SERVER__READ__MEMORY_MIB", "0".to_owned())];
    let options = Options {
        env,
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    server.client.register(&provider.url("/token")).await;
    for _ in 0..3 {
        assert_eq!(read(&server.client).await["source"], "database");
    }
}

async fn old_entries_of_the_feed_are_deleted(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    server.client.register(&provider.url("/token")).await;
    let entries = "SELECT COUNT(*) FROM ts_change";
    // The realm, the secret and its token.
    assert_eq!(database.number(entries).await, 3);
    // Less at once than a follower may be behind.
    for _ in 0..8 {
        clock.advance(Ms::from_secs(15));
        server.follows().await;
    }
    assert_eq!(database.number(entries).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_remembered_is_served_while_the_database_is_away() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let provider = Provider::start().await;
    provider.answer_with(Answer::numbered_token(600));
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let trusting = Options {
        clock: Some(clock.clone()),
        ..Options::default().with(&[("TOKEN_SERVER__ACCESS__TRUST_S", "3600")])
    };
    let server = Server::start_with(&database, trusting).await;
    let client = server.client.clone();
    client.register(&provider.url("/token")).await;
    server.settled().await;
    server.follows().await;
    assert_eq!(read(&client).await["source"], "cache");
    mariadb.end(Signal::KILL);
    for _ in 0..5 {
        clock.advance(Ms::from_secs(119));
        let served = read(&client).await;
        assert_eq!(
            (&served["source"], &served["generation"]),
            (&json!("cache"), &json!(1))
        );
    }
    // Never after its end, whatever is away.
    clock.advance(Ms::from_secs(6));
    let gone = client.token("r", "k").await;
    assert_eq!(gone.status.as_u16(), 503, "{}", gone.text);
    mariadb.start_again();
    mariadb.answers().await;
    client.generation("r", "k", 2).await;
    assert_eq!(read(&client).await["generation"], 2);
}

//! The rules of `GET /api/token`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;
use token_server::foundation::clock::Ms;
use tokio::task::JoinHandle;

use crate::kit::database_server::DatabaseServer;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_token_is_fetched_in_the_background_and_then_served_from_memory,
    three_hundred_callers_for_a_missing_token_cause_one_request,
    an_expired_token_is_never_served,
    a_reader_of_a_valid_token_never_waits_for_its_renewal,
    min_ttl_renews_what_has_less_left_and_serves_it_as_stale_where_that_fails,
    a_flush_renews_only_the_generation_the_caller_has_seen,
    within_the_minimum_interval_a_flush_answers_the_current_token_and_says_so,
    readers_never_storm_a_provider_that_fails,
    a_token_that_never_expires_says_a_year_and_no_date,
    generations_go_on_after_a_secret_is_deleted_and_made_again,
}

async fn a_token_is_fetched_in_the_background_and_then_served_from_memory(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    server.settled().await;
    let reply = client.token("r", "k").await.expect(200);
    let token = reply.json();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(token["token"], "token-1");
    assert_eq!(token["source"], "cache");
    assert_eq!(token["generation"], 1);
    let left = token["expires_in"].as_i64().expect("a number");
    assert!(
        (7_100_000..=7_200_000).contains(&left),
        "milliseconds: {left}"
    );
    assert_eq!(token["expires_in_s"], left / 1000);
    assert_eq!(provider.request_count(), 1);
}

async fn three_hundred_callers_for_a_missing_token_cause_one_request(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start_with(&database, Options::patient()).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    // No sweep is before the callers.
    server.app().renewals.stop(Ms::ZERO).await;
    provider.hold();
    client.save_secret("r", "k").await;
    let callers = readers(client, 300);
    server.readers_waiting(300).await;
    provider.wait_for_requests(1).await;
    provider.release();
    for caller in callers {
        let token = caller.await.expect("the caller ends").expect(200).json();
        // Who has not joined finds it in the database.
        assert_eq!(
            (&token["token"], &token["source"]),
            (&json!("token-1"), &json!("upstream"))
        );
    }
    assert_eq!(provider.request_count(), 1);
}

/// So many callers at once.
fn readers(client: &Client, count: usize) -> Vec<JoinHandle<Reply>> {
    let read = |_| {
        let client = client.clone();
        tokio::spawn(async move { client.token("r", "k").await })
    };
    (0..count).map(read).collect()
}

async fn an_expired_token_is_never_served(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    provider.answer_with(Answer::numbered_token(100));
    client.register(&provider.url("/token")).await;
    provider.answer_with(Answer::status(500));
    clock.advance(Ms::from_secs(99));
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-1"
    );
    clock.advance(Ms::from_secs(1));
    let reply = client.token("r", "k").await;
    assert!(reply.header("retry-after").is_some());
    let problem = reply.expect_problem(503, "token_unavailable");
    assert_eq!(problem["class"], "transient");
    assert_eq!(client.secret("r", "k").await["state"], "expired");
}

async fn a_reader_of_a_valid_token_never_waits_for_its_renewal(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock_with(
        &database,
        Options::default().with(&[("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600")]),
    )
    .await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    provider.hold();
    clock.advance(Ms::from_secs(7000));
    provider.wait_for_requests(2).await;
    // The renewal hangs; the reader does not.
    let token = client.token("r", "k").await.expect(200).json();
    assert_eq!(token["token"], "token-1");
    assert!(token["stale"].is_null(), "it has waited: {token}");
    assert_eq!(server.app().metrics.in_flight.get(), 1);
    provider.release();
    client.generation("r", "k", 2).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
}

async fn min_ttl_renews_what_has_less_left_and_serves_it_as_stale_where_that_fails(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let ask = async |min_ttl_s: i64| {
        let path = format!("/api/token?realm=r&key=k&min_ttl_s={min_ttl_s}");
        client.get(&path).await
    };
    server.settled().await;
    clock.advance(Ms::from_secs(10));
    assert_eq!(ask(7189).await.expect(200).json()["source"], "cache");
    let fresh = ask(7190).await.expect(200).json();
    assert_eq!(fresh["token"], "token-2");
    assert_eq!(fresh["source"], "upstream");
    // More than the provider gives: no loop, the token is served and called stale.
    for _ in 0..5 {
        let stale = ask(7200).await.expect(200).json();
        assert_eq!(
            (&stale["token"], &stale["stale"]),
            (&json!("token-2"), &json!(true))
        );
    }
    assert_eq!(provider.request_count(), 2);
    provider.answer_with(Answer::status(503));
    clock.advance(Ms::from_secs(10));
    let stale = ask(7200).await.expect(200).json();
    assert_eq!(
        (&stale["token"], &stale["stale"]),
        (&json!("token-2"), &json!(true))
    );
    assert_eq!(provider.request_count(), 3);
    ask(-1).await.expect_problem(400, "invalid_parameter");
}

async fn a_flush_renews_only_the_generation_the_caller_has_seen(database: TestDatabase) {
    let provider = Provider::start().await;
    let no_interval = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
    let server = Server::with_env(&database, &[no_interval]).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client
                    .get("/api/token?realm=r&key=k&flush=true&generation=1")
                    .await
            })
        })
        .collect();
    for caller in callers {
        let token = caller.await.expect("the caller ends").expect(200).json();
        assert_eq!(token["token"], "token-2");
    }
    assert_eq!(provider.request_count(), 2);
    let flush = json!({"realm": "r", "key": "k", "generation": 2});
    let flushed = client
        .post("/api/token/flush", &flush)
        .await
        .expect(200)
        .json();
    assert_eq!(flushed["token"], "token-3");
    assert_eq!(flushed["flushed"], true);
    assert_eq!(flushed["source"], "upstream");
}

async fn within_the_minimum_interval_a_flush_answers_the_current_token_and_says_so(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let interval = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "600");
    let server = Server::with_env(&database, &[interval]).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let reply = client
        .get("/api/token?realm=r&key=k&flush=true")
        .await
        .expect(200);
    let wait: i64 = reply
        .header("retry-after")
        .expect("a wait")
        .parse()
        .expect("seconds");
    assert!((590..=600).contains(&wait), "{wait}");
    let token = reply.json();
    assert_eq!(token["flushed"], false);
    assert_eq!(token["flush_denied_code"], "min_interval");
    assert_eq!(token["token"], "token-1");
    assert_eq!(provider.request_count(), 1);
}

async fn readers_never_storm_a_provider_that_fails(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock_with(&database, Options::patient()).await;
    let client = &server.client;
    provider.answer_with(Answer::status(401).with_json(&json!({"error": "invalid_client"})));
    client.register_realm("r", &provider.url("/token")).await;
    client.held_attempt(&provider, "r", "k").await;
    // Callers who come during an attempt hear of its failure, and cause none of their own.
    let callers = readers(client, 50);
    server.readers_waiting(50).await;
    provider.release();
    expect_all_refused(callers, 60..=66).await;
    // Nor do those who come after it, until the provider is asked again.
    expect_all_refused(readers(client, 50), 60..=66).await;
    clock.advance(Ms::from_secs(59));
    server.sweeps().await;
    expect_all_refused(readers(client, 50), 1..=7).await;
    assert_eq!(provider.request_count(), 1);
    provider.hold();
    clock.advance(Ms::from_secs(7));
    provider.wait_for_requests(2).await;
    let callers = readers(client, 50);
    server.readers_waiting(50).await;
    provider.release();
    expect_all_refused(callers, 300..=330).await;
    assert_eq!(provider.request_count(), 2);
    // Saving the secret wakes it at once.
    provider.answer_with(Answer::default());
    let changed = json!({"realm": "r", "key": "k", "key_2": "a-better-secret"});
    client.post("/api/secret", &changed).await.expect(200);
    client.state("r", "k", "active").await;
    assert_eq!(provider.request_count(), 3);
}

/// What a provider refuses, and in how many seconds it is asked again.
async fn expect_all_refused(callers: Vec<JoinHandle<Reply>>, wait_s: RangeInclusive<i64>) {
    for caller in callers {
        let reply = caller.await.expect("the caller ends");
        let wait = reply.header("retry-after").expect("a wait");
        let wait: i64 = wait.parse().expect("seconds");
        assert!(wait_s.contains(&wait), "{wait}");
        let problem = reply.expect_problem(503, "token_unavailable");
        assert_eq!(problem["class"], "permanent");
    }
}

async fn a_token_that_never_expires_says_a_year_and_no_date(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    provider.answer_with(Answer::status(200).with_json(&json!({"access_token": "for ever"})));
    let config = |default: serde_json::Value| {
        json!({
            "url": provider.url("/token"), "method": "POST", "token_path": "access_token",
            "default_expires_in_s": default,
        })
    };
    client.save_realm("eternal", config(json!(0))).await;
    client.save_secret("eternal", "k").await;
    let token = client.token("eternal", "k").await.expect(200).json();
    assert_eq!(token["expires_in"], 31_536_000_000_i64);
    assert_eq!(token["expires_in_s"], 31_536_000);
    assert!(token["expires_at"].is_null(), "{token}");
    // A realm that does not say so has its token refused, not stored as eternal.
    client.save_realm("silent", config(json!(null))).await;
    client.save_secret("silent", "k").await;
    let parked = client.state("silent", "k", "needs_attention").await;
    assert!(
        parked["last_error"]["detail"]
            .as_str()
            .expect("a text")
            .contains("expiry_unknown")
    );
    assert_eq!(parked["generation"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_while_the_database_is_restarted() {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let provider = Provider::start().await;
    // Of what is not remembered.
    let options = Options {
        env: vec![
            ("TOKEN_SERVER__READ__MEMORY_MIB", "0".to_owned()),
            // However long this machine needs for the restart.
            (
                "TOKEN_SERVER__DATABASE__READ_PATIENCE_MS",
                "60000".to_owned(),
            ),
        ],
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = server.client.clone();
    client.register(&provider.url("/token")).await;
    client.generation("r", "k", 1).await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let reply = client.token("r", "k").await.expect(200);
                    assert_eq!(reply.json()["generation"], 1);
                }
            })
        })
        .collect();
    let requests = &server.app().requests;
    let all_wait = async || (requests.len() == 20).then_some(());
    eventually("all are being answered", all_wait).await;
    // Connections break wherever a read is.
    mariadb.end(Signal::KILL);
    eventually("all wait for the database", all_wait).await;
    mariadb.start_again();
    mariadb.answers().await;
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no read was refused");
    }
}

async fn generations_go_on_after_a_secret_is_deleted_and_made_again(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    client.save_secret("r", "other").await;
    client.generation("r", "other", 1).await;
    client.delete("/api/secret/r/k").await.expect(200);
    client.save_secret("r", "k").await;
    client.generation("r", "k", 2).await;
    // A caller who remembers the old token gets the new one without asking the provider.
    let asked = provider.request_count();
    let flush = json!({"realm": "r", "key": "k", "generation": 1});
    let reply = client.post("/api/token/flush", &flush).await.expect(200);
    assert_eq!(reply.json()["generation"], 2);
    assert_eq!(provider.request_count(), asked);
    client.delete("/api/realm/r?cascade=true").await.expect(200);
    client.register_realm("r", &provider.url("/token")).await;
    for (key, generation) in [("k", 3), ("other", 2), ("new", 1)] {
        client.save_secret("r", key).await;
        let secret = client.state("r", key, "active").await;
        assert_eq!(secret["generation"], generation, "{key}");
    }
}

//! What a request of a frozen instance waits for: for what its own attempts may still bring, and for
//! nothing else; and no longer than lets it be answered in its time.

use serde_json::{Value, json};

use super::FROZEN;
use crate::kit::process::ServerProcess;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_request_waits_for_the_late_answers_of_its_own_attempts_and_not_for_those_of_others,
    a_request_is_answered_in_its_time_although_an_answer_is_late,
    a_lease_that_a_call_has_no_time_to_take_over_holds_up_no_other,
    a_read_waits_for_its_token_beyond_the_wait_of_other_servers_readers,
}

async fn instance(database: &TestDatabase, request_timeout_s: &str) -> Server {
    let options = Options::default().with(&[
        FROZEN,
        ("TOKEN_SERVER__HTTP__REQUEST_TIMEOUT_S", request_timeout_s),
        ("TOKEN_SERVER__UPSTREAM__LATE_ANSWER_S", "600"),
    ]);
    Server::start_with(database, options).await
}

/// A realm whose refresh tokens are good once, and whose attempts end after a second.
async fn register_rotating(client: &Client, provider: &Provider) {
    let policy = json!({"timeout_s": 1});
    let url = provider.url("/token");
    client.register_rotating("slow", &url, policy).await;
}

async fn save(client: &Client, key: &str) {
    let params = json!({"refresh_token": "first"});
    let secret = json!({"realm": "slow", "key": key, "params": params});
    client.post("/api/secret", &secret).await.expect(200);
}

async fn run(client: &Client, realm: &str) -> Value {
    let path = format!("/api/renewal/run?realm={realm}");
    let run = client.post(&path, &json!({})).await;
    run.expect(200).json()["data"].take()
}

async fn a_request_waits_for_the_late_answers_of_its_own_attempts_and_not_for_those_of_others(
    database: TestDatabase,
) {
    let (slow, quick) = (Provider::start().await, Provider::start().await);
    let server = instance(&database, "60").await;
    let client = &server.client;
    register_rotating(client, &slow).await;
    client.register_realm("quick", &quick.url("/token")).await;
    let pair = json!({"access_token": "t", "expires_in": 3600, "refresh_token": "next"});
    slow.answer_with(Answer::status(200).with_json(&pair));
    slow.hold();
    for key in ["read", "run"] {
        save(client, key).await;
    }
    let read = tokio::spawn({
        let client = client.clone();
        async move { client.token("slow", "read").await }
    });
    let awaited = async |count: i64| {
        let late = "SELECT COUNT(*) FROM ts_token WHERE lost_awaited";
        eventually("an answer is late", async || {
            (database.number(late).await == count).then_some(())
        })
        .await;
    };
    awaited(1).await;
    let timer = tokio::spawn({
        let client = client.clone();
        async move { run(&client, "slow").await }
    });
    awaited(2).await;
    // Others wait for neither.
    client.save_secret("quick", "read").await;
    let served = client.token("quick", "read").await.expect(200).json();
    assert_eq!(served["generation"], 1);
    client.save_secret("quick", "run").await;
    assert_eq!(run(client, "quick").await["renewed"], 1);
    assert!(!read.is_finished() && !timer.is_finished());
    slow.release();
    read.await.expect("it ends");
    let ran = timer.await.expect("it ends");
    assert_eq!(ran["failed"], 1, "{ran}");
    // What came late is stored by then.
    let stored = "SELECT COUNT(*) FROM ts_token WHERE realm_id = 'slow' AND generation = 1";
    assert_eq!(database.number(stored).await, 2);
    server.stop().await;
}

async fn a_request_is_answered_in_its_time_although_an_answer_is_late(database: TestDatabase) {
    let provider = Provider::start().await;
    // An attempt of one second, five to store what it brings, one for the answer, and five to begin.
    let server = instance(&database, "12").await;
    let client = &server.client;
    register_rotating(client, &provider).await;
    provider.hold();
    for key in ["read", "run"] {
        save(client, key).await;
    }
    let reading = client.token("slow", "read");
    let running = async {
        provider.wait_for_requests(1).await;
        run(client, "slow").await
    };
    let (read, ran) = tokio::join!(reading, running);
    read.expect_problem(503, "token_unavailable");
    // It may have seen that of the read, too.
    assert!(ran["failed"].as_i64() >= Some(1), "{ran}");
    provider.release();
    server.stop().await;
}

async fn a_lease_that_a_call_has_no_time_to_take_over_holds_up_no_other(database: TestDatabase) {
    let provider = Provider::start().await;
    // A lease is as long as an attempt may take, and 5 s.
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "5".to_owned());
    let first = ServerProcess::start(&database, &[patient]);
    provider.hold();
    for (number, realm) in ["long", "short"].into_iter().enumerate() {
        first
            .client
            .register_realm(realm, &provider.url("/token"))
            .await;
        first.client.save_secret(realm, "k").await;
        provider.wait_for_requests(number + 1).await;
    }
    first.kill();
    provider.release();
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
    assert_eq!(database.number(held).await, 2);
    // Another replica: of the same name it would give them back.
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::default().with(&[
        (
            "TOKEN_SERVER__DATA_DIR",
            &directory.path().display().to_string(),
        ),
        FROZEN,
        ("TOKEN_SERVER__HTTP__REQUEST_TIMEOUT_S", "60"),
        ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "1"),
    ]);
    let server = Server::start_with(&database, options).await;
    let config = json!({
        "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in", "policy": {"timeout_s": 58},
    });
    server.client.save_realm("long", config).await;
    let run = server
        .client
        .post("/api/renewal/run?timeout_s=25", &json!({}))
        .await;
    let ran = run.expect(200).json()["data"].take();
    assert_eq!(ran["renewed"], 1, "{ran}");
    server.client.generation("short", "k", 1).await;
    server.stop().await;
}

async fn a_read_waits_for_its_token_beyond_the_wait_of_other_servers_readers(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600");
    let a_second = ("TOKEN_SERVER__READ__MAX_WAIT_S", "1");
    let options = Options::default().with(&[FROZEN, patient, a_second]);
    let (server, _clock) = Server::on_manual_clock_with(&database, options).await;
    let client = server.client.clone();
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().display().to_string();
    let beside = ("TOKEN_SERVER__DATA_DIR", &*directory);
    let options = Options::default().with(&[beside, patient, a_second]);
    provider.hold();
    let read = tokio::spawn(async move { client.token("r", "k").await });
    provider.wait_for_requests(1).await;
    let (other, _clock) = Server::on_manual_clock_with(&database, options).await;
    let given_up = other.client.token("r", "k").await;
    given_up.expect_problem(503, "token_unavailable");
    provider.release();
    let served = read.await.expect("it is answered").expect(200).json();
    assert_eq!(served["generation"], 1);
    other.stop().await;
    server.stop().await;
}

//! What happens at once, and what is left by those who went away.

use std::sync::Arc;

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use token_server::foundation::clock::{EpochMs, ManualClock, Ms};
use token_server::foundation::ids::SecretId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::KeyRing;
use token_server::secret::authentic::authenticate_after;
use tokio::task::JoinHandle;

use crate::kit::database::Kind;
use crate::kit::process::command;
use crate::kit::server::{Client, Options, SEALING_KEYS};
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_change_that_commits_while_a_result_waits_for_the_row_has_it_discarded,
    a_flush_during_a_renewal_joins_it_and_answers_the_new_token,
    flushes_join_the_one_that_is_under_way,
    a_flush_asks_no_provider_that_is_backing_off,
    a_repeated_token_that_has_expired_is_a_failure_and_no_loop,
    rows_sealed_with_another_replicas_key_are_left_to_it_and_starve_nobody,
    the_lease_of_a_killed_job_is_recovered_by_a_later_job,
    a_caller_that_goes_away_interrupts_nothing,
}

const START: EpochMs = EpochMs(1_700_000_000_000);

async fn a_change_that_commits_while_a_result_waits_for_the_row_has_it_discarded(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.held_attempt(&provider, "r", "k").await;
    // Another replica changes the secret, and has not committed yet.
    let other = database.connect().await;
    let run = async |sql: &str| {
        other
            .execute_unprepared(sql)
            .await
            .expect("the statement is good");
    };
    match database.kind() {
        Kind::Sqlite => run("BEGIN IMMEDIATE").await,
        Kind::MySql => run("START TRANSACTION").await,
    }
    run("UPDATE ts_secret SET version = version + 1").await;
    let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1)).expect("a key ring");
    let after = SecretId(i64::MIN);
    let authenticated = authenticate_after(&other, (&ring, &["test"]), after).await;
    authenticated.expect("it counts as what a server stored");
    run("UPDATE ts_token SET renew_at = 0").await;
    provider.release();
    if database.kind() == Kind::MySql {
        // Not innodb_trx: MariaDB renews that table only when nobody read it for a while.
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() \
                       AND command <> 'Sleep' AND info LIKE '%ts_token%FOR UPDATE%' AND id <> CONNECTION_ID()";
        eventually("the result waits for the row", async || {
            (database.number(waiting).await > 0).then_some(())
        })
        .await;
    }
    run("COMMIT").await;
    // The first result is discarded; what was due is asked again, with the new version.
    client.generation("r", "k", 1).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
    let discarded = client
        .get("/api/renewal?outcome=discarded")
        .await
        .expect(200)
        .json();
    assert_eq!(discarded["data"]["total"], 1);
}

async fn a_flush_during_a_renewal_joins_it_and_answers_the_new_token(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start_with(&database, Options::patient()).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    provider.hold();
    let changed = json!({"realm": "r", "key": "k", "key_2": "another"});
    client.post("/api/secret", &changed).await.expect(200);
    provider.wait_for_requests(2).await;
    // Within the minimum interval, and yet not the token the caller saw refused.
    let callers = flushes(client, 20);
    server.readers_waiting(20).await;
    provider.release();
    for caller in callers {
        let token = caller.await.expect("the caller ends").expect(200).json();
        let told = (&token["token"], &token["generation"], &token["flushed"]);
        assert_eq!(told, (&json!("token-2"), &json!(2), &json!(true)));
    }
    assert_eq!(provider.request_count(), 2);
}

/// So many callers who saw the first token refused.
fn flushes(client: &Client, count: usize) -> Vec<JoinHandle<Reply>> {
    let flush = |_| {
        let client = client.clone();
        tokio::spawn(async move {
            let flush = json!({"realm": "r", "key": "k", "generation": 1});
            client.post("/api/token/flush", &flush).await
        })
    };
    (0..count).map(flush).collect()
}

async fn flushes_join_the_one_that_is_under_way(database: TestDatabase) {
    let provider = Provider::start().await;
    let no_interval = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
    let server = Server::start_with(&database, Options::patient().with(&[no_interval])).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    provider.hold();
    let mut callers = flushes(client, 1);
    provider.wait_for_requests(2).await;
    callers.extend(flushes(client, 19));
    server.readers_waiting(20).await;
    provider.release();
    for caller in callers {
        let token = caller.await.expect("the caller ends").expect(200).json();
        assert_eq!(token["token"], "token-2");
        assert_eq!(
            (&token["generation"], &token["flushed"]),
            (&json!(2), &json!(true))
        );
        // Who has not joined finds it in the database.
        assert_eq!(token["source"], "upstream");
    }
    assert_eq!(provider.request_count(), 2);
}

async fn a_flush_asks_no_provider_that_is_backing_off(database: TestDatabase) {
    let clock = Arc::new(ManualClock::at(START));
    let provider = Provider::start().await;
    let env = vec![(
        "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
        "0".to_owned(),
    )];
    let clock_of_server = Some(clock.clone() as Arc<_>);
    let server = Server::start_with(
        &database,
        Options {
            env,
            clock: clock_of_server,
            ..Options::default()
        },
    )
    .await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let refused = Answer::status(401).with_json(&json!({"error": "invalid_client"}));
    provider.answer_with(refused);
    for _ in 0..10 {
        let reply = client
            .get("/api/token?realm=r&key=k&flush=true")
            .await
            .expect(200);
        let token = reply.json();
        assert_eq!(
            (&token["token"], &token["flushed"]),
            (&json!("token-1"), &json!(false))
        );
        let wait = reply
            .header("retry-after")
            .and_then(|wait| wait.parse().ok());
        assert!(
            wait.is_some_and(|wait| (60..=66).contains(&wait)),
            "{wait:?}"
        );
    }
    assert_eq!(provider.request_count(), 2);
    clock.advance(Ms::from_secs(3600));
    provider.wait_for_requests(3).await;
}

async fn a_repeated_token_that_has_expired_is_a_failure_and_no_loop(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    // An hour is assumed; the provider gives the same token for ever.
    provider.answer_with(Answer::status(200).with_json(&json!({"access_token": "the-same"})));
    let config = |policy: Value| {
        json!({
            "url": provider.url("/token"), "method": "POST", "token_path": "access_token",
            "default_expires_in_s": 3600, "policy": policy,
        })
    };
    client.save_realm("r", config(json!({}))).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    clock.advance(Ms::from_secs(3601));
    eventually("the dead repeat is a failure", async || {
        let secret = client.secret("r", "k").await;
        let detail = secret["last_error"]["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        detail.contains("policy.repeat").then_some(())
    })
    .await;
    assert_eq!(client.secret("r", "k").await["state"], "expired");
    client
        .token("r", "k")
        .await
        .expect_problem(503, "token_unavailable");
    // The realm can say that asking again prolongs it.
    client
        .save_realm("r", config(json!({"repeat": "extends"})))
        .await;
    let extended = client.state("r", "k", "active").await;
    assert_eq!(extended["generation"], 1);
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "the-same"
    );
}

async fn rows_sealed_with_another_replicas_key_are_left_to_it_and_starve_nobody(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    provider.answer_with(Answer::status(503));
    let clock = Arc::new(ManualClock::at(START));
    let with_key = |text: &str| Options {
        env: vec![("TOKEN_SERVER__SEALING__KEYS", text.to_owned())],
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let first = "first:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let second = "second:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
    // The realm is one that both know.
    let server = Server::start_with(&database, with_key(&format!("{second},{first}"))).await;
    let url = provider.url("/token");
    server.client.register_realm("r", &url).await;
    server.stop().await;
    let server = Server::start_with(&database, with_key(&format!("{first},{second}"))).await;
    for number in 0..20 {
        server
            .client
            .save_secret("r", &format!("theirs-{number}"))
            .await;
    }
    provider.wait_for_requests(20).await;
    server.stop().await;
    provider.answer_with(Answer::default());
    let failed_once = "SELECT COUNT(*) FROM ts_token WHERE failures = 1";
    assert_eq!(database.number(failed_once).await, 20);
    // All of theirs are due, and this server has not their key.
    clock.advance(Ms::from_secs(600));
    let server = Server::start_with(&database, with_key(second)).await;
    server.client.save_secret("r", "ours").await;
    server.client.generation("r", "ours", 1).await;
    assert_eq!(provider.request_count(), 21);
    assert_eq!(database.number(failed_once).await, 20);
    assert_eq!(
        server.client.secret("r", "theirs-1").await["params"],
        Value::Null
    );
}

async fn the_lease_of_a_killed_job_is_recovered_by_a_later_job(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.app().renewals.stop(Ms::ZERO).await;
    server.client.save_secret("r", "k").await;
    provider.hold();
    let job = |directory: &tempfile::TempDir| {
        let mut job = command(
            &database,
            &[
                (
                    "TOKEN_SERVER__DATA_DIR",
                    directory.path().display().to_string(),
                ),
                ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "1".to_owned()),
            ],
        );
        job.arg("renew").stderr(std::process::Stdio::null());
        job
    };
    let directory = tempfile::tempdir().expect("a directory");
    let mut killed = job(&directory).spawn().expect("the job starts");
    provider.wait_for_requests(1).await;
    killed.kill().expect("the job can be killed");
    killed.wait().expect("the job ends");
    provider.release();
    // Each in a container of its own: nobody knows the first one's name.
    eventually("a later job renews it", async || {
        let directory = tempfile::tempdir().expect("a directory");
        let mut job = job(&directory);
        let done = tokio::task::spawn_blocking(move || job.output());
        let output = done
            .await
            .expect("the job is waited for")
            .expect("the job runs");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
        (summary["renewed"] == 1).then_some(())
    })
    .await;
    assert_eq!(provider.request_count(), 2);
}

async fn a_caller_that_goes_away_interrupts_nothing(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.app().renewals.stop(Ms::ZERO).await;
    server.client.save_secret("r", "k").await;
    provider.hold();
    let run = tokio::spawn({
        let client = server.client.clone();
        async move { client.post("/api/renewal/run", &json!({})).await }
    });
    provider.wait_for_requests(1).await;
    run.abort();
    assert!(run.await.is_err_and(|ended| ended.is_cancelled()));
    provider.release();
    server.client.generation("r", "k", 1).await;
    assert_eq!(provider.request_count(), 1);
    let leased = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
    assert_eq!(database.number(leased).await, 0);
}

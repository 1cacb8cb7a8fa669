//! Renewal: when, by whom, and what follows when it fails.

use serde_json::{Value, json};
use token_server::foundation::clock::Ms;
use token_server::jobs::maintenance::{Maintenance, MaintenanceSettings};

use crate::kit::process::ServerProcess;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_token_is_renewed_before_it_expires,
    a_failing_renewal_backs_off_while_the_valid_token_is_served_and_recovers,
    bounds_on_attempts_hold_for_a_realm_and_for_the_process,
    a_result_obtained_with_old_parameters_is_not_stored_over_the_new,
    a_repeated_token_keeps_its_generation_and_its_earlier_expiry,
    strange_lifetimes_make_neither_a_loop_nor_an_eternal_token,
    two_servers_renew_what_is_due_exactly_once,
    three_hundred_callers_on_two_servers_cause_one_request,
    a_lease_whose_holder_was_killed_is_taken_over_by_another_server,
    a_timer_can_have_renewed_what_is_due,
    old_history_is_deleted,
    a_stopping_server_finishes_the_attempt_under_way,
}

async fn attempts(client: &Client, query: &str) -> Vec<Value> {
    let reply = client
        .get(&format!("/api/renewal?pageSize=1000&{query}"))
        .await
        .expect(200);
    reply.json()["data"]["list"]
        .as_array()
        .expect("a list")
        .clone()
}

async fn a_token_is_renewed_before_it_expires(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    for generation in 1..=5 {
        let secret = client.generation("r", "k", generation).await;
        assert_eq!(secret["state"], "active");
        assert_eq!(provider.request_count() as i64, generation);
        // The latest lead is 15 % of 7,200 s, the earliest 80 % for the first token.
        clock.advance(Ms::from_secs(1400));
        assert_eq!(
            client.token("r", "k").await.expect(200).json()["generation"],
            generation
        );
        clock.advance(Ms::from_secs(7200 - 1080 - 1400));
    }
}

async fn a_failing_renewal_backs_off_while_the_valid_token_is_served_and_recovers(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    provider.answer_with(Answer::status(502));
    clock.advance(Ms::from_secs(6200));
    for failures in 1..=3 {
        let secret = eventually("another failure", async || {
            let secret = client.secret("r", "k").await;
            (secret["last_error"]["failures"].as_i64() >= Some(failures)).then_some(secret)
        })
        .await;
        assert_eq!(secret["state"], "retrying");
        assert_eq!(secret["last_error"]["class"], "transient");
        assert_eq!(
            client.token("r", "k").await.expect(200).json()["token"],
            "token-1"
        );
        // Backed off by the manual clock: nothing more happens until it moves.
        assert_eq!(provider.request_count() as i64, 1 + failures);
        clock.advance(Ms::from_secs(60));
    }
    provider.answer_with(Answer::default());
    eventually("recovery", async || {
        clock.advance(Ms::from_secs(1));
        let secret = client.secret("r", "k").await;
        (secret["state"] == "active").then_some(())
    })
    .await;
    assert_eq!(client.secret("r", "k").await["last_error"], Value::Null);
    assert_eq!(attempts(client, "outcome=stored").await.len(), 2);
    assert!(attempts(client, "outcome=failed").await.len() >= 3);
}

async fn bounds_on_attempts_hold_for_a_realm_and_for_the_process(database: TestDatabase) {
    let provider = Provider::start().await;
    let env = vec![
        ("TOKEN_SERVER__RENEWAL__CONCURRENCY", "5".to_owned()),
        ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "3".to_owned()),
    ];
    let server = Server::start_with(
        &database,
        Options {
            env,
            ..Options::default()
        },
    )
    .await;
    let client = &server.client;
    provider.hold();
    for realm in ["a", "b"] {
        client
            .register_realm(realm, &provider.url(&format!("/{realm}")))
            .await;
        for number in 0..10 {
            client.save_secret(realm, &format!("k{number}")).await;
        }
    }
    provider.wait_for_requests(5).await;
    let of = |realm: &str| {
        let path = format!("/{realm}");
        provider
            .requests()
            .iter()
            .filter(|request| request.path == path)
            .count()
    };
    let (of_a, of_b) = (of("a"), of("b"));
    assert!(of_a <= 3 && of_b <= 3 && of_a + of_b == 5, "{of_a} {of_b}");
    provider.release();
    for realm in ["a", "b"] {
        for number in 0..10 {
            client.generation(realm, &format!("k{number}"), 1).await;
        }
    }
    assert_eq!(provider.request_count(), 20);
    assert!(
        provider.in_flight_peak() <= 5,
        "{}",
        provider.in_flight_peak()
    );
}

async fn a_result_obtained_with_old_parameters_is_not_stored_over_the_new(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.held_attempt(&provider, "r", "k").await;
    let changed = json!({"realm": "r", "key": "k", "key_2": "the-new-secret"});
    client.post("/api/secret", &changed).await.expect(200);
    provider.release();
    client.generation("r", "k", 1).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
    let asked_with = |request: &crate::kit::provider::RecordedRequest| {
        request
            .query
            .iter()
            .find(|(name, _)| name == "secret")
            .map(|(_, value)| value.clone())
    };
    let secrets: Vec<_> = provider.requests().iter().filter_map(asked_with).collect();
    assert_eq!(secrets, ["the-secret", "the-new-secret"]);
    assert_eq!(attempts(client, "outcome=discarded").await.len(), 1);
}

async fn a_repeated_token_keeps_its_generation_and_its_earlier_expiry(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    provider.answer_with(Answer::token("the-same", 7200));
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    let first = client.generation("r", "k", 1).await;
    clock.advance(Ms::from_secs(6200));
    provider.wait_for_requests(2).await;
    eventually("the repeat is stored", async || {
        (attempts(client, "outcome=stored").await.len() == 2).then_some(())
    })
    .await;
    let repeated = client.secret("r", "k").await;
    assert_eq!(repeated["generation"], 1);
    assert_eq!(repeated["expires_at"], first["expires_at"]);
    provider.answer_with(Answer::token("another", 7200));
    clock.advance(Ms::from_secs(1000));
    let renewed = client.generation("r", "k", 2).await;
    assert_ne!(renewed["expires_at"], first["expires_at"]);
}

async fn strange_lifetimes_make_neither_a_loop_nor_an_eternal_token(database: TestDatabase) {
    let (server, _clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let lifetimes = [
        ("zero", json!(0), None),
        ("negative", json!(-1), None),
        ("not-a-number", json!("NaN"), None),
        ("a-list", json!([7200]), None),
        ("text", json!("7200"), Some(7_200_000)),
        ("one", json!(1), Some(1000)),
        ("fraction", json!(1.5), Some(1500)),
        ("huge", json!(1_000_000_000_000_i64), None),
        ("beyond", json!(1e300), None),
    ];
    for (name, lifetime, served) in lifetimes {
        let provider = Provider::start().await;
        let answer = json!({"access_token": "t", "expires_in": lifetime});
        provider.answer_with(Answer::status(200).with_json(&answer));
        client.register_realm(name, &provider.url("/token")).await;
        client.save_secret(name, "k").await;
        eventually("an attempt ended", async || {
            let ended = attempts(client, &format!("realm={name}")).await;
            (!ended.is_empty()).then_some(())
        })
        .await;
        let reply = client.token(name, "k").await;
        match served {
            Some(expires_in) => {
                let token = reply.expect(200).json();
                assert_eq!(token["expires_in"], expires_in, "{name}: {token}");
            }
            None => {
                reply.expect_problem(503, "token_unavailable");
            }
        }
        assert_eq!(provider.request_count(), 1, "{name}");
    }
}

/// A second replica: its own directory, the same database.
fn beside(directory: &tempfile::TempDir) -> (&'static str, String) {
    (
        "TOKEN_SERVER__DATA_DIR",
        directory.path().display().to_string(),
    )
}

async fn two_servers_renew_what_is_due_exactly_once(database: TestDatabase) {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let first = Server::start(&database).await;
    let env = vec![beside(&directory)];
    let second = Server::start_with(
        &database,
        Options {
            env,
            ..Options::default()
        },
    )
    .await;
    let client = &first.client;
    client.register_realm("r", &provider.url("/token")).await;
    provider.hold();
    for number in 0..100 {
        client.save_secret("r", &format!("k{number}")).await;
    }
    // Each makes eight attempts at once in a realm: both take part.
    provider.wait_for_requests(16).await;
    provider.release();
    for number in 0..100 {
        client.generation("r", &format!("k{number}"), 1).await;
    }
    assert_eq!(provider.request_count(), 100);
    let stored = attempts(client, "outcome=stored").await;
    let replicas: std::collections::BTreeSet<_> = stored
        .iter()
        .map(|attempt| attempt["replica"].to_string())
        .collect();
    assert_eq!(stored.len(), 100);
    assert_eq!(replicas.len(), 2);
    second.stop().await;
}

async fn three_hundred_callers_on_two_servers_cause_one_request(database: TestDatabase) {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let patient = Options::patient().env;
    let of_second = [patient.clone(), vec![beside(&directory)]].concat();
    let first = ServerProcess::start(&database, &patient);
    let second = ServerProcess::start(&database, &of_second);
    first
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    provider.hold();
    first.client.save_secret("r", "k").await;
    let callers: Vec<_> = (0..300)
        .map(|number| {
            let client = if number % 2 == 0 {
                &first.client
            } else {
                &second.client
            };
            let client = client.clone();
            tokio::spawn(async move { client.token("r", "k").await })
        })
        .collect();
    for server in [&first, &second] {
        eventually("half of the callers wait", async || {
            let metrics = server.client.get("/metrics").await.expect(200).text;
            let waiting = metrics
                .lines()
                .any(|line| line == "token_server_readers_waiting 150");
            waiting.then_some(())
        })
        .await;
    }
    provider.wait_for_requests(1).await;
    provider.release();
    for caller in callers {
        let token = caller.await.expect("the caller ends").expect(200).json();
        assert_eq!(token["token"], "token-1");
    }
    assert_eq!(provider.request_count(), 1);
}

async fn a_lease_whose_holder_was_killed_is_taken_over_by_another_server(database: TestDatabase) {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    // A lease is as long as an attempt may take, and 5 s.
    let short = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "1".to_owned());
    let first = ServerProcess::start(&database, std::slice::from_ref(&short));
    first
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    first.client.held_attempt(&provider, "r", "k").await;
    first.kill();
    provider.release();
    let second = ServerProcess::start(&database, &[short, beside(&directory)]);
    second.client.generation("r", "k", 1).await;
    assert_eq!(provider.request_count(), 2);
    let metrics = second.client.get("/metrics").await.expect(200).text;
    assert!(
        metrics.contains("token_server_lease_steals_total 1"),
        "{metrics}"
    );
}

async fn a_timer_can_have_renewed_what_is_due(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let run = client
        .post("/api/renewal/run", &json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(run["data"]["renewed"], 0);
    assert_eq!(run["data"]["failed"], 0);
    server.stop().await;
    // Without the sweep, as in a frozen instance.
    let (server, clock) = Server::on_manual_clock(&database).await;
    clock.advance(Ms(i64::MAX / 4));
    server.app().renewals.stop(Ms::ZERO).await;
    let run = server
        .client
        .post("/api/renewal/run", &json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(run["data"]["renewed"], 1);
    assert_eq!(provider.request_count(), 2);
}

async fn old_history_is_deleted(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let settings = MaintenanceSettings {
        schedule: "0 0 0 * * *".to_owned(),
        history: Ms::from_secs(86_400),
        audit: Ms::from_secs(2 * 86_400),
        check_sealed_every: Ms::ZERO,
    };
    let (database, audit) = (server.app().database.clone(), server.app().audit.clone());
    let maintenance = Maintenance::new(database, audit, clock.clone(), settings);
    let nothing = maintenance.prune().await.expect("the database answers");
    assert_eq!((nothing.renewals, nothing.audit_entries), (0, 0));
    provider.hold();
    clock.advance(Ms::from_secs(86_401));
    let pruned = maintenance.prune().await.expect("the database answers");
    assert_eq!((pruned.renewals, pruned.audit_entries), (1, 0));
    clock.advance(Ms::from_secs(86_401));
    let pruned = maintenance.prune().await.expect("the database answers");
    // The administrator's key, the realm and the secret; and looks that are written by then.
    assert!(
        pruned.renewals == 0 && pruned.audit_entries >= 3,
        "{pruned:?}"
    );
    provider.release();
}

async fn a_stopping_server_finishes_the_attempt_under_way(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = ServerProcess::start(&database, &[]);
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.client.held_attempt(&provider, "r", "k").await;
    server.terminate();
    eventually("the server is stopping", async || {
        server
            .logged()
            .iter()
            .any(|line| line.contains("stopping"))
            .then_some(())
    })
    .await;
    // Had it not waited for the provider, this would come too late.
    provider.release();
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(database.number("SELECT generation FROM ts_token").await, 1);
    assert_eq!(
        database
            .number("SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL")
            .await,
        0
    );
}

//! A damaged token is obtained again, however the damage is noticed.

use serde_json::{Value, json};

use super::{HARMS, Harm, Stored, counted, everything_of, make_due, register, register_realm};
use super::{renewed, run, scene, server};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_damaged_token_heals_within_one_renewal_however_it_is_noticed,
    a_damaged_form_of_a_token_heals_too_and_one_that_is_whole_is_served_until_then,
    a_damaged_token_that_is_rendered_on_each_read_heals,
    a_provider_that_repeats_a_token_heals_it,
    the_rules_of_holding_back_hold_for_a_damaged_token,
    each_damaged_value_is_counted_once,
    a_damaged_token_in_the_feed_holds_up_no_other,
}

/// How it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noticed {
    Read,
    Due,
    Flushed,
    Reported,
    LookedAt,
}

const NOTICED: [Noticed; 5] = [
    Noticed::Read,
    Noticed::Due,
    Noticed::Flushed,
    Noticed::Reported,
    Noticed::LookedAt,
];

async fn notice(database: &TestDatabase, server: &Server, how: Noticed, token: &Value) {
    let (client, body) = (&server.client, json!({"realm": "r", "key": "k"}));
    match how {
        Noticed::Read => {
            let read = client.token("r", "k").await.expect(200).json();
            assert_eq!(read["source"], "upstream", "{read}");
            assert_ne!(read["token"], *token);
            assert!(read["stale"].is_null());
        }
        Noticed::Due => make_due(database, server, "k").await,
        Noticed::Flushed => {
            let flushed = client.post("/api/token/flush", &body).await.expect(200);
            assert_eq!(flushed.json()["flushed"], true, "{}", flushed.text);
            assert_ne!(flushed.json()["token"], *token);
        }
        Noticed::Reported => {
            let mut body = body;
            body["token"] = token.clone();
            let reported = client.post("/api/token/report", &body).await.expect(200);
            assert_ne!(reported.json()["token"], *token, "{}", reported.text);
        }
        Noticed::LookedAt => {
            let found = server.app().renewals.check_sealed().await;
            let found = found.expect("the database can be read");
            assert_eq!((found.damaged_values, found.made_due), (1, 1), "{found:?}");
        }
    }
}

/// Goes through kinds of damage to a column, and through the ways to notice it.
async fn heals(
    database: &TestDatabase,
    server: &Server,
    column: &'static str,
    ways: &[Noticed],
    harms: &[Harm],
) {
    let damaged = Stored::of_key("ts_token", column, "k");
    let other = Stored::of_key("ts_token", column, "other");
    let untouched = everything_of(database, "other").await;
    let mut token = server.client.token("r", "k").await.expect(200).json()["token"].take();
    let mut generation = server.client.secret("r", "k").await["generation"]
        .as_i64()
        .expect("a number");
    for harm in harms {
        for how in ways {
            damaged.harm(database, *harm, &other).await;
            notice(database, server, *how, &token).await;
            generation += 1;
            let secret = renewed(server, "k", generation).await;
            assert_eq!(secret["generation"], generation, "{harm:?}, {how:?}");
            assert_eq!(secret["state"], "active");
            server.settled().await;
            let read = server.client.token("r", "k").await.expect(200).json();
            assert_eq!(read["source"], "database", "{read}");
            assert_eq!(read["extra"], json!({"life": 7200}), "{harm:?}, {how:?}");
            assert_ne!(read["token"], token, "{harm:?}, {how:?}");
            token = read["token"].clone();
        }
    }
    assert_eq!(everything_of(database, "other").await, untouched);
    server.client.token("r", "other").await.expect(200);
}

async fn a_damaged_token_heals_within_one_renewal_however_it_is_noticed(database: TestDatabase) {
    let (_provider, server) = scene(&database).await;
    for column in ["token", "extra"] {
        heals(&database, &server, column, &NOTICED, &HARMS).await;
    }
}

async fn a_damaged_form_of_a_token_heals_too_and_one_that_is_whole_is_served_until_then(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    register_realm(&server, &provider, json!({"token_template": "T ${token}"})).await;
    register(&server, &["k", "other"]).await;
    heals(&database, &server, "served", &NOTICED, &HARMS).await;
    // What is served is whole.
    let token = Stored::of_key("ts_token", "token", "k");
    let other = Stored::of_key("ts_token", "token", "other");
    let before = server.client.token("r", "k").await.expect(200).json();
    token.harm(&database, Harm::Ciphertext, &other).await;
    let read = server.client.token("r", "k").await.expect(200).json();
    assert_eq!(
        (&read["token"], &read["source"]),
        (&before["token"], &json!("database"))
    );
    // Restored, so that each way finds it damaged anew.
    token.harm(&database, Harm::Ciphertext, &other).await;
    let ways = [
        Noticed::Due,
        Noticed::Flushed,
        Noticed::Reported,
        Noticed::LookedAt,
    ];
    heals(&database, &server, "token", &ways, &HARMS).await;
}

async fn a_damaged_token_that_is_rendered_on_each_read_heals(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    let per_read = json!({"token_template": "T ${token}", "per_read": true});
    register_realm(&server, &provider, per_read).await;
    register(&server, &["k", "other"]).await;
    heals(&database, &server, "token", &NOTICED, &HARMS).await;
}

async fn a_provider_that_repeats_a_token_heals_it(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    provider.answer_with(Answer::token("the-same", 7200));
    register_realm(&server, &provider, json!({})).await;
    register(&server, &["k", "other"]).await;
    for (column, generation) in [("token", 2), ("extra", 2)] {
        let other = Stored::of_key("ts_token", column, "other");
        let damaged = Stored::of_key("ts_token", column, "k");
        damaged.harm(&database, Harm::Nonce, &other).await;
        let read = server.client.token("r", "k").await.expect(200).json();
        // Where nothing is left to compare with, it is another generation.
        assert_eq!(
            (&read["token"], &read["generation"]),
            (&json!("the-same"), &json!(generation))
        );
        server.settled().await;
        let again = server.client.token("r", "k").await.expect(200).json();
        assert_eq!(again["source"], "database");
    }
}

async fn the_rules_of_holding_back_hold_for_a_damaged_token(database: TestDatabase) {
    let (provider, server) = scene(&database).await;
    let (damaged, other) = (
        Stored::of_key("ts_token", "token", "k"),
        Stored::of_key("ts_token", "token", "other"),
    );
    damaged.harm(&database, Harm::Tag, &other).await;
    let client = &server.client;
    client
        .post("/api/secret/r/k/pause", &json!({}))
        .await
        .expect(200);
    let paused = client
        .token("r", "k")
        .await
        .expect_problem(503, "token_unavailable");
    assert!(
        paused["detail"]
            .as_str()
            .is_some_and(|d| d.contains("paused")),
        "{paused}"
    );
    let found = server
        .app()
        .renewals
        .check_sealed()
        .await
        .expect("it can be read");
    assert_eq!(
        (found.damaged_values, found.made_due, found.need_attention),
        (1, 0, 0)
    );
    assert_eq!(provider.request_count(), 2);
    provider.answer_with(Answer::status(500).with_header("retry-after", "600"));
    client
        .post("/api/secret/r/k/resume", &json!({}))
        .await
        .expect(200);
    client.state("r", "k", "retrying").await;
    server.settled().await;
    // In trouble, it is not asked for by each reader.
    let asked = provider.request_count();
    for _ in 0..3 {
        let answer = client
            .token("r", "k")
            .await
            .expect_problem(503, "token_unavailable");
        assert_eq!(answer["class"], "transient");
    }
    assert_eq!(provider.request_count(), asked);
    provider.answer_with(Answer::token("well", 7200));
    make_due(&database, &server, "k").await;
    client.state("r", "k", "active").await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "well"
    );
}

async fn each_damaged_value_is_counted_once(database: TestDatabase) {
    let (provider, server) = scene(&database).await;
    let (damaged, other) = (
        Stored::of_key("ts_token", "token", "k"),
        Stored::of_key("ts_token", "token", "other"),
    );
    assert_eq!(counted(&server, "ts_token", "token").await, None);
    for round in 1..=2 {
        damaged.harm(&database, Harm::KeyId, &other).await;
        provider.answer_next(Answer::status(500));
        // The attempt that the first read makes fails; the second finds the same value.
        server
            .client
            .token("r", "k")
            .await
            .expect_problem(503, "token_unavailable");
        server.client.token("r", "k").await;
        assert_eq!(counted(&server, "ts_token", "token").await, Some(round));
        make_due(&database, &server, "k").await;
        server.client.state("r", "k", "active").await;
        server.settled().await;
    }
}

async fn a_damaged_token_in_the_feed_holds_up_no_other(database: TestDatabase) {
    let remembering = vec![("TOKEN_SERVER__READ__MEMORY_MIB", "16".to_owned())];
    let provider = Provider::start().await;
    let server = super::server_with(&database, remembering).await;
    register_realm(&server, &provider, json!({})).await;
    register(&server, &["k", "other"]).await;
    let client = &server.client;
    server.follows().await;
    for key in ["k", "other"] {
        let read = client.token("r", key).await.expect(200).json();
        assert_eq!(read["source"], "cache");
    }
    let (damaged, other) = (
        Stored::of_key("ts_token", "token", "k"),
        Stored::of_key("ts_token", "token", "other"),
    );
    damaged.harm(&database, Harm::Tag, &other).await;
    // As if another replica had stored both.
    run(
        &database,
        "UPDATE ts_token SET generation = 2 WHERE key_name = 'other'",
    )
    .await;
    database.authenticate_tokens().await;
    run(
        &database,
        "INSERT INTO ts_change (subject, row_id) SELECT 'token', secret_id FROM ts_token",
    )
    .await;
    eventually("the other is followed", async || {
        let read = client.token("r", "other").await.expect(200).json();
        (read["generation"] == 2 && read["source"] == "cache").then_some(())
    })
    .await;
    let read = client.token("r", "k").await.expect(200).json();
    assert_eq!(
        (&read["generation"], &read["source"]),
        (&json!(2), &json!("upstream"))
    );
}

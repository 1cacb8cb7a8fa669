//! What the metrics say of secrets: the same as lists and answers do, and no more names than
//! allowed.

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, Timeline};

use crate::kit::server::Client;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    secrets_are_counted_by_state_and_by_whether_their_token_is_alive,
    each_realm_tells_what_expires_first_and_since_when_a_secret_has_no_token,
    realms_beyond_the_limit_are_counted_together,
    a_clock_is_told_in_seconds_with_what_else_this_process_knows,
    tokens_are_counted_by_how_long_they_still_live,
    each_realm_tells_how_long_its_provider_takes_and_what_is_left_of_its_quota,
}

/// The value of a series, where it is there.
async fn value(client: &Client, series: &str) -> Option<f64> {
    let page = client.get("/metrics").await.expect(200).text;
    let value = page.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == format!("token_server_{series}")).then_some(value)
    });
    value.map(|value| value.parse().expect("a number"))
}

async fn count(client: &Client, state: &str, token: &str) -> Option<f64> {
    let series = format!("secrets{{state=\"{state}\",token=\"{token}\"}}");
    value(client, &series).await
}

async fn save(client: &Client, secret: Value) {
    client.post("/api/secret", &secret).await.expect(200);
}

async fn pause(client: &Client, key: &str) {
    let path = format!("/api/secret/r/{key}/pause");
    client.post(&path, &json!({})).await.expect(200);
}

fn refused() -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client"}))
}

/// Saves a secret in realm `r`, which the provider answers so, and waits until that is stored.
async fn answered(client: &Client, provider: &Provider, key: &str, answers: Vec<(Answer, &str)>) {
    for (answer, outcome) in answers {
        provider.answer_next(answer);
        let secret = json!({"realm": "r", "key": key, "key_1": outcome, "key_2": "s"});
        save(client, secret).await;
        let history = format!("/api/renewal?key={key}&outcome={outcome}");
        eventually(&history, async || client.list(&history).await.pop()).await;
    }
}

async fn secrets_are_counted_by_state_and_by_whether_their_token_is_alive(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_realm("fixed", Value::Null).await;
    let (good, short) = (
        || (Answer::numbered_token(7200), "stored"),
        || (Answer::numbered_token(60), "stored"),
    );
    let (failing, refused) = (|| (Answer::status(500), "failed"), || (refused(), "failed"));
    provider.answer_with(Answer::status(500));
    for (key, answers) in [
        ("pending", vec![failing()]),
        ("active", vec![good()]),
        ("retrying", vec![good(), failing()]),
        ("expired", vec![short()]),
        ("attention-alive", vec![good(), refused()]),
        ("attention-none", vec![refused()]),
        ("attention-ended", vec![short(), refused()]),
        ("paused-alive", vec![good()]),
        ("paused-ended", vec![short()]),
    ] {
        answered(client, &provider, key, answers).await;
    }
    for key in ["paused-alive", "paused-ended"] {
        pause(client, key).await;
    }
    let end = clock.now().plus(Ms::from_secs(30)).0;
    for secret in [
        json!({"realm": "fixed", "key": "alive", "token": "t"}),
        json!({"realm": "fixed", "key": "ended", "token": "t", "expires_at": end}),
        json!({"realm": "fixed", "key": "none"}),
    ] {
        save(client, secret).await;
    }
    clock.advance(Ms::from_secs(60));
    for (state, alive, none) in [
        ("pending", None, Some(1.0)),
        ("active", Some(1.0), None),
        ("retrying", Some(1.0), None),
        ("expired", None, Some(1.0)),
        ("needs_attention", Some(1.0), Some(2.0)),
        ("paused", Some(1.0), Some(1.0)),
        ("fixed", Some(1.0), Some(2.0)),
    ] {
        let counted = (
            count(client, state, "alive").await,
            count(client, state, "none").await,
        );
        assert_eq!(counted, (alive, none), "{state}");
        let listed = client.list(&format!("/api/secret?state={state}")).await;
        let counted = alive.unwrap_or(0.0) + none.unwrap_or(0.0);
        assert!((listed.len() as f64 - counted).abs() < 0.1, "{state}");
    }
}

async fn each_realm_tells_what_expires_first_and_since_when_a_secret_has_no_token(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let begun_s = clock.now().0 as f64 / 1000.0;
    for realm in ["r", "idle"] {
        client.register_realm(realm, &provider.url("/token")).await;
    }
    client.save_realm("fixed", Value::Null).await;
    provider.answer_with(Answer::status(503));
    let token = |life_s| vec![(Answer::numbered_token(life_s), "stored")];
    for (key, life_s) in [
        ("ends", 100),
        ("ends-later", 110),
        ("paused", 90),
        ("lives", 7200),
    ] {
        answered(client, &provider, key, token(life_s)).await;
    }
    pause(client, "paused").await;
    answered(client, &provider, "paused-alive", token(500)).await;
    pause(client, "paused-alive").await;
    let end = clock.now().plus(Ms::from_secs(30)).0;
    save(
        client,
        json!({"realm": "fixed", "key": "k", "token": "t", "expires_at": end}),
    )
    .await;
    save(client, json!({"realm": "fixed", "key": "none"})).await;
    clock.advance(Ms::from_secs(50));
    let of = |series: &str, realm: &str| format!("{series}{{realm=\"{realm}\"}}");
    let since = |realm: &str, reason: &str| {
        format!("without_token_since_timestamp_seconds{{realm=\"{realm}\",reason=\"{reason}\"}}")
    };
    let first = "token_earliest_expiry_timestamp_seconds";
    assert_eq!(value(client, &of(first, "r")).await, Some(begun_s + 100.0));
    assert_eq!(value(client, &since("r", "expired")).await, None);
    assert_eq!(value(client, &since("r", "never_obtained")).await, None);
    answered(
        client,
        &provider,
        "pending",
        vec![(Answer::status(503), "failed")],
    )
    .await;
    // What is derived waits for a parent that has no token.
    let derived = json!({
        "params": {"main": {"title": "Its key in realm r"}},
        "parent": {"realm": "r", "key": "$main"},
        "url": provider.url("/derived"), "method": "GET",
        "arguments": [{"name": "token", "place": "url", "value": "${parent.token}"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    client.save_realm("derived", derived).await;
    clock.advance(Ms::from_secs(1));
    save(
        client,
        json!({"realm": "derived", "key": "k", "params": {"main": "pending"}}),
    )
    .await;
    clock.advance(Ms::from_secs(100));
    for (series, expected) in [
        (of(first, "r"), Some(begun_s + 7200.0)),
        (of(first, "fixed"), None),
        (of(first, "idle"), None),
        (since("r", "expired"), Some(begun_s + 100.0)),
        (since("r", "never_obtained"), Some(begun_s + 50.0)),
        (since("derived", "never_obtained"), Some(begun_s + 51.0)),
        (since("derived", "expired"), None),
        (since("fixed", "expired"), None),
        (since("fixed", "never_obtained"), None),
        (since("idle", "never_obtained"), None),
    ] {
        assert_eq!(value(client, &series).await, expected, "{series}");
    }
}

async fn realms_beyond_the_limit_are_counted_together(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::with_env(&database, &[("TOKEN_SERVER__METRICS__REALMS_MAX", "1")]).await;
    let client = &server.client;
    for realm in ["a", "b", "c"] {
        client.register_realm(realm, &provider.url("/token")).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
        server.settled().await;
    }
    let renewals =
        |realm| format!("renewals_total{{realm=\"{realm}\",outcome=\"stored\",class=\"\"}}");
    let dying = |realm| format!("dying_tokens{{realm=\"{realm}\"}}");
    for (series, expected) in [
        (renewals("a"), Some(1.0)),
        (renewals("other"), Some(2.0)),
        (renewals("b"), None),
        (dying("a"), Some(0.0)),
        (dying("other"), Some(0.0)),
        (dying("c"), None),
    ] {
        eventually(&series, async || {
            (value(client, &series).await == expected).then_some(())
        })
        .await;
    }
}

async fn a_clock_is_told_in_seconds_with_what_else_this_process_knows(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    let now_s = |clock: &dyn Clock| clock.now().0 as f64 / 1000.0;
    let swept = server.app().metrics.sweeps.get();
    clock.advance(Ms(1500));
    let expected = now_s(clock.as_ref());
    server.app().wake.notify_one();
    eventually("a sweep", async || {
        server.app().wake.notify_one();
        (server.app().metrics.sweeps.get() >= swept + 2).then_some(())
    })
    .await;
    for series in [
        "last_sweep_timestamp_seconds",
        "database_last_contact_timestamp_seconds",
        "secrets_measured_timestamp_seconds",
    ] {
        assert_eq!(value(client, series).await, Some(expected), "{series}");
    }
    assert_eq!(value(client, "sweep_lag_seconds").await, Some(0.0));
    let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(client, &version).await, Some(1.0));
}

async fn tokens_are_counted_by_how_long_they_still_live(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    for realm in ["r", "q"] {
        client.register_realm(realm, &provider.url("/token")).await;
    }
    client.save_realm("fixed", Value::Null).await;
    for (key, life_s) in [("a", 60), ("b", 400), ("c", 7200), ("paused", 400)] {
        let answers = vec![(Answer::numbered_token(life_s), "stored")];
        answered(client, &provider, key, answers).await;
    }
    pause(client, "paused").await;
    provider.answer_with(Answer::numbered_token(90_000));
    client.save_secret("q", "k").await;
    client.generation("q", "k", 1).await;
    save(client, json!({"realm": "fixed", "key": "k", "token": "t"})).await;
    let counted = async |bounds: &[(&str, f64)]| {
        for (bound, expected) in bounds {
            let series = format!("token_remaining_seconds_bucket{{le=\"{bound}\"}}");
            assert_eq!(value(client, &series).await, Some(*expected), "{bound}");
        }
    };
    // What does not end is in the last only, and what is paused in none.
    counted(&[
        ("60.0", 1.0),
        ("300.0", 1.0),
        ("900.0", 2.0),
        ("7200.0", 3.0),
        ("86400.0", 3.0),
        ("604800.0", 4.0),
        ("2592000.0", 4.0),
        ("+Inf", 5.0),
    ])
    .await;
    provider.answer_with(Answer::status(503));
    clock.advance(Ms::from_secs(100));
    counted(&[("60.0", 0.0), ("300.0", 1.0), ("+Inf", 4.0)]).await;
}

async fn each_realm_tells_how_long_its_provider_takes_and_what_is_left_of_its_quota(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    for (realm, limit) in [("r", 4), ("large", 1000)] {
        let config = json!({
            "url": provider.url("/token"), "method": "GET",
            "token_path": "access_token", "expires_in_path": "expires_in",
            "policy": {"quota": [{"limit": limit, "window_s": 240}]},
        });
        client.save_realm(realm, config).await;
        let key = format!("of-{realm}");
        client.save_secret(realm, &key).await;
        client.generation(realm, &key, 1).await;
    }
    server.settled().await;
    client
        .register_realm("unlimited", &provider.url("/token"))
        .await;
    let left = |realm: &str| format!("quota_left_ratio{{realm=\"{realm}\"}}");
    for (series, expected) in [
        (left("r"), Some(0.75)),
        (left("large"), Some(0.999)),
        (left("unlimited"), None),
        ("upstream_seconds_count{realm=\"r\"}".to_owned(), Some(1.0)),
        (
            "upstream_seconds_count{realm=\"large\"}".to_owned(),
            Some(1.0),
        ),
        (
            "upstream_seconds_count{realm=\"unlimited\"}".to_owned(),
            None,
        ),
    ] {
        assert_eq!(value(client, &series).await, expected, "{series}");
    }
    // Another secret has a quota of its own; the one with the least left counts.
    client.save_secret("r", "another").await;
    client.generation("r", "another", 1).await;
    let flush = json!({"realm": "r", "key": "of-r"});
    clock.advance(Ms::from_secs(10));
    client.post("/api/token/flush", &flush).await.expect(200);
    server.settled().await;
    assert_eq!(value(client, &left("r")).await, Some(0.5));
    // No request of a window that has passed counts.
    clock.advance(Ms::from_secs(600));
    assert_eq!(value(client, &left("r")).await, None);
}

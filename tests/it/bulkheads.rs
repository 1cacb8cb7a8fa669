//! Bulkheads: a provider in trouble delays no other.

use sea_orm::ConnectionTrait;
use token_server::foundation::clock::Ms;

use crate::kit::database::DIGITS;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_provider_that_never_answers_delays_none_of_a_hundred_healthy_ones,
    a_rate_limit_holds_for_its_realm_and_for_no_other,
    ten_thousand_due_secrets_of_a_realm_that_is_held_delay_no_other,
    where_attempts_are_few_a_busy_realm_leaves_some_to_others,
    an_absurd_retry_after_holds_a_realm_no_longer_than_the_limit,
}

async fn a_provider_that_never_answers_delays_none_of_a_hundred_healthy_ones(
    database: TestDatabase,
) {
    let (hanging, healthy) = (Provider::start().await, Provider::start().await);
    // No attempt is over while the healthy ones are renewed.
    let patient = ("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600");
    let server = Server::with_env(&database, &[patient]).await;
    let client = &server.client;
    hanging.hold();
    client
        .register_realm("hanging", &hanging.url("/token"))
        .await;
    for number in 0..50 {
        client.save_secret("hanging", &format!("k{number}")).await;
    }
    hanging.wait_for_requests(8).await;
    for number in 0..100 {
        let realm = format!("healthy-{number}");
        client.register_realm(&realm, &healthy.url("/token")).await;
        client.save_secret(&realm, "k").await;
    }
    for number in 0..100 {
        client
            .generation(&format!("healthy-{number}"), "k", 1)
            .await;
    }
    assert_eq!(hanging.request_count(), 8);
    hanging.release();
    for number in 0..50 {
        client.generation("hanging", &format!("k{number}"), 1).await;
    }
}

/// Waits until a realm is known to be limited by its provider.
async fn limited(client: &Client, realm: &str, key: &str) {
    eventually("the limit", async || {
        let secret = client.secret(realm, key).await;
        (secret["last_error"]["class"] == "rate_limited").then_some(())
    })
    .await;
}

async fn a_rate_limit_holds_for_its_realm_and_for_no_other(database: TestDatabase) {
    let (limited, other) = (Provider::start().await, Provider::start().await);
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    limited.answer_next(Answer::status(429).with_header("retry-after", "120"));
    client
        .register_realm("limited", &limited.url("/token"))
        .await;
    client.register_realm("other", &other.url("/token")).await;
    client.save_secret("limited", "first").await;
    self::limited(client, "limited", "first").await;
    client.save_secret("limited", "second").await;
    let reply = client.token("limited", "second").await;
    assert_eq!(reply.header("retry-after"), Some("120"));
    assert_eq!(
        reply.expect_problem(503, "token_unavailable")["class"],
        "rate_limited"
    );
    client.save_secret("other", "k").await;
    client.generation("other", "k", 1).await;
    assert_eq!(limited.request_count(), 1);
    clock.advance(Ms::from_secs(121));
    client.generation("limited", "first", 1).await;
    client.generation("limited", "second", 1).await;
}

/// Copies a secret and its token ten thousand times; all of them are due.
const COPIES: [&str; 3] = [
    "CREATE TABLE number AS SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n \
     FROM DIGITS a, DIGITS b, DIGITS c, DIGITS e",
    "INSERT INTO ts_secret (id, realm_id, key_name, params, version, created_at, updated_at) \
     SELECT 100000 + n, realm_id, CAST(n AS CHAR), params, version, created_at, updated_at \
     FROM number, ts_secret WHERE realm_id = 'held' AND key_name = 'first'",
    "INSERT INTO ts_token (secret_id, realm_id, key_name, per_read, generation, refresh_line, \
     lost_awaited, renew_at, paused, forced, failures, fence, updated_at) \
     SELECT 100000 + n, realm_id, CAST(n AS CHAR), FALSE, 0, 0, FALSE, 0, FALSE, FALSE, 0, 0, 0 \
     FROM number, ts_token WHERE realm_id = 'held' AND key_name = 'first'",
];
async fn ten_thousand_due_secrets_of_a_realm_that_is_held_delay_no_other(database: TestDatabase) {
    let (busy, other) = (Provider::start().await, Provider::start().await);
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    busy.answer_with(Answer::status(429).with_header("retry-after", "3600"));
    client.register_realm("held", &busy.url("/token")).await;
    client.save_secret("held", "first").await;
    limited(client, "held", "first").await;
    let connection = database.connect().await;
    for sql in COPIES {
        let sql = sql.replace("DIGITS", DIGITS);
        let done = connection.execute_unprepared(&sql).await;
        done.expect("the statement is good");
    }
    let due = "SELECT COUNT(*) FROM ts_token WHERE realm_id = 'held' AND renew_at = 0";
    assert_eq!(database.number(due).await, 10_000);
    client.register_realm("other", &other.url("/token")).await;
    client.save_secret("other", "k").await;
    for generation in 1..=5 {
        client.generation("other", "k", generation).await;
        clock.advance(Ms::from_secs(600));
        client.token("other", "k").await.expect(200);
        let refused = client.token("held", "77").await;
        let problem = refused.expect_problem(503, "token_unavailable");
        assert_eq!(problem["class"], "rate_limited");
        let due = "UPDATE ts_token SET renew_at = 0 WHERE realm_id = 'other'";
        let done = connection.execute_unprepared(due).await;
        done.expect("the statement is good");
    }
    assert_eq!(busy.request_count(), 1);
    assert_eq!(database.number(due).await, 10_000);
}

async fn where_attempts_are_few_a_busy_realm_leaves_some_to_others(database: TestDatabase) {
    let provider = Provider::start().await;
    let limits = [
        ("TOKEN_SERVER__RENEWAL__CONCURRENCY", "1".to_owned()),
        ("TOKEN_SERVER__RENEWAL__REALM_RATE", "1000000".to_owned()),
    ];
    let options = Options {
        env: limits.to_vec(),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    provider.hold();
    client.register_realm("a", &provider.url("/a")).await;
    client.register_realm("b", &provider.url("/b")).await;
    for number in 0..40 {
        client.save_secret("a", &format!("k{number}")).await;
    }
    client.save_secret("b", "k").await;
    provider.release();
    for number in 0..40 {
        client.generation("a", &format!("k{number}"), 1).await;
    }
    client.generation("b", "k", 1).await;
    let paths: Vec<_> = provider.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths.len(), 41);
    assert_ne!(paths[40], "/b", "the busy realm came first each time");
}

async fn an_absurd_retry_after_holds_a_realm_no_longer_than_the_limit(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    for (number, absurd) in [
        "99999999999999",
        "99999999999999999999999999",
        "-5",
        "NaN",
        "1e9",
        "",
        "Wed, 21 Oct 1985 07:28:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "tomorrow",
    ]
    .into_iter()
    .enumerate()
    {
        // A provider of its own: what was registered before goes on being renewed.
        let (provider, realm) = (Provider::start().await, format!("r{number}"));
        provider.answer_next(Answer::status(429).with_header("retry-after", absurd));
        client.register_realm(&realm, &provider.url("/token")).await;
        client.save_secret(&realm, "k").await;
        limited(client, &realm, "k").await;
        assert_eq!(provider.request_count(), 1, "{absurd:?} made a loop");
        // renewal.retry_after_max_s, and the first second of a new sweep.
        clock.advance(Ms::from_secs(3601));
        client.generation(&realm, "k", 1).await;
    }
}

//! Clocks that are set, by an hour, while tokens live.

use std::sync::Arc;

use serde_json::json;
use token_server::foundation::clock::steady::SteadyClock;
use token_server::foundation::clock::{BootMs, Clock, EpochMs, ManualClock, Ms, SystemClock};

use crate::kit::database::Kind;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_clock_set_back_makes_no_expired_token_valid,
    a_clock_set_forward_makes_no_valid_token_expire_and_renews_nothing,
    a_replica_whose_clock_is_not_the_databases_claims_nothing_and_serves_what_it_has,
    a_clock_that_is_set_right_after_the_start_is_believed,
    an_attempt_that_a_step_of_the_wall_clock_cuts_off_is_no_failure_of_its_provider,
}

const HOUR: Ms = Ms::from_secs(3600);
const MAX_SKEW: (&str, &str) = ("TOKEN_SERVER__RENEWAL__MAX_SKEW_MS", "2000");

/// The clocks of a machine, which run as this one's do, and which the test moves besides.
#[derive(Debug)]
struct Machine(ManualClock);

impl Clock for Machine {
    fn now(&self) -> EpochMs {
        EpochMs(SystemClock.now().0 + self.0.now().0)
    }

    fn boot(&self) -> BootMs {
        BootMs(SystemClock.boot().0 + self.0.boot().0)
    }
}

/// A server on a machine whose wall clock is `off` the database's.
async fn machine(database: &TestDatabase, off: Ms) -> (Server, Arc<Machine>) {
    let clock = Arc::new(Machine(ManualClock::at(EpochMs(off.0))));
    let options = Options {
        clock: Some(Arc::new(SteadyClock::new(clock.clone(), Ms::from_secs(2)))),
        env: vec![(MAX_SKEW.0, MAX_SKEW.1.to_owned())],
        ..Options::default()
    };
    (Server::start_with(database, options).await, clock)
}

async fn a_clock_set_back_makes_no_expired_token_valid(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = machine(&database, Ms::ZERO).await;
    server.client.register(&provider.url("/token")).await;
    server
        .client
        .post("/api/secret/r/k/pause", &serde_json::json!({}))
        .await
        .expect(200);
    clock.0.advance(Ms::from_secs(7100));
    server.client.token("r", "k").await.expect(200);
    clock.0.step_wall(Ms(-HOUR.0));
    clock.0.advance(Ms::from_secs(100));
    server
        .client
        .token("r", "k")
        .await
        .expect_problem(503, "token_unavailable");
}

async fn a_clock_set_forward_makes_no_valid_token_expire_and_renews_nothing(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = machine(&database, Ms::ZERO).await;
    server.client.register(&provider.url("/token")).await;
    clock.0.step_wall(Ms(3 * HOUR.0));
    let token = server.client.token("r", "k").await.expect(200).json();
    assert_eq!(token["token"], "token-1");
    let left = token["expires_in"].as_i64().expect("a number");
    assert!((7_100_000..=7_200_000).contains(&left), "{left}");
    let metrics = server.client.get("/metrics").await.expect(200);
    assert_eq!(provider.request_count(), 1, "{}", metrics.text);
}

async fn a_replica_whose_clock_is_not_the_databases_claims_nothing_and_serves_what_it_has(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (right, _) = machine(&database, Ms::ZERO).await;
    right.client.register(&provider.url("/token")).await;
    right
        .client
        .register_realm("other", &provider.url("/token"))
        .await;
    right.stop().await;
    let (wrong, _) = machine(&database, HOUR).await;
    wrong.client.token("r", "k").await.expect(200);
    wrong.client.save_secret("other", "k").await;
    let read = wrong.client.token("other", "k").await;
    match database.kind() {
        // One machine has one clock, and nothing to compare it with.
        Kind::Sqlite => assert_eq!(read.expect(200).json()["generation"], 1),
        Kind::MySql => {
            read.expect_problem(503, "token_unavailable");
            assert_eq!(provider.request_count(), 1);
            let offset = offset(&wrong).await;
            assert!((offset - 3600.0).abs() < 60.0, "{offset}");
        }
    }
}

async fn a_clock_that_is_set_right_after_the_start_is_believed(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = machine(&database, HOUR).await;
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    // Time for the next comparison. On SQLite there is none: time goes on as it began.
    let until_next = Ms::from_secs(11);
    clock.0.advance(until_next);
    clock.0.step_wall(Ms(-HOUR.0 - until_next.0));
    if database.kind() == Kind::MySql {
        eventually("the database's clock agrees", async || {
            (offset(&server).await.abs() < 60.0).then_some(())
        })
        .await;
    }
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
}

/// How far the server says that its clock is ahead of the database's, in seconds.
async fn offset(server: &Server) -> f64 {
    let metrics = server.client.get("/metrics").await.expect(200).text;
    let offset = metrics
        .lines()
        .find_map(|line| line.strip_prefix("token_server_clock_offset_seconds "))
        .expect("the metric is there");
    offset.parse().expect("a number")
}

async fn an_attempt_that_a_step_of_the_wall_clock_cuts_off_is_no_failure_of_its_provider(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = machine(&database, Ms::ZERO).await;
    let client = &server.client;
    let config = json!({
        "url": provider.url("/token"), "method": "POST",
        "steps": [{"url": provider.url("/step"), "method": "GET"}],
        "arguments": [{"name": "app", "place": "body", "value": "$key_1"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    client.save_realm("r", config).await;
    // More than an attempt may take.
    let step = Ms::from_secs(11);
    client.held_attempt(&provider, "r", "k").await;
    clock.0.step_wall(step);
    provider.release();
    // Nothing was sent by it but the step before; it is made anew at once.
    client.generation("r", "k", 1).await;
    let paths = || -> Vec<_> {
        let requests = provider.requests();
        requests.into_iter().map(|request| request.path).collect()
    };
    assert_eq!(paths(), ["/step", "/step", "/token"]);
    let failed = "SELECT COUNT(*) FROM ts_renewal WHERE outcome = 'failed'";
    assert_eq!(database.number(failed).await, 0);
    // What was sent is a failure, whatever the clock says.
    client
        .register_realm("sent", &provider.url("/refused"))
        .await;
    provider.answer_next(Answer::status(500));
    client.held_attempt(&provider, "sent", "k").await;
    clock.0.step_wall(step);
    provider.release();
    eventually("it has failed", async || {
        (database.number(failed).await == 1).then_some(())
    })
    .await;
}

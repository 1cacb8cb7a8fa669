//! Instances that a platform freezes between two requests: what they remember is old when they go
//! on, and nothing was renewed by them meanwhile.

mod answers;
mod instance;

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::steady::SteadyClock;
use token_server::foundation::clock::{Clock, Deadline, EpochMs, ManualClock, Ms, SystemClock};
use token_server::renewal::{RunBy, RunScope};
use tokio_util::sync::CancellationToken;

use crate::kit::process::ServerProcess;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};
use instance::{Instance, close_connections, nobody_writes};

on_every_database! {
    the_first_reads_after_an_hour_get_the_tokens_that_are_good_now,
    the_first_reads_of_a_machine_that_was_paused_for_an_hour_get_the_tokens_that_are_good_now,
    a_process_that_was_stopped_serves_no_older_token_and_a_timer_has_all_renewed,
    a_run_begins_nothing_after_its_time_and_says_what_is_left,
    a_run_begins_nothing_that_could_outlast_its_call,
    a_frozen_instance_sweeps_nothing_and_is_ready_all_the_same,
    a_run_waits_for_no_longer_than_a_request_may_take,
    what_was_revoked_during_a_freeze_is_refused_after_it,
}

const FROZEN: (&str, &str) = ("TOKEN_SERVER__HTTP__FROZEN_BETWEEN_REQUESTS", "true");
/// A flush may come right after the token.
const AT_ONCE: (&str, &str) = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
const START: EpochMs = EpochMs(1_700_000_000_000);
const HOUR: Ms = Ms::from_secs(3600);
/// Those that come while it is frozen, for each secret.
const READERS: usize = 40;

/// What a frozen instance sees of the time that passes.
enum Freeze {
    /// The process was stopped: all clocks went on.
    OfProcess,
    /// Its machine was paused: the boot clock stood still, and the wall clock was set afterwards.
    OfMachine,
}

async fn the_first_reads_after_an_hour_get_the_tokens_that_are_good_now(database: TestDatabase) {
    first_reads(database, Freeze::OfProcess).await;
}

async fn the_first_reads_of_a_machine_that_was_paused_for_an_hour_get_the_tokens_that_are_good_now(
    database: TestDatabase,
) {
    first_reads(database, Freeze::OfMachine).await;
}

async fn another_replica(database: &TestDatabase, clock: Arc<ManualClock>) -> Server {
    let directory = database.directory.path().join("other");
    let directory = directory.display().to_string();
    let options = Options {
        clock: Some(clock),
        ..Options::default().with(&[("TOKEN_SERVER__DATA_DIR", &directory), AT_ONCE])
    };
    Server::start_with(database, options).await
}

/// Registers a secret whose first token lives so long; answers that.
async fn register(client: &Client, provider: &Provider, key: &str, lifetime_s: i64) -> Value {
    provider.answer_with(Answer::numbered_token(lifetime_s));
    client.save_secret("r", key).await;
    client.generation("r", key, 1).await;
    client.token("r", key).await.expect(200).json()["token"].clone()
}

async fn first_reads(database: TestDatabase, freeze: Freeze) {
    let database = Arc::new(database);
    let provider = Provider::start().await;
    let (clock, others_clock) = (
        Arc::new(ManualClock::at(START)),
        Arc::new(ManualClock::at(START)),
    );
    let own_clock = SteadyClock::new(clock.clone(), Ms::from_secs(2));
    let options = Options {
        clock: Some(Arc::new(own_clock.of_a_machine_that_may_be_paused())),
        ..Options::default().with(&[FROZEN])
    };
    let mut instance = Instance::start(&database, options).await;
    let other = another_replica(&database, others_clock.clone()).await;
    let client = instance.client();
    client.register_realm("r", &provider.url("/token")).await;
    // One is renewed by the other replica, although it is good for longer; the other one expires.
    let replaced = register(&client, &provider, "replaced", 7200).await;
    let expired = register(&client, &provider, "expired", 1800).await;
    for key in ["replaced", "expired"] {
        eventually("it is remembered", async || {
            let served = client.token("r", key).await.expect(200).json();
            (served["source"] == "cache").then_some(())
        })
        .await;
    }
    instance.freeze(&database).await;
    provider.answer_with(Answer::numbered_token(7200));
    let flush = json!({"realm": "r", "key": "replaced"});
    let flushed = other.client.post("/api/token/flush", &flush).await;
    assert_eq!(flushed.expect(200).json()["generation"], 2);
    // Nobody is left who would renew the other one.
    other.stop().await;
    close_connections(&database).await;
    match freeze {
        Freeze::OfProcess => clock.advance(HOUR),
        Freeze::OfMachine => clock.step_wall(HOUR),
    }
    let client = instance.client();
    let readers: Vec<_> = (0..2 * READERS)
        .map(|number| {
            let (client, key) = (client.clone(), ["replaced", "expired"][number % 2]);
            tokio::spawn(async move { client.token("r", key).await })
        })
        .collect();
    instance.thaw().await;
    for reader in readers {
        let served = reader.await.expect("the reader ends").expect(200).json();
        assert!(
            served["token"] != replaced && served["token"] != expired,
            "{served}"
        );
        assert!(served["generation"].as_i64() >= Some(2), "{served}");
        assert!(served["expires_in"].as_i64() > Some(0), "{served}");
    }
    // It looked once; now memory is good again.
    clock.advance(Ms(500));
    eventually("it is remembered again", async || {
        let served = client.token("r", "expired").await.expect(200).json();
        (served["source"] == "cache").then_some(())
    })
    .await;
    instance.stop().await;
}

async fn what_was_revoked_during_a_freeze_is_refused_after_it(database: TestDatabase) {
    let database = Arc::new(database);
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(START));
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default().with(&[FROZEN])
    };
    let mut instance = Instance::start(&database, options).await;
    let other = another_replica(&database, clock.clone()).await;
    let client = instance.client();
    client.register(&provider.url("/token")).await;
    let key = json!({"name": "app", "scopes": ["token:read"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    let made = &made["data"];
    let caller = client.with_key(made["key"].as_str().expect("a text"));
    caller.token("r", "k").await.expect(200);
    instance.freeze(&database).await;
    let id = made["id"].as_i64().expect("a number");
    let revoked = other.client.delete(&format!("/api/api-key/{id}")).await;
    revoked.expect(200);
    // Less than access.trust_s.
    clock.advance(Ms::from_secs(20));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.token("r", "k").await })
        })
        .collect();
    instance.thaw().await;
    for reader in readers {
        let refused = reader.await.expect("the reader ends");
        refused.expect_problem(401, "unauthorized");
    }
    other.stop().await;
    instance.stop().await;
}

/// Of tokens that expire while a test waits for it.
const SHORT_S: i64 = 4;

async fn a_process_that_was_stopped_serves_no_older_token_and_a_timer_has_all_renewed(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let data_dir = |name: &str| {
        let directory = database.directory.path().join(name).display().to_string();
        ("TOKEN_SERVER__DATA_DIR", directory)
    };
    let frozen = (FROZEN.0, FROZEN.1.to_owned());
    let instance = ServerProcess::start(&database, &[data_dir("instance"), frozen]);
    let at_once = (AT_ONCE.0, AT_ONCE.1.to_owned());
    let other = ServerProcess::start(&database, &[data_dir("other"), at_once]);
    let client = &instance.client;
    client.register_realm("r", &provider.url("/token")).await;
    register(client, &provider, "replaced", 7200).await;
    register(client, &provider, "expired", SHORT_S).await;
    stop_in_peace(&instance, &database).await;
    let flush = json!({"realm": "r", "key": "replaced"});
    let flushed = other.client.post("/api/token/flush", &flush).await;
    let flushed = flushed.expect(200).json();
    assert_eq!(flushed["generation"], 2);
    let newest = flushed["token"].clone();
    other.kill();
    until_expired(&database).await;
    let given = provider.request_count();
    let new = Client::new(format!("http://{}", instance.address));
    let readers: Vec<_> = (0..2 * READERS)
        .map(|number| {
            let (client, key) = (new.clone(), ["replaced", "expired"][number % 2]);
            tokio::spawn(async move { (key, client.token("r", key).await) })
        })
        .collect();
    instance.go_on();
    for reader in readers {
        let (key, reply) = reader.await.expect("the reader ends");
        let served = reply.expect(200).json();
        assert!(served["expires_in"].as_i64() > Some(0), "{served}");
        match key {
            // The stored one, or another where that has expired, too; never the one before.
            "replaced" => assert!(
                number_of(&served["token"]) >= number_of(&newest),
                "{served}"
            ),
            _ => assert!(number_of(&served["token"]) > given, "{served}"),
        }
    }
    // The timer comes when nobody reads.
    stop_in_peace(&instance, &database).await;
    until_expired(&database).await;
    provider.answer_with(Answer::numbered_token(3600));
    instance.go_on();
    let run = new.post("/api/renewal/run?timeout_s=20", &json!({})).await;
    let run = run.expect(200).json()["data"].take();
    assert_eq!((&run["left"], &run["failed"]), (&json!(0), &json!(0)));
    // Whoever renewed it, the run or the sweep beside it: it is done when that answers.
    assert!(expiry_of_the_short_one(&database).await > SystemClock.now());
    instance.kill();
}

/// Of a provider's numbered token.
fn number_of(token: &Value) -> usize {
    let number = token
        .as_str()
        .and_then(|token| token.strip_prefix("token-"));
    number
        .and_then(|number| number.parse().ok())
        .expect("a numbered token")
}

async fn expiry_of_the_short_one(database: &TestDatabase) -> EpochMs {
    let query = "SELECT expires_at FROM ts_token WHERE key_name = 'expired'";
    EpochMs(database.number(query).await)
}

/// Waits until its token has expired, which nobody renews.
async fn until_expired(database: &TestDatabase) {
    eventually("the token has expired", async || {
        (expiry_of_the_short_one(database).await < SystemClock.now()).then_some(())
    })
    .await;
}

/// Stops it where it has no transaction open: those of a process that stands still lock others
/// out, and a platform freezes who has answered.
async fn stop_in_peace(instance: &ServerProcess, database: &TestDatabase) {
    eventually("it stands still outside of a transaction", async || {
        instance.stand_still();
        if nobody_writes(database).await {
            return Some(());
        }
        instance.go_on();
        None
    })
    .await;
}

async fn a_run_begins_nothing_after_its_time_and_says_what_is_left(database: TestDatabase) {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(START));
    let one_at_once = ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "1");
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::patient().with(&[one_at_once])
    };
    let server = Server::start_with(&database, options.clone()).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    for key in ["a", "b", "c"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    server.stop().await;
    // Nothing sweeps beside it.
    let app = Server::opened(&database, options).await;
    clock.advance(Ms::from_secs(7200));
    provider.hold();
    let time_is_up = CancellationToken::new();
    let ends = Deadline::after(clock.machine(), Ms::from_secs(86_400));
    let run = tokio::spawn({
        let renewals = app.renewals.clone();
        let scope = RunScope {
            by: RunBy::TimedCall { ends },
            stop: time_is_up.clone(),
            ..RunScope::default()
        };
        async move { renewals.run(&scope, &()).await }
    });
    provider.wait_for_requests(4).await;
    time_is_up.cancel();
    provider.release();
    let summary = run.await.expect("it ends").expect("the database answers");
    assert_eq!((summary.renewed, summary.left), (1, 2));
    assert_eq!(provider.request_count(), 4);
    let rest = app.renewals.run(&RunScope::default(), &()).await;
    assert_eq!(rest.expect("the database answers").renewed, 2);
    app.close().await;
}

async fn a_run_begins_nothing_that_could_outlast_its_call(database: TestDatabase) {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(START));
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let server = Server::start_with(&database, options.clone()).await;
    server.client.register(&provider.url("/token")).await;
    server.stop().await;
    let app = Server::opened(&database, options).await;
    clock.advance(Ms::from_secs(7200));
    let run = async |left: Ms| {
        let ends = Deadline::after(clock.machine(), left);
        let scope = RunScope {
            by: RunBy::TimedCall { ends },
            ..RunScope::default()
        };
        let run = app.renewals.run(&scope, &()).await;
        let run = run.expect("the database answers");
        (run.renewed, run.left)
    };
    // upstream.timeout_s and five seconds to store what comes.
    assert_eq!(run(Ms(14_999)).await, (0, 1));
    assert_eq!(provider.request_count(), 1);
    assert_eq!(run(Ms(15_000)).await, (1, 0));
    app.close().await;
}

async fn a_frozen_instance_sweeps_nothing_and_is_ready_all_the_same(database: TestDatabase) {
    let provider = Provider::start().await;
    let options = Options::default().with(&[FROZEN]);
    let (server, clock) = Server::on_manual_clock_with(&database, options).await;
    let client = &server.client;
    let jobs: Vec<_> = server.jobs().into_iter().map(|(job, _)| job).collect();
    assert!(
        !jobs.contains(&"sweep") && jobs.contains(&"follow"),
        "{jobs:?}"
    );
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    // It is obtained by whoever asks for it.
    let served = client.token("r", "k").await.expect(200).json();
    assert_eq!(served["generation"], 1);
    clock.advance(Ms::from_secs(7000));
    client.get("/readyz").await.expect(200);
    let metrics = client.get("/metrics").await.expect(200).text;
    assert!(!metrics.contains("last_sweep_timestamp"), "{metrics}");
    let run = client.post("/api/renewal/run", &json!({})).await;
    assert_eq!(run.expect(200).json()["data"]["renewed"], 1);
    assert_eq!(provider.request_count(), 2);
    server.stop().await;
}

async fn a_run_waits_for_no_longer_than_a_request_may_take(database: TestDatabase) {
    let limit = ("TOKEN_SERVER__HTTP__REQUEST_TIMEOUT_S", "30");
    let server = Server::with_env(&database, &[limit]).await;
    let run = async |timeout_s: i64| {
        let path = format!("/api/renewal/run?timeout_s={timeout_s}");
        server.client.post(&path, &json!({})).await
    };
    run(30).await.expect(200);
    let refused = run(31).await;
    let problem = refused.expect_problem(400, "invalid_parameter");
    let told = problem.to_string();
    assert!(told.contains("http.request_timeout_s"), "{told}");
    server.stop().await;
}

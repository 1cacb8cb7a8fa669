//! Two jobs at once do no harm, also where one of them is killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use rustix::process::Signal;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use token_server::foundation::clock::{Clock, ManualClock, SystemClock, Timeline};

use super::process::Job;
use crate::cli::{LONG_AGO, summary};
use crate::kit::server::Options;
use crate::kit::{self, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    two_jobs_at_once_renew_each_token_once,
    many_due_tokens_survive_the_kill_of_one_of_two_jobs_at_half,
}

/// On a busy machine a connection takes its time.
const PATIENT: (&str, &str) = ("TOKEN_SERVER__DATABASE__ACQUIRE_TIMEOUT_MS", "60000");

/// Registers so many secrets, all of which are due now; the provider is told which it is asked for.
async fn register_due(database: &TestDatabase, provider: &Provider, count: usize) {
    let clock = Arc::new(ManualClock::at(SystemClock.now().minus(LONG_AGO)));
    let options = Options {
        clock: Some(clock),
        ..Options::default().with(&[PATIENT])
    };
    let server = Server::start_with(database, options).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    let saved = stream::iter(0..count).map(async |number| {
        let key = format!("k{number}");
        let secret = json!({"realm": "r", "key": key, "key_1": key, "key_2": "the-secret"});
        client.post("/api/secret", &secret).await.expect(200);
    });
    saved.buffer_unordered(8).collect::<()>().await;
    server.settled().await;
    server.stop().await;
    let due = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NULL AND renew_at <= ";
    let due = format!("{due}{}", SystemClock.now().0);
    assert_eq!(database.number(&due).await, count as i64);
}

/// How often the provider was asked for each secret, after so many requests.
fn asked_for(provider: &Provider, before: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in provider.requests().split_off(before) {
        let app = request.query.into_iter().find(|(name, _)| name == "appid");
        *counts.entry(app.expect("its parameter").1).or_default() += 1;
    }
    counts
}

async fn stored_by(database: &TestDatabase, replica: &str) -> i64 {
    let stored = "SELECT COUNT(*) FROM ts_renewal WHERE outcome = 'stored' AND replica = ";
    database.number(&format!("{stored}'{replica}'")).await
}

/// Enough at once that two jobs share the work.
const FAST: [(&str, &str); 4] = [
    PATIENT,
    ("TOKEN_SERVER__RENEWAL__CONCURRENCY", "20"),
    ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "20"),
    ("TOKEN_SERVER__RENEWAL__REALM_RATE", "100000"),
];

/// How long a provider is waited for; what a killed job leaves is leased for as long.
fn waiting_for(seconds: &'static str) -> Vec<(&'static str, &'static str)> {
    [&FAST[..], &[("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", seconds)]].concat()
}

async fn two_jobs_at_once_renew_each_token_once(database: TestDatabase) {
    let provider = Provider::start().await;
    register_due(&database, &provider, 100).await;
    let before = provider.request_count();
    // Both are at it before any is answered.
    provider.hold();
    let env = waiting_for("600");
    let jobs = [0; 2].map(|_| Job::start(&database, &env, &[]));
    provider.wait_for_requests(before + 40).await;
    provider.release();
    let mut renewed = 0;
    for job in jobs {
        let (ended, replica) = job.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stdout);
        let told = summary(&ended)["renewed"].as_i64().expect("a number");
        assert!(told > 0, "it had none of the work");
        assert_eq!(told, stored_by(&database, &replica).await);
        renewed += told;
    }
    assert_eq!(renewed, 100);
    let asked = asked_for(&provider, before);
    assert_eq!(asked.len(), 100);
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
}

/// The secrets that a process holds.
async fn held_by(database: &TestDatabase, replica: &str) -> Vec<String> {
    let held = "SELECT key_name FROM ts_token WHERE lease_owner = ";
    names(database, &format!("{held}'{replica}'")).await
}

async fn names(database: &TestDatabase, sql: &str) -> Vec<String> {
    let connection = database.connect().await;
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await;
    let rows = rows.expect("the query is good");
    let names = rows.iter().map(|row| row.try_get_by_index(0));
    names.collect::<Result<_, _>>().expect("names")
}

async fn many_due_tokens_survive_the_kill_of_one_of_two_jobs_at_half(database: TestDatabase) {
    let tokens = kit::rows(2000, 1000);
    let provider = Provider::start().await;
    register_due(&database, &provider, tokens).await;
    let before = provider.request_count();
    let (killed, other) = (
        Job::start(&database, &waiting_for("20"), &[]),
        Job::start(&database, &waiting_for("600"), &[]),
    );
    for part in 1..=10 {
        provider
            .wait_for_requests(before + part * tokens / 20)
            .await;
    }
    // Then each has as many under way as it may.
    let asked = provider.hold() + 40;
    assert!(
        asked - before < tokens * 3 / 4,
        "asked {asked} times already"
    );
    provider.wait_for_requests(asked).await;
    let replica = killed.replica();
    // The other takes nothing over before it is known what was cut off.
    other.signal(Signal::STOP);
    killed.signal(Signal::KILL);
    let (ended, _) = killed.end().await;
    assert_eq!((ended.code, &*ended.stdout), (None, ""));
    let cut_off = held_by(&database, &replica).await;
    assert!(!cut_off.is_empty(), "nothing was cut off");
    other.signal(Signal::CONT);
    provider.release();
    let (ended, other) = other.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let told = summary(&ended);
    // Of whatever was stored, each by one of them.
    let (by_killed, by_other) = (
        stored_by(&database, &replica).await,
        stored_by(&database, &other).await,
    );
    assert!(by_killed > 0, "the killed one had none of the work");
    assert_eq!(by_killed + by_other, tokens as i64);
    assert_eq!(told["renewed"], by_other, "{told}");
    for none in ["failed", "discarded", "waiting", "left", "needs_attention"] {
        assert_eq!(told[none], 0, "{told}");
    }
    let asked = asked_for(&provider, before);
    assert_eq!(asked.len(), tokens);
    // On a busy machine the killed one gave up some that were held, before it was killed.
    let given_up = "SELECT key_name FROM ts_renewal WHERE outcome = 'failed' AND replica = ";
    let given_up = names(&database, &format!("{given_up}'{replica}'")).await;
    let twice = asked.iter().filter(|(_, count)| **count != 1);
    for (key, count) in twice {
        let may_be = cut_off.contains(key) || given_up.contains(key);
        assert!(*count == 2 && may_be, "{key}: {count} times");
    }
    let due = format!(
        "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL OR renew_at <= {}",
        SystemClock.now().0
    );
    assert_eq!(database.number(&due).await, 0);
}

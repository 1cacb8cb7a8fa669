//! `token-server renew` as a scheduled job: what a run tells, and that it ends in time.

mod locked;
mod process;
mod progress;
mod two_at_once;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms, SystemClock, Timeline};

use crate::cli::{LONG_AGO, end, obtain, run, summary};
use crate::kit::process::command;
use crate::kit::promtool::PATHS;
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::source::root;
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};
use process::Job;

on_every_database! {
    a_secret_that_needs_attention_is_named_by_each_run_until_it_is_mended,
    what_lacks_its_sealing_key_is_named_with_the_id_of_the_key,
    a_realm_that_lacks_its_sealing_key_leaves_what_is_due_and_the_key_is_named,
    within_renews_what_is_due_before_the_next_run_and_no_token_twice,
    within_leaves_a_secret_that_backs_off_its_date,
    a_realm_that_is_limited_leaves_what_is_due_and_says_until_when,
    a_job_whose_time_is_up_names_what_is_left_and_holds_no_lease,
    a_job_that_is_told_to_end_finishes_what_it_has_begun_and_names_the_rest,
    what_a_server_attempted_first_and_in_vain_is_counted_and_named,
}

fn named<'a>(told: &'a Value, list: &str) -> Vec<(&'a str, &'a str)> {
    let list = told[list].as_array().expect("a list");
    let text = |value: &'a Value| value.as_str().expect("a name");
    let names = list
        .iter()
        .map(|one| (text(&one["realm"]), text(&one["key"])));
    names.collect()
}

fn refused() -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client"}))
}

async fn a_secret_that_needs_attention_is_named_by_each_run_until_it_is_mended(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    provider.answer_with(refused());
    let ended = run(&database, "renew --realm b").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!(
        (&told["failed"], &told["needs_attention"]),
        (&json!(1), &json!(1))
    );
    // It backs off: nothing is due, and a human is needed all the same.
    let asked = provider.request_count();
    let ended = run(&database, "renew --realm b").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let told = summary(&ended);
    assert_eq!(
        (&told["failed"], &told["needs_attention"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(named(&told, "needs_attention_secrets"), [("b", "1")]);
    let why = told["needs_attention_secrets"][0]["detail"].as_str();
    assert!(why.expect("a text").contains("invalid_client"), "{told}");
    assert_eq!(provider.request_count(), asked);
    // Another realm's run is not about it.
    provider.answer_with(Answer::default());
    let ended = run(&database, "renew --realm a").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    let ended = run(&database, "renew --realm b --all").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
}

/// A server of long ago, which seals with a key that jobs lack.
async fn with_a_key_of_its_own(database: &TestDatabase) -> Server {
    let clock = Arc::new(ManualClock::at(SystemClock.now().minus(LONG_AGO)));
    let keys = format!(
        "lost:{},{SEALING_KEYS}",
        &SEALING_KEYS[5..].replace("AQE", "AgI")
    );
    let options = Options {
        clock: Some(clock),
        ..Options::default().with(&[("TOKEN_SERVER__SEALING__KEYS", &keys)])
    };
    Server::start_with(database, options).await
}

async fn what_lacks_its_sealing_key_is_named_with_the_id_of_the_key(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let server = with_a_key_of_its_own(&database).await;
    server.client.save_secret("b", "2").await;
    server.client.generation("b", "2", 1).await;
    server.stop().await;
    let ended = run(&database, "renew").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["failed"]), (&json!(3), &json!(1)));
    assert_eq!(named(&told, "failures"), [("b", "2")]);
    let detail = told["failures"][0]["detail"].as_str().expect("a text");
    assert!(detail.contains("key id \"lost\""), "{detail}");
}

async fn a_realm_that_lacks_its_sealing_key_leaves_what_is_due_and_the_key_is_named(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let server = with_a_key_of_its_own(&database).await;
    let client = &server.client;
    client.register_realm("c", &provider.url("/c")).await;
    client.save_secret("c", "1").await;
    client.generation("c", "1", 1).await;
    server.stop().await;
    let ended = run(&database, "renew").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["left"]), (&json!(3), &json!(1)));
    assert_eq!(named(&told, "left_secrets"), [("c", "1")]);
    let why = told["left_secrets"][0]["why"].as_str().expect("a text");
    assert!(why.contains("key id \"lost\""), "{why}");
}

async fn within_renews_what_is_due_before_the_next_run_and_no_token_twice(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, Ms::ZERO).await;
    // They live two hours.
    for (arguments, renewed) in [("renew --within 1m", 0), ("renew --within 3h --realm a", 2)] {
        let ended = run(&database, arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
        assert_eq!(summary(&ended)["renewed"], renewed, "{arguments}");
    }
    assert_eq!(provider.request_count(), 3 + 2);
    let ended = run(&database, "renew --within 30").await;
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    assert!(ended.stderr.contains("30m"), "{}", ended.stderr);
}

async fn within_leaves_a_secret_that_backs_off_its_date(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    provider.answer_with(Answer::status(503));
    assert_eq!(run(&database, "renew").await.code, Some(1));
    let asked = provider.request_count();
    let ended = run(&database, "renew --within 3h").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(provider.request_count(), asked);
}

async fn a_realm_that_is_limited_leaves_what_is_due_and_says_until_when(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    provider.answer_with(Answer::status(429).with_header("retry-after", "3600"));
    let one = ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "1".to_owned());
    let ended = end(command(&database, &[one]).args(["renew", "--realm", "a"])).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!((&told["failed"], &told["left"]), (&json!(1), &json!(1)));
    let why = told["left_secrets"][0]["why"].as_str().expect("a text");
    assert!(
        why.starts_with("the provider limits the realm until 20"),
        "{why}"
    );
}

const HELD: &str = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";

async fn a_job_whose_time_is_up_names_what_is_left_and_holds_no_lease(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let asked = provider.request_count();
    let ended = run(&database, "renew --timeout 1ms").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["left"]), (&json!(0), &json!(3)));
    let left = named(&told, "left_secrets");
    assert_eq!(left, [("a", "1"), ("a", "2"), ("b", "1")]);
    assert_eq!(
        told["left_secrets"][0]["why"],
        "the run was ended before its turn"
    );
    assert_eq!(provider.request_count(), asked);
    assert_eq!(database.number(HELD).await, 0);
}

async fn a_job_that_is_told_to_end_finishes_what_it_has_begun_and_names_the_rest(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let asked = provider.request_count();
    provider.hold();
    let one = ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "1");
    let job = Job::start(&database, &[one], &[]);
    // One of each realm.
    provider.wait_for_requests(asked + 2).await;
    job.signal(Signal::TERM);
    provider.release();
    let (ended, _) = job.end().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["left"]), (&json!(2), &json!(1)));
    assert_eq!(named(&told, "left_secrets")[0].0, "a");
    assert_eq!(provider.request_count(), asked + 2);
    assert_eq!(database.number(HELD).await, 0);
}

async fn what_a_server_attempted_first_and_in_vain_is_counted_and_named(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let asked = provider.request_count();
    provider.answer_with(refused());
    provider.hold();
    let one = ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "1");
    let server = Server::with_env(&database, &[one]).await;
    // One of each realm by the server, and the other one by the job.
    provider.wait_for_requests(asked + 2).await;
    let job = Job::start(&database, &[], &[]);
    provider.wait_for_requests(asked + 3).await;
    provider.release();
    let (ended, _) = job.end().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["failed"]), (&json!(0), &json!(3)));
    let mut failures = named(&told, "failures");
    failures.sort_unstable();
    assert_eq!(failures, [("a", "1"), ("a", "2"), ("b", "1")]);
    server.stop().await;
}

#[tokio::test]
async fn a_metrics_file_is_what_prometheus_reads_and_is_replaced_as_a_whole() {
    let database = TestDatabase::sqlite();
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let path = folder.path().join("token-server.prom");
    std::fs::write(&path, "of an earlier run").expect("it is writable");
    let nowhere = folder.path().join("missing/file.prom");
    let asked = provider.request_count();
    let renew = |path: &Path| {
        let mut renew = command(&database, &[]);
        renew.arg("renew").arg("--metrics-file").arg(path);
        renew
    };
    let ended = end(&mut renew(&nowhere)).await;
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(2), ""),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("--metrics-file"), "{}", ended.stderr);
    assert_eq!(provider.request_count(), asked, "nothing was renewed");
    provider.answer_next(refused());
    let ended = end(&mut renew(&path)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let files = std::fs::read_dir(folder.path()).expect("it can be listed");
    assert_eq!(files.count(), 1, "something else is left");
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let text = std::fs::read_to_string(&path).expect("it is text");
    for line in [
        "token_server_renew_renewed 2",
        "token_server_renew_failed 1",
        "token_server_renew_discarded 0",
        "token_server_renew_waiting 0",
        "token_server_renew_left 0",
        "token_server_renew_needs_attention 1",
        "token_server_renew_exit_code 1",
        "# TYPE token_server_renew_duration_seconds gauge",
        "# TYPE token_server_renew_end_timestamp_seconds gauge",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    let page = crate::kit::source::read(&root().join("docs/src/how-to/scheduled-job.md"));
    for written in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = written.split_once(' ').expect("a name and a value");
        assert!(page.contains(&format!("`{name}`")), "{name} is documented");
    }
    let documented = page.split("`token_server_renew_").skip(1);
    for rest in documented {
        let (name, _) = rest.split_once('`').expect("a name in backticks");
        let line = format!("\ntoken_server_renew_{name} ");
        assert!(text.contains(&line), "{name} is written: {text}");
    }
    let checked = Command::new("promtool")
        .env("PATH", PATHS)
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&path).expect("it is there"))
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[tokio::test]
async fn the_help_of_renew_says_what_its_exit_codes_mean() {
    let ended = run(&TestDatabase::sqlite(), "renew --help").await;
    assert_eq!(ended.code, Some(0));
    for line in [
        "   0  All that was due",
        "   1  A renewal failed",
        "   2  It could not run",
    ] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }
}

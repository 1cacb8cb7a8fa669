//! `token-server renew` as a scheduled job: it tells the truth, ends in time, and two at once do
//! no harm.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use token_server::foundation::clock::{Clock, ManualClock, Ms, SystemClock, Timeline};

use crate::cli::{Ended, LONG_AGO, end, obtain, run, summary};
use crate::kit::process::command;
use crate::kit::promtool::PATHS;
use crate::kit::server::{Options, SEALING_KEYS};
use crate::kit::source::root;
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_secret_that_needs_attention_is_named_by_each_run_until_it_is_mended,
    what_lacks_its_sealing_key_is_named_with_the_id_of_the_key,
    a_realm_that_lacks_its_sealing_key_leaves_what_is_due_and_the_key_is_named,
    within_renews_what_is_due_before_the_next_run_and_no_token_twice,
    within_leaves_a_secret_that_backs_off_its_date,
    a_realm_that_is_limited_leaves_what_is_due_and_says_until_when,
    a_job_whose_time_is_up_names_what_is_left_and_holds_no_lease,
    a_job_that_is_told_to_end_finishes_what_it_has_begun_and_names_the_rest,
    two_jobs_at_once_renew_each_token_once,
    two_thousand_due_tokens_survive_the_kill_of_one_of_two_jobs_at_half,
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

/// A job in a process of its own, as in a container of its own.
struct Job {
    child: Child,
    data_dir: TempDir,
}

impl Job {
    fn start(database: &TestDatabase, env: &[(&'static str, &str)], arguments: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut env: Vec<_> = env
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let path = data_dir.path().display().to_string();
        env.push(("TOKEN_SERVER__DATA_DIR", path));
        let child = command(database, &env)
            .arg("renew")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self { child, data_dir }
    }

    fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.expect("the process can be signalled");
    }

    /// As it names itself in leases and in the history.
    fn replica(&self) -> String {
        let file = std::fs::read_to_string(self.data_dir.path().join("replica.id"));
        file.expect("its name").trim().to_owned()
    }

    /// However long it takes.
    async fn end(self) -> (Ended, String) {
        let replica = self.replica();
        let Self { child, data_dir } = self;
        let output = tokio::task::spawn_blocking(|| child.wait_with_output());
        let output = output
            .await
            .expect("no panic")
            .expect("it can be waited for");
        drop(data_dir);
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::new(),
        };
        (ended, replica)
    }
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

/// A busy machine fails no write.
const PATIENT: [(&str, &str); 2] = [
    ("TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS", "60000"),
    ("TOKEN_SERVER__DATABASE__ACQUIRE_TIMEOUT_MS", "60000"),
];

/// Registers so many secrets, all of which are due now; the provider is told which it is asked for.
async fn register_due(database: &TestDatabase, provider: &Provider, count: usize) {
    let clock = Arc::new(ManualClock::at(SystemClock.now().minus(LONG_AGO)));
    let options = Options {
        clock: Some(clock),
        ..Options::default().with(&PATIENT)
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
const FAST: [(&str, &str); 5] = [
    PATIENT[0],
    PATIENT[1],
    ("TOKEN_SERVER__RENEWAL__CONCURRENCY", "20"),
    ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "20"),
    ("TOKEN_SERVER__RENEWAL__REALM_RATE", "100000"),
];

async fn two_jobs_at_once_renew_each_token_once(database: TestDatabase) {
    let provider = Provider::start().await;
    register_due(&database, &provider, 100).await;
    let before = provider.request_count();
    // Both are at it before any is answered.
    provider.hold();
    // However long that takes.
    let env = [&FAST[..], &[("TOKEN_SERVER__UPSTREAM__TIMEOUT_S", "600")]].concat();
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
    let connection = database.connect().await;
    let sql = format!("SELECT key_name FROM ts_token WHERE lease_owner = '{replica}'");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await;
    let rows = rows.expect("the query is good");
    let names = rows.iter().map(|row| row.try_get_by_index(0));
    names.collect::<Result<_, _>>().expect("names")
}

async fn two_thousand_due_tokens_survive_the_kill_of_one_of_two_jobs_at_half(
    database: TestDatabase,
) {
    const TOKENS: usize = 2000;
    let provider = Provider::start().await;
    register_due(&database, &provider, TOKENS).await;
    let before = provider.request_count();
    let (killed, other) = (
        Job::start(&database, &FAST, &[]),
        Job::start(&database, &FAST, &[]),
    );
    for part in 1..=10 {
        provider
            .wait_for_requests(before + part * TOKENS / 20)
            .await;
    }
    // Then each has as many under way as it may.
    provider.hold();
    let mut asked = provider.request_count();
    provider.wait_for_requests(asked + 40).await;
    asked = provider.request_count() - before;
    assert!(asked < TOKENS * 3 / 4, "{asked} were asked for already");
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
    assert_eq!(by_killed + by_other, TOKENS as i64);
    assert_eq!(told["renewed"], by_other, "{told}");
    for none in ["failed", "discarded", "waiting", "left", "needs_attention"] {
        assert_eq!(told[none], 0, "{told}");
    }
    let asked = asked_for(&provider, before);
    assert_eq!(asked.len(), TOKENS);
    let twice = asked.iter().filter(|(_, count)| **count != 1);
    for (key, count) in twice {
        assert!(*count == 2 && cut_off.contains(key), "{key}: {count} times");
    }
    let due = format!(
        "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL OR renew_at <= {}",
        SystemClock.now().0
    );
    assert_eq!(database.number(&due).await, 0);
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

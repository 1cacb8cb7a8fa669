//! What is logged: one line an event, no key twice, realm, key and caller where they are known,
//! and nothing that a provider or a caller says ends a line.

mod terminal;

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::kit::process::{ServerProcess, command, serve};
use crate::kit::server::{ADMIN_KEY, Client};
use crate::kit::{
    Answer, PATIENCE, Provider, TestDatabase, eventually, on_every_database, strict_json,
};

on_every_database! {
    every_line_is_json_without_a_key_twice_and_without_a_debug_form,
    each_renewal_is_one_event_with_these_names,
    lines_name_the_caller_and_the_secret_that_they_are_about,
    a_server_says_at_its_start_what_it_runs_with,
    nothing_that_is_said_elsewhere_ends_a_line_or_moves_a_cursor,
}

/// What a provider may say to spoil a log.
const NASTY: &str = "one\ntwo\r\u{1b}[2J\u{9b}31m\u{2028}\u{202e}\u{85} realm=other \"quoted\" \\";

/// Reads what a server has logged since, until a line is there.
async fn until(server: &ServerProcess, log: &mut Vec<Value>, what: impl Fn(&Value) -> bool) {
    eventually("a line of the log", async || {
        let read = server.logged();
        log.extend(read.iter().map(|line| strict_json::read(line)));
        log.iter().any(&what).then_some(())
    })
    .await;
}

fn says(line: &Value, message: &str) -> bool {
    line["message"].as_str() == Some(message)
}

fn with(log: &[Value], message: &str) -> Vec<Value> {
    let lines = log.iter().filter(|line| says(line, message));
    lines.cloned().collect()
}

fn names(line: &Value) -> BTreeSet<&str> {
    let fields = line.as_object().expect("an object");
    fields.keys().map(String::as_str).collect()
}

fn refusal(why: &str) -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client", "error_description": why}))
}

async fn reader_of(client: &Client, name: &str) -> Client {
    let new = json!({
        "name": name, "scopes": ["token:read", "token:flush"], "realms": ["r"], "keys": ["k"],
    });
    let made = client.post("/api/api-key", &new).await.expect(200).json();
    client.with_key(made["data"]["key"].as_str().expect("a key"))
}

/// Another parameter has the token renewed.
async fn make_due(client: &Client) {
    let secret = json!({"realm": "r", "key": "k", "key_2": "another-secret"});
    client.post("/api/secret", &secret).await.expect(200);
}

/// Has the server do all that it logs something of.
async fn do_much(server: &ServerProcess, provider: &Provider, log: &mut Vec<Value>) {
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let reader = reader_of(client, "the shop").await;
    reader.token("r", "k").await.expect(200);
    // Denied: without a key, and for what the key does not cover.
    client.without_key().token("r", "k").await.expect(401);
    reader.token("r", "other").await.expect(403);
    client.token("r", "nobody").await.expect(400);
    client.get("/api/token?realm=r").await.expect(400);
    // Renewed and reported, without a code and with one.
    let secret = json!({"realm": "r", "key": "k"});
    reader.post("/api/token/flush", &secret).await.expect(200);
    for code in [Value::Null, json!(NASTY)] {
        let generation = client.secret("r", "k").await["generation"].clone();
        let report = json!({"realm": "r", "key": "k", "generation": generation, "code": code});
        reader.post("/api/token/report", &report).await.expect(200);
    }
    // Refused, which the webhook is told, and does not take.
    provider.answer_with(refusal(NASTY));
    make_due(client).await;
    until(server, log, |line| says(line, "not renewed")).await;
    until(server, log, |line| {
        says(line, "the webhook did not take an event")
    })
    .await;
    client
        .post("/api/renewal/run", &json!({}))
        .await
        .expect(200);
    client
        .post("/api/realm", &json!({"id": 5}))
        .await
        .expect(422);
    provider.answer_with(Answer::numbered_token(7200));
    client.delete("/api/secret/r/k").await.expect(200);
}

fn options(receiver: &Provider) -> Vec<(&'static str, String)> {
    vec![
        ("TOKEN_SERVER__LOG__FILTER", "debug".to_owned()),
        (
            "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
            "0".to_owned(),
        ),
        ("TOKEN_SERVER__WEBHOOK__URL", receiver.url("/hook")),
        (
            "TOKEN_SERVER__WEBHOOK__SECRET",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned(),
        ),
        ("TOKEN_SERVER__WEBHOOK__FAILING_AFTER", "1".to_owned()),
    ]
}

/// `None`, `Some("x")`, `Ms(5)`, `Struct { … }`, a text in quotes: what Rust writes for itself.
fn is_debug_form(text: &str) -> bool {
    let word: String = text
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let rest = &text[word.len()..];
    let is_type = word.starts_with(char::is_uppercase);
    text == "None"
        || is_type && (rest.starts_with('(') && rest.ends_with(')') || rest.starts_with(" {"))
        || text.starts_with('"')
}

async fn every_line_is_json_without_a_key_twice_and_without_a_debug_form(database: TestDatabase) {
    let (provider, receiver) = (Provider::start().await, Provider::start().await);
    receiver.answer_with(Answer::status(500));
    let server = ServerProcess::start(&database, &options(&receiver));
    let mut log = Vec::new();
    do_much(&server, &provider, &mut log).await;
    server.terminate();
    until(&server, &mut log, |line| {
        says(line, "stopping; what is in flight is stored first")
    })
    .await;
    let seen: BTreeSet<_> = log
        .iter()
        .filter_map(|line| line["message"].as_str())
        .collect();
    for message in [
        "renewed",
        "not renewed",
        "a caller reported a token as refused",
        "a call is denied",
        "the webhook did not take an event",
    ] {
        assert!(seen.contains(message), "never said: {message}: {seen:?}");
    }
    let own = log.iter().filter(|line| {
        let target = line["target"].as_str();
        target.is_some_and(|target| target.starts_with("token_server"))
    });
    for line in own {
        for (name, value) in line.as_object().expect("an object") {
            let debug = value.as_str().is_some_and(is_debug_form);
            assert!(!debug, "{name} is in Rust's form: {line}");
        }
    }
}

async fn each_renewal_is_one_event_with_these_names(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = ServerProcess::start(&database, &[]);
    server.client.register(&provider.url("/token")).await;
    let mut log = Vec::new();
    until(&server, &mut log, |line| says(line, "renewed")).await;
    provider.answer_with(refusal("no such app"));
    make_due(&server.client).await;
    until(&server, &mut log, |line| says(line, "not renewed")).await;
    let [renewed] = &with(&log, "renewed")[..] else {
        panic!("not one renewal: {log:?}");
    };
    let always = [
        "timestamp",
        "level",
        "event",
        "message",
        "target",
        "realm",
        "key",
        "attempt",
        "cause",
        "outcome",
        "duration_ms",
    ];
    let expected: BTreeSet<_> = always.into_iter().chain(["generation"]).collect();
    assert_eq!(names(renewed), expected);
    for (name, value) in [
        ("level", json!("INFO")),
        ("event", json!("renewal.stored")),
        ("realm", json!("r")),
        ("key", json!("k")),
        ("cause", json!("scheduled")),
        ("outcome", json!("stored")),
        ("generation", json!(1)),
    ] {
        assert_eq!(renewed[name], value, "{renewed}");
    }
    let failed = &with(&log, "not renewed")[0];
    let of_failures = ["class", "detail", "failures", "next_attempt"];
    let expected: BTreeSet<_> = always.into_iter().chain(of_failures).collect();
    assert_eq!(names(failed), expected);
    assert_eq!(failed["event"], "renewal.failed");
    assert_eq!(failed["outcome"], "failed");
    assert_eq!(failed["class"], "permanent");
    assert_eq!(
        failed["detail"],
        "the provider answered 401, code invalid_client: no such app"
    );
    assert!(failed["duration_ms"].is_i64() && failed["failures"] == 1);
}

async fn lines_name_the_caller_and_the_secret_that_they_are_about(database: TestDatabase) {
    let (provider, receiver) = (Provider::start().await, Provider::start().await);
    receiver.answer_with(Answer::status(500));
    let server = ServerProcess::start(&database, &options(&receiver));
    let mut log = Vec::new();
    do_much(&server, &provider, &mut log).await;
    until(&server, &mut log, |line| says(line, "not renewed")).await;
    // A flush is a request, and an attempt within it.
    let flushed = with(&log, "renewed");
    let flushed = flushed.iter().find(|line| line["cause"] == "flush");
    let flushed = flushed.expect("a flush renewed the token");
    for (name, value) in [
        ("realm", "r"),
        ("key", "k"),
        ("caller", "the shop"),
        ("method", "POST"),
        ("route", "/api/token/flush"),
    ] {
        assert_eq!(flushed[name], value, "{flushed}");
    }
    assert!(flushed["request_id"].is_string() && flushed["attempt"].is_string());
    let denied = with(&log, "a call is denied");
    let of_nobody = denied.iter().find(|line| line["status"] == 401);
    assert!(of_nobody.is_some_and(|line| line["request_id"].is_string()));
    let uncovered = denied.iter().find(|line| line["status"] == 403);
    let uncovered = uncovered.expect("a call was denied");
    assert_eq!(
        (&uncovered["caller"], &uncovered["realm"], &uncovered["key"]),
        (&json!("the shop"), &json!("r"), &json!("other"))
    );
    let reports = with(&log, "a caller reported a token as refused");
    let codes: Vec<_> = reports.iter().map(|line| line.get("code")).collect();
    assert_eq!(codes, [None, Some(&json!(NASTY))]);
    assert!(reports.iter().all(|line| line["caller"] == "the shop"));
    for line in &log {
        if line.get("attempt").is_some() {
            let named = ["realm", "key", "cause"]
                .iter()
                .all(|name| line[*name].is_string());
            assert!(named, "{line}");
        }
    }
}

async fn a_server_says_at_its_start_what_it_runs_with(database: TestDatabase) {
    let provider = Provider::start().await;
    let first = ServerProcess::start(&database, &[]);
    assert_eq!(
        (&first.serving["realms"], &first.serving["secrets"]),
        (&json!(0), &json!(0))
    );
    first.client.register(&provider.url("/token")).await;
    first.client.save_secret("r", "another").await;
    first.terminate();
    assert_eq!(first.exit_code(), Some(0));
    let serving = ServerProcess::start(&database, &[]).serving.clone();
    assert_eq!(
        (&serving["realms"], &serving["secrets"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(serving["version"], env!("CARGO_PKG_VERSION"));
    let data_dir = database.directory.path().display().to_string();
    assert_eq!(serving["data_dir"], data_dir);
    let place = serving["database"].as_str().expect("a text");
    let (address, _) = database.url.split_once('?').unwrap_or((&database.url, ""));
    let (_, host) = address.rsplit_once('@').unwrap_or(("", address));
    assert!(place.ends_with(host), "{place}");
    assert!(!place.contains('@'), "{place}");
}

/// A server whose log is for people.
struct Plain {
    child: Child,
    client: Client,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Plain {
    fn start(database: &TestDatabase) -> Self {
        let mut command = command(database, &[]);
        command.envs([
            ("TOKEN_SERVER__LOG__FORMAT", "pretty"),
            ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0"),
        ]);
        let (child, lines) = serve(command);
        let mut said = Vec::new();
        let address = loop {
            let line = lines.recv_timeout(PATIENCE).expect("the server serves");
            let address = line.split_once(": serving address=").map(|(_, rest)| rest);
            let address = address
                .and_then(|rest| rest.split(' ').next())
                .map(str::to_owned);
            said.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        Self {
            child,
            client: Client::new(format!("http://{address}")),
            lines,
            said,
        }
    }

    async fn says(&mut self, what: &str) -> String {
        let (lines, said) = (&self.lines, &mut self.said);
        eventually(what, async || {
            said.extend(lines.try_iter());
            said.iter().find(|line| line.contains(what)).cloned()
        })
        .await
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn nothing_that_is_said_elsewhere_ends_a_line_or_moves_a_cursor(database: TestDatabase) {
    let provider = Provider::start().await;
    let mut server = Plain::start(&database);
    let client = server.client.clone();
    client.register(&provider.url("/token")).await;
    let report = json!({"realm": "r", "key": "k", "generation": 1, "code": NASTY});
    client.post("/api/token/report", &report).await.expect(200);
    let reported = server.says("a caller reported").await;
    let code = r#"code="one\ntwo\r\u001b[2J\u009b31m\u2028\u202e\u0085 realm=other \"quoted\" \\""#;
    assert!(reported.contains(code), "{reported}");
    provider.answer_with(refusal(NASTY));
    make_due(&client).await;
    let failed = server.says("not renewed").await;
    let detail = r#"detail="the provider answered 401, code invalid_client: one"#;
    assert!(failed.contains(detail), "{failed}");
    for part in [
        " realm=r ",
        " key=k ",
        " cause=scheduled ",
        " outcome=failed ",
    ] {
        assert!(failed.contains(part), "{failed}");
    }
    for line in &server.said {
        assert!(
            line.starts_with("20"),
            "not the beginning of a line: {line}"
        );
        let control = line.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}');
        assert!(!control, "{line:?}");
        assert!(!line.contains(ADMIN_KEY), "{line}");
    }
}

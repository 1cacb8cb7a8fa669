//! A panic among secrets shows none of them, and ends nothing but what has panicked.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use token_server::foundation::logging::{self, LogFormat};
use token_server::jobs::job::{self, Job, LastOutcome, PassOutcome, Trigger};
use token_server::upstream::egress::{Lookup, Resolver};
use tokio_util::sync::CancellationToken;

use super::{CLIENT_SECRET, OTHERS_SECRET, expect_clean, forms};
use crate::kit::internet::Internet;
use crate::kit::server::Options;
use crate::kit::{Server, TestDatabase, eventually, on_every_database, strict_json};

on_every_database! {
    a_panic_among_secrets_shows_none_of_them,
}

/// Where the test finds its database once it runs in a process of its own.
const DATABASE: &str = "DATABASE_OF_PANICS";
const ITSELF: &str = "canaries::panics::a_panic_among_secrets_shows_none_of_them::on_sqlite";

/// Panics as code does that works with a credential: with a message that holds it.
fn panic_with(secret: &str) -> ! {
    panic!("no provider takes {secret}")
}

/// The same by a mistake that the language finds: its message holds the text.
fn cut_in_a_letter(secret: &str) -> usize {
    let text = format!("ä{secret}");
    text[1..].len()
}

/// Panics where a request or an attempt asks for an address.
#[derive(Debug, Default)]
struct Panicking(AtomicUsize);

impl Resolver for Panicking {
    fn look_up(&self, _host: String) -> Lookup {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match number % 2 {
                0 => panic_with(CLIENT_SECRET),
                _ => Err(std::io::Error::other(
                    cut_in_a_letter(CLIENT_SECRET).to_string(),
                )),
            }
        })
    }
}

/// Its first pass panics.
#[derive(Default)]
struct Background(AtomicUsize);

#[async_trait]
impl Job for Background {
    fn name(&self) -> &'static str {
        "background"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Every(Duration::from_millis(1))
    }

    fn limit(&self) -> u64 {
        1
    }

    async fn pass(&self) -> PassOutcome {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => panic_with(OTHERS_SECRET),
            _ => PassOutcome::Done,
        }
    }
}

/// Has requests, an attempt and a job panic.
async fn panic_everywhere(url: String) {
    logging::tell_panics();
    logging::start(Some(LogFormat::Json), "trace", false, None).expect("logging starts");
    let database = TestDatabase::at(url);
    let names = Arc::new(Panicking::default());
    let authority = Internet::start().await.for_server().1;
    let options = Options {
        internet: Some((names.clone(), authority)),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    let config = json!({
        "params": {"id": {"title": "ID"}, "secret": {"title": "Secret"}},
        "url": "https://provider.example/token", "method": "POST",
        "arguments": [{"name": "secret", "place": "body", "value": "$secret"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    // In a request, twice: by the one mistake and by the other.
    let params = json!({"id": "the-client", "secret": CLIENT_SECRET});
    let trial = json!({"config": config, "send": true, "params": params});
    for _ in 0..2 {
        let failed = client.dry_run(&trial).await.expect(500);
        expect_clean("an answer", &failed.text, &forms(CLIENT_SECRET));
        failed.expect_problem(500, "internal");
    }
    // In an attempt.
    let asked = names.0.load(Ordering::Relaxed);
    client.save_realm("r", config).await;
    let secret = json!({"realm": "r", "key": "k", "params": params});
    client.post("/api/secret", &secret).await.expect(200);
    eventually("an attempt panics", async || {
        (names.0.load(Ordering::Relaxed) > asked).then_some(())
    })
    .await;
    // In a job, which goes on.
    let (last, stopping) = (LastOutcome::default(), CancellationToken::new());
    let job = Arc::new(Background::default());
    let running = tokio::spawn(job::run(job, last.clone(), stopping.clone()));
    eventually("the next pass is made", async || {
        (last.get() == PassOutcome::Done).then_some(())
    })
    .await;
    stopping.cancel();
    running.await.expect("it goes on to its end");
    client.get("/api/realm").await.expect(200);
    server.stop().await;
}

async fn a_panic_among_secrets_shows_none_of_them(database: TestDatabase) {
    // Panics are told by what is one for the whole process, so it runs itself in one of its own.
    let named = |(name, _): &(String, String)| name == DATABASE;
    if let Some((_, url)) = std::env::vars().find(named) {
        return panic_everywhere(url).await;
    }
    let program = std::env::current_exe().expect("this is a program");
    let mut command = Command::new(program);
    command
        .args(["--exact", ITSELF, "--nocapture"])
        .env(DATABASE, &database.url);
    let running = tokio::task::spawn_blocking(move || command.output());
    let ended = running.await.expect("nobody stops it");
    let ended = ended.expect("it runs");
    let [printed, log] = [ended.stdout, ended.stderr];
    let [printed, log] = [printed, log].map(|text| String::from_utf8_lossy(&text).into_owned());
    let forbidden = [CLIENT_SECRET, OTHERS_SECRET].map(forms).concat();
    expect_clean("the output", &printed, &forbidden);
    expect_clean("the log", &log, &forbidden);
    assert!(ended.status.success(), "{printed}\n{log}");
    assert!(printed.contains("1 passed"), "{printed}");
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(strict_json::read).collect();
    let panics: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == "a task panicked")
        .collect();
    // Two requests, an attempt and a pass, each by its place and without its message.
    assert!(panics.len() >= 4, "{panics:?}");
    for panic in &panics {
        let at = panic["at"].as_str().unwrap_or_default();
        assert!(at.contains(".rs:"), "{panic}");
        assert!(panic["why"].is_null(), "{panic}");
    }
    assert!(panics.iter().any(|panic| panic["request_id"].is_string()));
    let found = database.first_of(&forbidden).await;
    assert!(found.is_none(), "the database shows {found:?}");
}

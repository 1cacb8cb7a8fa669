//! Mark 2: reads on one replica while another renews and is restarted. What callers were given
//! is judged by the checker of the fault tests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use token_server::foundation::clock::{Clock, EpochMs, Ms, SystemClock};
use tokio::task::block_in_place;
use tokio::time::sleep_until;

use crate::Size;
use crate::checker::{Given, History, Killed, Sample, violations};
use crate::kit::TestDatabase;
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::load::{self, Answer, Connecting, Load, token_request};
use crate::provider::RotatingProvider;
use crate::report::{Mark, Report, Runs};
use crate::scene::{APART, LENIENT, held_by, parked, register, rotating_realm, stored};
use crate::stock;
use crate::world::{self, key_name, none_left};

/// So short that a reader who is not told of a new token soon serves one that has expired.
const LIFETIME_S: i64 = 30;
/// So many tokens become due at once, and so often: 600 a second.
const DUE_AT_ONCE: i64 = 60;
/// One connection in so many notes each of its answers.
const NOTES: usize = 10;
/// The one that reads leaves renewing to the other, but for one token a second.
const READS: [(&str, &str); 1] = [("TOKEN_SERVER__RENEWAL__REALM_RATE", "1")];
/// There is one realm only, and it is renewed as fast as sixteen would be.
const RENEWS: [(&str, &str); 2] = [
    ("TOKEN_SERVER__RENEWAL__REALM_RATE", "800"),
    ("TOKEN_SERVER__RENEWAL__REALM_CONCURRENCY", "64"),
];

struct World {
    database: TestDatabase,
    provider: RotatingProvider,
    renews: Option<ServerProcess>,
    killed: Vec<Killed>,
}

/// The replica that renews.
fn launch(database: &TestDatabase) -> ServerProcess {
    let more = RENEWS.map(|(name, value)| (name, value.to_owned()));
    block_in_place(|| world::server(database, "b", &more))
}

impl World {
    /// Makes tokens due, some at a time, until then; meanwhile kills who renews them, and starts
    /// it again.
    async fn renew_until(&mut self, end: Instant) {
        let killed_at = Instant::now() + (end - Instant::now()) / 2;
        let database = &self.database;
        let ((), ()) = tokio::join!(stock::make_due(database, end, DUE_AT_ONCE), async {
            sleep_until(killed_at.into()).await;
            if let Some(renews) = self.renews.take() {
                renews.kill();
            }
            let directory = database.directory.path().join("b");
            self.killed.extend(held_by(database, &directory).await);
            self.renews = Some(launch(database));
        });
    }
}

#[derive(Deserialize)]
struct Token<'a> {
    token: &'a str,
    generation: i64,
}

/// What a caller was given, for the history.
fn sample(answer: &Answer) -> Option<Sample> {
    let given: Token = serde_json::from_slice(answer.body).ok()?;
    let (now, took) = (SystemClock.now(), answer.asked.elapsed().as_millis());
    Some(Sample {
        caller: answer.connection,
        key: key_name(answer.request),
        asked_at: EpochMs(now.0 - i64::try_from(took).ok()?),
        answered_at: now,
        given: Given::Token {
            token: given.token.to_owned(),
            generation: given.generation,
        },
    })
}

type Samples = Arc<Mutex<Vec<Sample>>>;

/// Who reads notes some of what is answered.
fn noting(samples: &Samples) -> load::Check {
    let samples = samples.clone();
    Arc::new(move |answer| {
        if !answer.connection.is_multiple_of(NOTES) {
            return true;
        }
        let sample = sample(answer);
        let right = sample.is_some();
        let mut noted = samples.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(sample);
        right
    })
}

async fn history(world: &World, client: &Client, samples: &Samples) -> History {
    none_left(&world.database, "renew_at = 0 OR lost_attempt IS NOT NULL").await;
    let samples = std::mem::take(&mut *samples.lock().unwrap_or_else(PoisonError::into_inner));
    History {
        provider: world.provider.log(),
        stored: stored(client).await,
        samples,
        parked: parked(client).await,
        killed: world.killed.iter().cloned().collect(),
        lifetime: Ms::from_secs(LIFETIME_S),
        apart: APART,
    }
}

pub async fn measure(size: &Size, report: &mut Report) {
    let mariadb = DatabaseServer::start();
    mariadb.answers().await;
    let database = TestDatabase::on_server(mariadb.url()).await;
    let more = READS.map(|(name, value)| (name, value.to_owned()));
    let reads = world::server(&database, "a", &more);
    let mut world = World {
        provider: RotatingProvider::start(LENIENT, LIFETIME_S).await,
        database,
        renews: None,
        killed: Vec::new(),
    };
    world.renews = Some(launch(&world.database));
    let realm = rotating_realm(&world.provider);
    reads.client.save_realm("r", realm).await;
    for number in 0..size.beside {
        register(&reads.client, &key_name(number)).await;
    }
    none_left(&world.database, "generation = 0").await;

    let key = world::reading_key(&reads.client).await;
    let request = |number| token_request("r", &key_name(number), &key);
    let samples = Samples::default();
    let load = Load {
        address: reads.address,
        connecting: Connecting::Plain,
        requests: (0..size.beside).map(request).collect(),
        connections: size.connections,
        duration: 2 * size.one_run,
        rate: None,
        check: noting(&samples),
    };
    let (mut rates, mut calm) = (Runs::default(), Runs::default());
    let (mut renewals, mut errors) = (Runs::default(), 0);
    for _ in 0..size.runs {
        let quiet = load::run(&load).await;
        calm.push(quiet.per_second());
        let (before, begun) = (world.provider.rotations(), Instant::now());
        let beside = tokio::join!(load::run(&load), world.renew_until(begun + load.duration)).0;
        let renewed = world.provider.rotations() - before;
        renewals.push(renewed as f64 / begun.elapsed().as_secs_f64());
        rates.push(beside.per_second());
        errors += quiet.errors + beside.errors;
    }
    let history = history(&world, &reads.client, &samples).await;
    let found = violations(&history);
    for violation in &found {
        println!("{violation}");
    }
    report.add(
        2,
        "reads a second while another replica renews and is killed, over those while it does not",
        rates.over(&calm),
        Mark::AtLeast(0.8),
    );
    report.add(2, "reads a second meanwhile", rates, Mark::Shown);
    report.add(
        2,
        "renewals a second meanwhile",
        renewals,
        Mark::AtLeast(500.0),
    );
    report.one(2, "errors", errors as f64, Mark::AtMost(0.0));
    let judged = history.samples.len() as f64;
    report.one(
        2,
        "answers judged by the history checker",
        judged,
        Mark::Shown,
    );
    report.one(2, "what it found", found.len() as f64, Mark::AtMost(0.0));
}

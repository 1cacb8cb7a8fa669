//! Five replicas on one MariaDB renew thousands of rotating refresh tokens while one of them
//! is killed or stopped every ten seconds and the database is restarted twice. The checker
//! of the fault tests judges the whole history.
//!
//! The argument names the provider: `lenient` accepts a used refresh token for two leases,
//! `strict` refuses it and ends its family. `SOAK_MINUTES` and `SOAK_SECRETS` change the size.

// A soak fails by panicking, and tells on standard output.
#![allow(clippy::panic, clippy::print_stdout)]

// The kit serves the integration tests; a soak needs a part of it.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../it/kit/mod.rs"]
mod kit;

#[allow(dead_code)]
#[path = "../faults/checker.rs"]
mod checker;
#[allow(dead_code, unused_macros)]
#[macro_use]
#[path = "../faults/cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "../faults/provider.rs"]
mod provider;
#[allow(dead_code)]
#[path = "../faults/scene.rs"]
mod scene;

mod callers;
mod chaos;
mod fleet;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use checker::{History, violations};
use fleet::{Fleet, REPLICAS};
use kit::TestDatabase;
use kit::database_server::DatabaseServer;
use kit::server::Client;
use provider::{Outcome, Reuse, RotatingProvider};
use scene::{APART, LENIENT, parked, register, rotating_realm, stored};
use token_server::foundation::clock::{BootMs, Clock, Ms, SystemClock};
use token_server::foundation::randomness::Randomness;

pub const LIFETIME_S: i64 = 600;
const CALLERS: usize = 20;
/// Violations that are named.
const VIOLATIONS_MAX: usize = 20;
/// Those of which more is told, and events of each.
const TOLD_MAX: usize = 8;
const LOOK_EVERY: Duration = Duration::from_millis(500);

struct Size {
    reuse: Reuse,
    minutes: i64,
    secrets: usize,
}

impl Size {
    fn of_process() -> Self {
        let number = |wanted: &str, default: i64| {
            let value = std::env::vars().find(|(name, _)| name == wanted);
            value.map_or(default, |(_, text)| text.parse().expect("a whole number"))
        };
        Self {
            reuse: match std::env::args().nth(1).as_deref() {
                Some("lenient") => LENIENT,
                Some("strict") => Reuse::EndsFamily,
                _ => panic!("say lenient or strict"),
            },
            minutes: number("SOAK_MINUTES", 30),
            secrets: usize::try_from(number("SOAK_SECRETS", 2000)).expect("a count"),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let size = Size::of_process();
    let randomness = Randomness::from_system().expect("the system has randomness");
    let server = DatabaseServer::start();
    server.answers().await;
    let database = TestDatabase::on_server(server.url()).await;
    let provider = RotatingProvider::start(size.reuse, LIFETIME_S).await;
    let fleet = Arc::new(Fleet::start(database));
    let keys: Arc<[String]> = (0..size.secrets)
        .map(|number| format!("k{number}"))
        .collect();

    let client = fleet.client(0).expect("all replicas run");
    client.save_realm("r", rotating_realm(&provider)).await;
    for key in keys.iter() {
        register(&client, key).await;
    }
    fleet.wait_for_no("generation = 0").await;
    println!("{} secrets have a token", size.secrets);

    let end = BootMs(SystemClock.boot().0 + size.minutes * 60_000);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (fleet, keys, randomness) = (fleet.clone(), keys.clone(), randomness.clone());
            tokio::spawn(callers::call(fleet, keys, caller, randomness, end))
        })
        .collect();
    let events = chaos::reign(&fleet, &provider, &server, &randomness, end).await;
    let mut samples = Vec::new();
    for caller in callers {
        samples.extend(caller.await.expect("a caller ends"));
    }
    println!("{events}");

    // What is under way comes to its end, then everybody must be able to renew once more.
    fleet
        .wait_for_no("lost_attempt IS NOT NULL AND NOT parked")
        .await;
    fleet.all_due().await;
    fleet.wait_for_no("renew_at = 0 AND NOT parked").await;
    let troubled = fleet.troubled().await;
    let client = fleet.client(0).expect("all replicas run");
    let history = History {
        provider: provider.log(),
        stored: stored(&client).await,
        parked: parked(&client).await,
        killed: fleet.killed(),
        samples,
        lifetime: Ms::from_secs(LIFETIME_S),
        apart: APART,
    };
    let found = wrong(&size, &history, troubled);
    for violation in found.iter().take(TOLD_MAX) {
        let (key, _) = violation.split_once(':').unwrap_or((violation, ""));
        tell(&client, &history, key).await;
    }
    report(&size, &fleet, &history, &found)
}

/// What became of a token: what the provider saw, and what the replicas noted.
async fn tell(client: &Client, history: &History, key: &str) {
    println!("{key}");
    let exchanges = history.provider.iter().filter(|seen| seen.client == *key);
    let exchanges: Vec<_> = exchanges.collect();
    for seen in &exchanges[exchanges.len().saturating_sub(TOLD_MAX)..] {
        let attempt = &seen.attempt;
        let killed = history
            .killed
            .iter()
            .any(|killed| killed.attempt == *attempt);
        let (came, at) = (seen.received.0, seen.at.0);
        let (presented, outcome) = (seen.presented, &seen.outcome);
        println!("  {came} {at} {attempt} presented {presented}: {outcome:?}, killed: {killed}");
    }
    let path = format!("/api/renewal?realm=r&key={key}&pageSize=10");
    let noted = client.get(&path).await.expect(200).json();
    for entry in noted["data"]["list"].as_array().into_iter().flatten() {
        println!("  {entry}");
    }
}

fn wrong(size: &Size, history: &History, troubled: i64) -> Vec<String> {
    let mut found = violations(history);
    if troubled > 0 {
        found.push(format!("{troubled} tokens could not be renewed in the end"));
    }
    if matches!(size.reuse, Reuse::AcceptedFor(_)) {
        let lost = history.parked.iter().map(|key| format!("{key}: was lost"));
        found.extend(lost);
    }
    found
}

fn report(size: &Size, fleet: &Fleet, history: &History, found: &[String]) -> ExitCode {
    let rotated = |exchange: &&provider::Exchange| matches!(exchange.outcome, Outcome::Rotated(_));
    let served = |sample: &&checker::Sample| matches!(sample.given, checker::Given::Token { .. });
    let served = history.samples.iter().filter(served).count();
    println!("provider             {:?}", size.reuse);
    println!("requests             {}", history.provider.len());
    println!(
        "rotations            {}",
        history.provider.iter().filter(rotated).count()
    );
    println!("tokens stored        {}", history.stored.len());
    println!("attempts killed      {}", history.killed.len());
    let spooled: usize = (0..REPLICAS).map(|number| fleet.spooled(number)).sum();
    println!("left in spools       {spooled}");
    println!("reads answered       {served}");
    println!("reads refused        {}", history.samples.len() - served);
    println!("needs attention      {}", history.parked.len());
    println!("violations           {}", found.len());
    for violation in found.iter().take(VIOLATIONS_MAX) {
        println!("  {violation}");
    }
    if found.is_empty() && served > 0 && spooled == 0 {
        println!("1 passed, 0 failed");
        ExitCode::SUCCESS
    } else {
        println!("0 passed, 1 failed");
        ExitCode::FAILURE
    }
}

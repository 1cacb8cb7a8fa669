//! The marks of the server: each is measured against its reference in the same run. See
//! docs/src/explanation/performance.md. `make bench` runs all of them; numbers as arguments choose some.
//! Without `--bench`, as tests run it, it only shows that it runs: everything is small.

// A benchmark fails by panicking, tells on standard output, and its numbers are small.
#![allow(clippy::panic, clippy::print_stdout)]
// It measures real time, to the microsecond.
#![allow(clippy::disallowed_methods)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

// The kit serves the integration tests; a benchmark needs a part of it.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../tests/it/kit/mod.rs"]
mod kit;

// So does the judge of the fault tests, with what it judges.
#[allow(dead_code)]
#[path = "../../tests/faults/checker.rs"]
mod checker;
#[allow(dead_code, unused_macros)]
#[macro_use]
#[path = "../../tests/faults/cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "../../tests/faults/provider.rs"]
mod provider;
#[allow(dead_code)]
#[path = "../../tests/faults/scene.rs"]
mod scene;

mod alone;
mod authenticated;
mod beside;
mod cost;
mod flood;
mod floods;
mod herd;
mod load;
mod many;
mod nginx;
mod plain;
mod pruning;
mod reads;
mod renewals;
mod report;
mod results;
mod scaling;
mod secured;
mod stock;
mod traffic;
mod world;

use std::time::Duration;

use report::Report;

/// How much is measured.
struct Size {
    runs: usize,
    one_run: Duration,
    connections: usize,
    renewals: usize,
    authenticated: i64,
    beside: usize,
    restarted: usize,
    sweeps: usize,
    idle: usize,
    held: usize,
    seeds: u64,
    herd: usize,
    sockets: usize,
    denied: u64,
    attempts: usize,
    /// How long a flood is looked at.
    flooded: Duration,
}

const WHOLE: Size = Size {
    runs: 7,
    one_run: Duration::from_secs(3),
    connections: 300,
    renewals: 6400,
    authenticated: 200_000,
    beside: 2000,
    restarted: 10_000,
    sweeps: 100,
    idle: 1_000_000,
    held: 100_000,
    seeds: 20,
    herd: 100_000,
    sockets: 20_000,
    denied: 3000,
    attempts: 10_000_000,
    flooded: Duration::from_secs(120),
};

const SMALL: Size = Size {
    runs: 2,
    one_run: Duration::from_millis(200),
    connections: 4,
    renewals: 64,
    authenticated: 100,
    beside: 40,
    restarted: 64,
    sweeps: 2,
    idle: 2000,
    held: 500,
    seeds: 2,
    herd: 1000,
    sockets: 100,
    denied: 50,
    attempts: 5000,
    flooded: Duration::from_millis(100),
};

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    // Behind the program's own name.
    let arguments = words.get(1..).unwrap_or_default();
    // Processes of their own, which this program starts.
    match arguments {
        [first, body] if first == plain::ARGUMENT => return plain::serve(body.clone()).await,
        [first, address, size, way] if first == alone::ARGUMENT => {
            return alone::load(address, size, way).await;
        }
        [first, address, size] if first == flood::ARGUMENT => {
            return flood::flood(address, size).await;
        }
        _ => {}
    }
    let whole = arguments.iter().any(|argument| argument == "--bench");
    let size = if whole { &WHOLE } else { &SMALL };
    let chosen: Vec<u8> = arguments
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let wanted = |marks: &[u8]| chosen.is_empty() || marks.iter().any(|mark| chosen.contains(mark));
    let mut report = Report::default();
    if wanted(&[1]) {
        reads::measure(size, &mut report).await;
    }
    if wanted(&[2]) {
        Box::pin(beside::measure(size, &mut report)).await;
    }
    if wanted(&[3]) {
        renewals::on_mariadb(size, &mut report).await;
    }
    if wanted(&[4]) {
        renewals::on_sqlite(size, &mut report).await;
    }
    if wanted(&[5]) {
        many::idle_sweeps(size, &mut report).await;
    }
    if wanted(&[6]) {
        renewals::after_a_restart(size, &mut report).await;
    }
    if wanted(&[7, 8]) {
        many::held(size, &mut report).await;
    }
    if wanted(&[9]) {
        herd::simulate(size, &mut report);
    }
    if wanted(&[10]) {
        scaling::measure(size, &mut report).await;
    }
    if wanted(&[12]) {
        floods::measure(size, &mut report).await;
    }
    if wanted(&[13]) {
        secured::measure(size, &mut report).await;
    }
    if wanted(&[14]) {
        pruning::measure(size, &mut report).await;
    }
    if whole {
        results::keep(&report);
    }
}

//! Mark 9: tokens that were registered together drift apart, and stay so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use token_server::foundation::clock::{EpochMs, Ms, Timeline};
use token_server::foundation::randomness::Randomness;
use token_server::realm::policy::Policy;
use token_server::token::expiry::schedule;

use crate::Size;
use crate::report::{Mark, Report, Runs};

const LIFETIME: Ms = Ms::from_secs(7200);
const DAY: Ms = Ms::from_secs(86_400);
const WINDOW_S: usize = 60;
/// What a token would need that was renewed at its very end.
const LEAST: f64 = 12.0;

pub fn simulate(size: &Size, report: &mut Report) {
    let (mut worst, mut fetches) = (Runs::default(), Runs::default());
    for seed in 0..size.seeds {
        let (over_mean, each) = day(seed, size.herd);
        worst.push(over_mean);
        fetches.push(each / LEAST);
    }
    report.add(
        9,
        "the fullest minute after the first fetch, over the mean",
        worst,
        Mark::AtMost(1.35),
    );
    report.add(
        9,
        "fetches of a secret in a day, over 12",
        fetches,
        Mark::AtMost(1.45),
    );
}

/// The fullest minute over the mean one, and fetches for each secret.
fn day(seed: u64, secrets: usize) -> (f64, f64) {
    let randomness = Randomness::seeded(seed);
    let policy = Policy::default();
    let mut due = BinaryHeap::new();
    // All are registered, and fetched first, within a second.
    for _ in 0..secrets {
        due.push(Reverse((EpochMs(randomness.between(0, 999)), true)));
    }
    let mut seconds = vec![0_usize; usize::try_from(DAY.0 / 1000).expect("a day")];
    let mut fetches = 0_usize;
    while let Some(Reverse((at, first))) = due.pop() {
        if at.0 >= DAY.0 {
            break;
        }
        fetches += 1;
        if !first {
            seconds[usize::try_from(at.0 / 1000).expect("from 0")] += 1;
        }
        let next = schedule(at, at.plus(LIFETIME), &policy, first, &randomness);
        due.push(Reverse((next.renew_at, false)));
    }
    let later: usize = seconds.iter().sum();
    let windows = seconds
        .windows(WINDOW_S)
        .map(|window| window.iter().sum::<usize>());
    let fullest = windows.max().unwrap_or(0) as f64;
    let mean = later as f64 * WINDOW_S as f64 / seconds.len() as f64;
    (fullest / mean, fetches as f64 / secrets as f64)
}

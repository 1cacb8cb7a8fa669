//! What goes wrong, every ten seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use token_server::foundation::clock::{BootMs, Clock, SystemClock};
use token_server::foundation::randomness::Randomness;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::fleet::{Fleet, REPLICAS};
use crate::kit::database::DatabaseServer;

const EVERY: Duration = Duration::from_secs(10);
/// A stopped replica goes on after as much, or less.
const STOPPED_MAX_S: usize = 30;
/// How long the database is away.
const AWAY: Duration = Duration::from_secs(3);

/// How often what happened.
#[derive(Default)]
pub struct Events {
    killed: usize,
    killed_without_database: usize,
    stopped: usize,
    database_ended: usize,
    database_killed: usize,
}

impl fmt::Display for Events {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "replicas killed      {}", self.killed)?;
        writeln!(out, "  database away      {}", self.killed_without_database)?;
        writeln!(out, "replicas stopped     {}", self.stopped)?;
        writeln!(out, "database ended       {}", self.database_ended)?;
        write!(out, "database killed      {}", self.database_killed)
    }
}

/// Breaks something until the end, and mends everything then. The database goes down after
/// a third of the time by SIGTERM, after two thirds by SIGKILL.
pub async fn reign(
    fleet: &Arc<Fleet>,
    server: &DatabaseServer,
    randomness: &Randomness,
    end: BootMs,
) -> Events {
    let mut events = Events::default();
    let begun = SystemClock.boot();
    let third = end.since(begun).0 / 3;
    let mut restarts = BTreeMap::from([
        (begun.0 + third, Signal::TERM),
        (begun.0 + 2 * third, Signal::KILL),
    ]);
    let mut stopped = JoinSet::new();
    let mut free: Vec<usize> = (0..REPLICAS).collect();
    let mut pace = interval(EVERY);
    pace.tick().await;
    while SystemClock.boot() < end {
        pace.tick().await;
        while let Some(number) = stopped.try_join_next() {
            free.push(number.expect("it goes on"));
        }
        if free.is_empty() {
            continue;
        }
        let number = free.swap_remove(below(free.len(), randomness));
        let due = restarts.first_key_value().map(|(at, _)| *at);
        if due.is_some_and(|at| at <= SystemClock.boot().0) {
            let (_, signal) = restarts.pop_first().expect("it was there");
            server.end(signal);
            match signal {
                Signal::KILL => events.database_killed += 1,
                _ => events.database_ended += 1,
            }
            sleep(AWAY / 2).await;
            fleet.kill(number);
            events.killed_without_database += 1;
            sleep(AWAY / 2).await;
            server.start_again();
            server.answers().await;
            fleet.restart(number).await;
            free.push(number);
        } else if below(2, randomness) == 0 {
            fleet.kill(number);
            events.killed += 1;
            fleet.restart(number).await;
            free.push(number);
        } else {
            fleet.signal(number, Signal::STOP);
            events.stopped += 1;
            let seconds = 1 + below(STOPPED_MAX_S, randomness);
            let fleet = fleet.clone();
            stopped.spawn(async move {
                sleep(Duration::from_secs(seconds as u64)).await;
                fleet.signal(number, Signal::CONT);
                number
            });
        }
    }
    stopped.join_all().await;
    events
}

/// A number below the limit, which is not 0.
pub fn below(limit: usize, randomness: &Randomness) -> usize {
    let last = i64::try_from(limit - 1).expect("a small number");
    usize::try_from(randomness.between(0, last)).expect("a number from 0")
}

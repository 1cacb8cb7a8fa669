//! What goes wrong, every ten seconds, and always to a replica that waits for the provider.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rustix::process::Signal;
use token_server::foundation::clock::{BootMs, Clock, SystemClock};
use token_server::foundation::randomness::Randomness;
use tokio::time::{interval, timeout};

use crate::fleet::{Fleet, REPLICAS};
use crate::kit::database_server::DatabaseServer;
use crate::kit::eventually;
use crate::provider::{Next, RotatingProvider};

const EVERY: Duration = Duration::from_secs(10);
/// Where nobody asks the provider by then, any replica is broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// A stopped replica goes on after as many events, or fewer.
const STOPPED_MAX: usize = 3;

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

/// Who stands still, and for how many events more.
type Stopped = BTreeMap<usize, usize>;

/// Breaks something until the end, and mends everything then. The database goes down after
/// a third of the time by SIGTERM, after two thirds by SIGKILL.
pub async fn reign(
    fleet: &Fleet,
    provider: &RotatingProvider,
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
    let mut stopped = Stopped::new();
    let mut pace = interval(EVERY);
    pace.tick().await;
    while SystemClock.boot() < end {
        pace.tick().await;
        go_on(fleet, &mut stopped);
        let due = restarts.first_key_value().map(|(at, _)| *at);
        if due.is_some_and(|at| at <= SystemClock.boot().0) {
            let (_, signal) = restarts.pop_first().expect("it was there");
            let killed = restart_database(fleet, provider, server, signal).await;
            events.killed_without_database += usize::from(killed);
            match signal {
                Signal::KILL => events.database_killed += 1,
                _ => events.database_ended += 1,
            }
            continue;
        }
        let stage = match below(2, randomness) {
            0 => Next::HeldBefore,
            _ => Next::HeldAfter,
        };
        let held = hold(fleet, provider, stage).await;
        let free: Vec<_> = (0..REPLICAS).filter(|n| !stopped.contains_key(n)).collect();
        let victim = held.or_else(|| free.get(below(free.len().max(1), randomness)).copied());
        let Some(number) = victim else {
            continue;
        };
        if below(2, randomness) == 0 {
            fleet.kill(number);
            provider.let_go();
            fleet.restart(number).await;
            events.killed += 1;
        } else {
            fleet.stand_still(number);
            provider.let_go();
            stopped.insert(number, 1 + below(STOPPED_MAX, randomness));
            events.stopped += 1;
        }
    }
    for number in stopped.into_keys() {
        fleet.go_on(number);
    }
    events
}

/// Lets those go on whose time has come.
fn go_on(fleet: &Fleet, stopped: &mut Stopped) {
    stopped.retain(|number, left| {
        *left -= 1;
        if *left == 0 {
            fleet.go_on(*number);
        }
        *left > 0
    });
}

/// Holds a request there; answers which replica made it.
async fn hold(fleet: &Fleet, provider: &RotatingProvider, stage: Next) -> Option<usize> {
    provider.next(stage);
    let held = timeout(PATIENCE, provider.holds()).await;
    provider.next(Next::Usual);
    let (key, attempt) = held.ok()?;
    fleet.replica_of(&key, &attempt).await
}

/// Ends the database while a replica has a pair on its way, kills that replica when the
/// pair is in its spool, and starts both again; false where nobody had one.
async fn restart_database(
    fleet: &Fleet,
    provider: &RotatingProvider,
    server: &DatabaseServer,
    signal: Signal,
) -> bool {
    let held = hold(fleet, provider, Next::HeldAfter).await;
    server.end(signal);
    provider.let_go();
    if let Some(number) = held {
        eventually("the pair is in the spool", async || {
            (fleet.spooled(number) > 0).then_some(())
        })
        .await;
        fleet.kill(number);
    }
    server.start_again();
    server.answers().await;
    if let Some(number) = held {
        fleet.restart(number).await;
    }
    held.is_some()
}

/// A number below the limit, which is not 0.
pub fn below(limit: usize, randomness: &Randomness) -> usize {
    let last = i64::try_from(limit - 1).expect("a small number");
    usize::try_from(randomness.between(0, last)).expect("a number from 0")
}

//! What the log says of a database that fails: when it begins, once a minute while it lasts,
//! and when it ends; not with each call that fails meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::mysql::MySqlConnectOptions;
use sea_orm::sqlx::{ConnectOptions, Connection};
use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;

use super::address::DbAddress;
use super::cause::{DbFault, OutageCause};
use super::error::DbError;
use super::settings::DatabaseSettings;
use super::tls::DbTls;
use crate::foundation::clock::{BootMs, Ms, SharedClock};

/// Between two lines on the same cause.
const SAID_EVERY: Ms = Ms::from_secs(60);
/// A database that fails again sooner after it has answered is not said to answer again.
const SETTLED: Ms = Ms::from_secs(1);

/// What is known of the database's faults.
#[derive(Debug)]
pub(super) struct Outage {
    clock: SharedClock,
    pub(super) address: DbAddress,
    url: SecretString,
    tls: DbTls,
    /// How long a connection is waited for.
    patience: Duration,
    /// So that calls that succeed need no lock.
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when it fails; none: it answers.
    begun: Option<BootMs>,
    last_failure: Option<BootMs>,
    cause: Option<OutageCause>,
    failures: u64,
    /// Whether the log has heard of it.
    told: bool,
    /// It is being found out what the cause is.
    probing: bool,
    /// By cause, and by what failed where the cause is not one of the whole database.
    said: HashMap<(OutageCause, &'static str), BootMs>,
}

impl State {
    /// Notes a failure; answers whether to say so.
    fn fails(&mut self, cause: OutageCause, doing: &'static str, now: BootMs) -> bool {
        self.begun.get_or_insert(now);
        self.last_failure = Some(now);
        self.failures += 1;
        // What a probe has found is more than that there is no connection.
        if cause != OutageCause::TimedOut || self.cause.is_none() {
            self.cause = Some(cause);
        }
        if self.probing {
            return false;
        }
        let kind = match cause {
            OutageCause::Other => (cause, doing),
            _ => (cause, ""),
        };
        let last = self.said.get(&kind);
        if last.is_some_and(|last| now.since(*last) < SAID_EVERY) {
            return false;
        }
        self.said.insert(kind, now);
        true
    }

    /// Notes that it has answered; answers what is over, where something is.
    fn answers(&mut self, wrote: bool, now: BootMs) -> Option<Over> {
        let (begun, last) = (self.begun?, self.last_failure?);
        let proves_nothing = !wrote && self.cause.is_some_and(OutageCause::concerns_writes);
        if self.probing || proves_nothing || now.since(last) < SETTLED {
            return None;
        }
        let over = Over {
            lasted: now.since(begun),
            failures: self.failures,
            told: self.told,
        };
        *self = Self {
            said: std::mem::take(&mut self.said),
            ..Self::default()
        };
        Some(over)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Over {
    lasted: Ms,
    failures: u64,
    told: bool,
}

impl Outage {
    pub(super) fn new(
        clock: SharedClock,
        address: DbAddress,
        settings: &DatabaseSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock,
            address,
            url: settings.url.clone(),
            tls: settings.tls.clone(),
            patience: settings.acquire_timeout,
            on: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the database fails: what is known of the outage, else what the error says.
    pub(super) fn why_in_a_word(&self, error: &DbError) -> &'static str {
        let known = self.state().cause;
        let fault = DbFault::of(error, &self.address);
        known.unwrap_or(fault.cause).in_a_word()
    }

    pub(super) fn fails(self: &Arc<Self>, error: &DbError, doing: &'static str) {
        if matches!(error, DbError::ClockApart(_)) {
            // Whoever compares the clocks says so.
            return;
        }
        let fault = DbFault::of(error, &self.address);
        let now = self.clock.boot();
        let mut state = self.state();
        self.on.store(true, Ordering::Relaxed);
        if !state.fails(fault.cause, doing, now) {
            drop(state);
            tracing::debug!(%error, doing, "a call to the database failed");
            return;
        }
        if fault.cause != OutageCause::TimedOut || self.address.file.is_some() {
            self.say(&mut state, &fault, doing);
            return;
        }
        // The pool does not say why it has no connection.
        state.probing = true;
        drop(state);
        let outage = self.clone();
        let probe = async move {
            let found =
                why_unreachable(&outage.url, &outage.tls, &outage.address, outage.patience).await;
            let mut state = outage.state();
            state.probing = false;
            let fault = found.unwrap_or(fault);
            state.cause = Some(fault.cause);
            outage.say(&mut state, &fault, doing);
        };
        tokio::spawn(probe.in_current_span());
    }

    fn say(&self, state: &mut State, fault: &DbFault, doing: &'static str) {
        let now = self.clock.boot();
        let lasting = now.since(state.begun.unwrap_or(now));
        state.told = true;
        tracing::error!(
            name: "database.failing",
            database = %self.address,
            cause = fault.cause.as_str(),
            error = %fault,
            doing,
            failures = state.failures,
            lasting_s = lasting.0 / 1000,
            "the database fails"
        );
    }

    pub(super) fn answers(&self, wrote: bool) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        let Some(over) = state.answers(wrote, self.clock.boot()) else {
            return;
        };
        self.on.store(false, Ordering::Relaxed);
        drop(state);
        if over.told {
            let lasted_s = over.lasted.0 / 1000;
            tracing::info!(
                name: "database.answering",
                database = %self.address,
                failures = over.failures,
                lasted_s,
                "the database answers again after {lasted_s} s"
            );
        }
    }
}

/// Connects to a server once, beside any pool. None where that succeeds.
pub(super) async fn why_unreachable(
    url: &SecretString,
    tls: &DbTls,
    address: &DbAddress,
    patience: Duration,
) -> Option<DbFault> {
    if address.file.is_some() {
        return None;
    }
    let options: MySqlConnectOptions = url.expose_secret().parse().ok()?;
    let connecting = tls.apply(options).disable_statement_logging();
    let connected = tokio::time::timeout(patience, connecting.connect()).await;
    match connected.ok()? {
        Ok(connection) => {
            let _ = tokio::time::timeout(patience, connection.close()).await;
            None
        }
        Err(error) => Some(DbFault::of_driver(&error, Some(address))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(i64) -> BootMs = |seconds| BootMs(1_000_000 + seconds * 1000);

    #[test]
    fn a_fault_is_said_when_it_begins_and_once_a_minute_while_it_lasts() {
        let mut state = State::default();
        let said = |second| {
            (
                second,
                state.fails(OutageCause::Refused, "a read", AT(second)),
            )
        };
        let said: Vec<_> = (0..150).map(said).filter(|(_, said)| *said).collect();
        assert_eq!(said, [(0, true), (60, true), (120, true)]);
        assert_eq!(state.failures, 150);
    }

    #[test]
    fn another_cause_is_said_at_once() {
        let mut state = State::default();
        assert!(state.fails(OutageCause::Refused, "a read", AT(0)));
        assert!(state.fails(OutageCause::AccessDenied, "a read", AT(1)));
        assert!(!state.fails(OutageCause::Refused, "the sweep", AT(2)));
        // What is no fault of the whole database is said of each that fails.
        assert!(state.fails(OutageCause::Other, "a read", AT(3)));
        assert!(state.fails(OutageCause::Other, "the sweep", AT(4)));
        assert!(!state.fails(OutageCause::Other, "the sweep", AT(5)));
    }

    #[test]
    fn it_is_over_when_calls_have_succeeded_for_a_second() {
        let mut state = State::default();
        assert_eq!(state.answers(true, AT(0)), None);
        state.fails(OutageCause::Refused, "a read", AT(0));
        state.fails(OutageCause::Refused, "a read", AT(41));
        assert_eq!(state.answers(false, AT(41)), None);
        let over = Over {
            lasted: Ms::from_secs(42),
            failures: 2,
            told: false,
        };
        assert_eq!(state.answers(false, AT(42)), Some(over));
        assert_eq!(state.answers(false, AT(43)), None);
        // One that comes and goes is not said each time.
        assert!(!state.fails(OutageCause::Refused, "a read", AT(45)));
        assert!(state.fails(OutageCause::Refused, "a read", AT(61)));
    }

    #[test]
    fn reads_do_not_end_what_concerns_writes_only() {
        let mut state = State::default();
        state.fails(OutageCause::DiskFull, "a read", AT(0));
        assert_eq!(state.answers(false, AT(10)), None);
        assert!(state.answers(true, AT(10)).is_some());
    }
}

//! Denied calls on their way to the audit. Anyone can be denied, as often as they like: they are
//! added up, so that a flood adds entries by the minute and not by the call, and a call never
//! waits for the database.

mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::audit::{self, AuditEntry};
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError};
use tally::Tally;
pub use tally::{Denial, DenialReason};

/// Entries that wait while the database does not take them: those of ten minutes of the worst
/// flood. What comes beyond is counted and dropped.
const WAITING_MAX: usize = 1000;
/// Entries written at once.
const BATCH_MAX: usize = 100;
/// How often is looked whether the minute has ended, and tried again what could not be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes denied calls. Clones share one tally.
#[derive(Clone, Debug)]
pub struct Denials {
    shared: Arc<Shared>,
    closing: CancellationToken,
    writer: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Notify,
    clock: SharedClock,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    /// Oldest first.
    waiting: Vec<AuditEntry>,
    /// Nothing is taken any more.
    closed: bool,
}

impl Denials {
    /// Starts the one task that writes.
    pub fn start(database: Database, clock: SharedClock, dropped: Counter) -> Self {
        let denials = Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                wake: Notify::new(),
                clock,
                dropped,
            }),
            closing: CancellationToken::new(),
            writer: TaskTracker::new(),
        };
        let (shared, closing) = (denials.shared.clone(), denials.closing.clone());
        denials
            .writer
            .spawn(async move { write(database, shared, closing).await });
        denials
    }

    /// Counts a denied call. The first of its kind in a minute is written at once, the others
    /// when the minute ends.
    pub fn note(&self, denial: Denial) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.closed {
            shared.dropped.inc();
            return;
        }
        // Asked for under the lock, so that no minute begins twice.
        let due = state.tally.note(denial, shared.clock.now());
        if !due.is_empty() {
            shared.keep(&mut state, due);
            shared.wake.notify_one();
        }
    }

    /// Writes what waits and what is counted, and ends.
    pub async fn close(&self) {
        self.closing.cancel();
        self.writer.close();
        self.writer.wait().await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &mut State, entries: Vec<AuditEntry>) {
        state.waiting.extend(entries);
        let kept = state.waiting.len().min(WAITING_MAX);
        self.drop_all(state.waiting.drain(kept..));
    }

    /// Counts what the audit misses.
    fn drop_all(&self, entries: impl Iterator<Item = AuditEntry>) {
        for entry in entries {
            self.dropped.inc_by(u64::from(entry.count.get()));
        }
    }

    /// What is to be written now; at the end that is everything.
    fn take(&self, ends: bool) -> Vec<AuditEntry> {
        let mut state = self.lock();
        let due = if ends {
            state.closed = true;
            state.tally.end()
        } else {
            state.tally.look(self.clock.now())
        };
        self.keep(&mut state, due);
        let batch = state.waiting.len().min(BATCH_MAX);
        state.waiting.drain(..batch).collect()
    }

    fn give_back(&self, entries: Vec<AuditEntry>) {
        let mut state = self.lock();
        let later = std::mem::replace(&mut state.waiting, entries);
        self.keep(&mut state, later);
    }

    fn is_counting(&self) -> bool {
        !self.lock().tally.is_empty()
    }
}

async fn write(database: Database, shared: Arc<Shared>, closing: CancellationToken) {
    loop {
        let ends = closing.is_cancelled();
        let entries = shared.take(ends);
        if !entries.is_empty() {
            match append(&database, &entries).await {
                Ok(()) => continue,
                Err(error) => database.failed(&error, "writing denied calls to the audit"),
            }
            // It may have been written although nobody heard of it: better twice than not at all.
            shared.give_back(entries);
            if ends {
                let left = std::mem::take(&mut shared.lock().waiting);
                shared.drop_all(left.into_iter());
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = closing.cancelled() => {}
            }
            continue;
        }
        if ends {
            return;
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY), if shared.is_counting() => {}
            () = closing.cancelled() => {}
        }
    }
}

async fn append(database: &Database, entries: &[AuditEntry]) -> Result<(), DbError> {
    let append = |writer| audit::append_all(writer, entries.to_vec());
    database.write_alone(append).await
}

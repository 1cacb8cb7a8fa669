//! Entries on their way to the audit that no transaction is to wait for: denied calls, looks at
//! credentials, uses of them. Anyone can call, as often as they like: calls of one kind are added
//! up, so that a flood adds entries by the minute and not by the call, and no call waits for the
//! database.

mod looks;
mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::audit::{AuditEntry, AuditLog};
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError, is_bad_value};
use crate::foundation::randomness::Randomness;
use looks::{FirstReads, Looks, Noted};
pub use looks::{GivenToken, Look};
use tally::Tally;
pub use tally::{Denial, DenialReason};

/// Entries that wait while the database does not take them. What comes beyond is counted and
/// dropped.
const WAITING_MAX: usize = 10_000;
/// Entries written at once.
const BATCH_MAX: usize = 100;
/// A caller can filter a list by any text.
const TARGET_MAX_CHARS: usize = 1000;
/// How long is waited for more, so that entries are written together.
const LINGER: Duration = Duration::from_millis(100);
/// How often is looked whether the minute has ended, and tried again what could not be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which reads of tokens are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditedReads {
    /// The first of each generation by each caller.
    First,
    Off,
}

/// Takes entries. Clones share one queue.
#[derive(Clone, Debug)]
pub struct AuditWriter {
    shared: Arc<Shared>,
    closing: CancellationToken,
    writer: TaskTracker,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// None: reads are not noted.
    reads: Option<FirstReads>,
    /// Wakes the writer.
    wake: Notify,
    clock: SharedClock,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    looks: Looks,
    /// Oldest first.
    waiting: Vec<AuditEntry>,
    /// Nothing is taken any more.
    closed: bool,
}

impl AuditWriter {
    /// Starts the one task that writes.
    pub fn start(
        database: Database,
        log: AuditLog,
        clock: SharedClock,
        randomness: &Randomness,
        reads: AuditedReads,
        dropped: Counter,
    ) -> Self {
        let this = Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                reads: match reads {
                    AuditedReads::First => Some(FirstReads::new(randomness)),
                    AuditedReads::Off => None,
                },
                wake: Notify::new(),
                clock,
                dropped,
            }),
            closing: CancellationToken::new(),
            writer: TaskTracker::new(),
        };
        let (shared, closing) = (this.shared.clone(), this.closing.clone());
        this.writer
            .spawn(async move { write(database, log, shared, closing).await });
        this
    }

    /// Counts a denied call. The first of its kind in a minute is written at once, the others
    /// when the minute ends.
    pub fn deny(&self, denial: Denial) {
        let shared = &self.shared;
        let Some(mut state) = shared.open() else {
            return;
        };
        // Asked for under the lock, so that no minute begins twice.
        let due = state.tally.note(denial, shared.clock.now());
        shared.write_soon(&mut state, due);
    }

    /// Counts a look at a credential or a use of it, in the same way.
    pub fn look(&self, mut look: Look, request_id: Option<String>) {
        let shared = &self.shared;
        if let Some((cut, _)) = look.target.char_indices().nth(TARGET_MAX_CHARS) {
            look.target.truncate(cut);
        }
        let Some(mut state) = shared.open() else {
            return;
        };
        let now = shared.clock.now();
        let mut due = state.looks.due(now);
        match state.looks.note(look, request_id, now) {
            Noted::Now(entry) => due.push(*entry),
            Noted::Summed => {}
            Noted::Dropped => {
                shared.dropped.inc();
            }
        }
        shared.write_soon(&mut state, due);
    }

    /// Notes who reads which token, unless that is known of this generation. What is known costs
    /// one look into memory.
    pub fn token_read(&self, read: &GivenToken<'_>, request_id: &str) {
        let shared = &self.shared;
        let Some(reads) = &shared.reads else { return };
        let digest = reads.digest(read);
        if reads.is_known(digest) {
            return;
        }
        let Some(mut state) = shared.open() else {
            return;
        };
        // Another of the same may have come before the lock.
        if !reads.is_known(digest) {
            reads.remember(digest);
            let entry = read.entry(request_id, shared.clock.now());
            shared.write_soon(&mut state, vec![entry]);
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

    /// None, and one more that is missing, where nothing is taken any more.
    fn open(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.closed {
            self.dropped.inc();
            return None;
        }
        Some(state)
    }

    fn write_soon(&self, state: &mut State, entries: Vec<AuditEntry>) {
        if !entries.is_empty() {
            self.keep(state, entries);
            self.wake.notify_one();
        }
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
            let mut due = state.tally.end();
            due.extend(state.looks.end());
            due
        } else {
            let now = self.clock.now();
            let mut due = state.tally.look(now);
            due.extend(state.looks.due(now));
            due
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
        let state = self.lock();
        !(state.tally.is_empty() && state.looks.is_empty())
    }
}

async fn write(database: Database, log: AuditLog, shared: Arc<Shared>, closing: CancellationToken) {
    loop {
        let ends = closing.is_cancelled();
        let entries = shared.take(ends);
        if !entries.is_empty() {
            match append(&database, &log, &entries).await {
                Ok(()) => continue,
                Err(DbError::Failed(error)) if is_bad_value(&error) => {
                    write_each(&database, &log, &shared, entries).await;
                    continue;
                }
                Err(error) => database.failed(&error, "writing calls to the audit"),
            }
            // It may have been written although nobody heard of it: better twice than not at all.
            shared.give_back(entries);
            if ends {
                let left = std::mem::take(&mut shared.lock().waiting);
                shared.drop_all(left.into_iter());
                return;
            }
            pause(LOOK_EVERY, &closing).await;
            continue;
        }
        if ends {
            return;
        }
        tokio::select! {
            () = shared.wake.notified() => pause(LINGER, &closing).await,
            () = tokio::time::sleep(LOOK_EVERY), if shared.is_counting() => {}
            () = closing.cancelled() => {}
        }
    }
}

/// Writes entries one by one, so that one that the database refuses keeps back no other. That one is
/// counted as missing.
async fn write_each(
    database: &Database,
    log: &AuditLog,
    shared: &Shared,
    entries: Vec<AuditEntry>,
) {
    let mut entries = entries.into_iter();
    while let Some(entry) = entries.next() {
        match append(database, log, std::slice::from_ref(&entry)).await {
            Ok(()) => {}
            Err(DbError::Failed(error)) if is_bad_value(&error) => {
                tracing::error!(
                    name: "audit.entry_refused",
                    "the database refuses an entry of the audit, which is missing there"
                );
                shared.drop_all(std::iter::once(entry));
            }
            Err(error) => {
                database.failed(&error, "writing calls to the audit");
                shared.give_back(std::iter::once(entry).chain(entries).collect());
                return;
            }
        }
    }
}

async fn pause(length: Duration, closing: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = closing.cancelled() => {}
    }
}

async fn append(
    database: &Database,
    log: &AuditLog,
    entries: &[AuditEntry],
) -> Result<(), DbError> {
    database
        .write(|transaction, _| {
            Box::pin(async move { Ok(log.append(transaction, entries.to_vec()).await?) })
        })
        .await
}

//! Denied calls on their way to the audit. Anyone can be denied, as often as they like:
//! what they cause here is bounded, and never waits for the database.

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::audit::{self, AuditEntry};
use crate::foundation::database::Database;

/// Entries that wait to be written; more are counted and dropped.
const WAITING_MAX: usize = 1000;
/// Entries written at once.
const BATCH_MAX: usize = 100;
/// Longer paths are cut.
const TARGET_MAX_CHARS: usize = 1000;

#[derive(Clone, Debug)]
pub struct Denials {
    waiting: Sender<AuditEntry>,
    dropped: Counter,
    closing: CancellationToken,
    writer: TaskTracker,
}

impl Denials {
    /// Starts the one task that writes.
    pub fn start(database: Database, dropped: Counter) -> Self {
        let (waiting, receiver) = mpsc::channel(WAITING_MAX);
        let denials = Self {
            waiting,
            dropped,
            closing: CancellationToken::new(),
            writer: TaskTracker::new(),
        };
        let closing = denials.closing.clone();
        denials
            .writer
            .spawn(async move { write(database, receiver, closing).await });
        denials
    }

    pub fn note(&self, mut entry: AuditEntry) {
        if let Some((cut, _)) = entry.target.char_indices().nth(TARGET_MAX_CHARS) {
            entry.target.truncate(cut);
        }
        if self.waiting.try_send(entry).is_err() {
            self.dropped.inc();
        }
    }

    /// Writes what waits, and ends.
    pub async fn close(&self) {
        self.closing.cancel();
        self.writer.close();
        self.writer.wait().await;
    }
}

async fn write(database: Database, mut receiver: Receiver<AuditEntry>, closing: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        let received = tokio::select! {
            received = receiver.recv_many(&mut batch, BATCH_MAX) => received,
            () = closing.cancelled() => {
                receiver.close();
                receiver.recv_many(&mut batch, WAITING_MAX).await
            }
        };
        if received == 0 {
            return;
        }
        let entries = std::mem::take(&mut batch);
        let written = database
            .write_alone(|writer| audit::append_all(writer, entries.clone()))
            .await;
        if let Err(error) = written {
            database.failed(&error, "writing denied calls to the audit");
        }
    }
}

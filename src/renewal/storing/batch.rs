//! Many results in one transaction: while one is committed, those that come meanwhile gather
//! for the next. What stands in the way of one of them holds up no other: rows that somebody
//! else is changing are left out, and whatever could not be stored so is stored alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::new::NewResult;
use super::transaction::store_in;
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::Generation;
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::renewal::background::Background;
use crate::token::claim::Claimed;
use crate::token::locked::Busy;

/// Results in one transaction: its locks are held for a moment only.
const RESULTS_MAX: usize = 64;

struct Result {
    claimed: Arc<Claimed>,
    new: NewResult,
    stored: oneshot::Sender<Option<Generation>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Result>,
    /// Somebody stores what waits.
    stored: bool,
}

struct Ended<'a>(&'a BatchWriter);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            queue.stored = false;
            // Who waits is told by the end of its sender, and stores alone.
            queue.waiting.clear();
        }
    }
}

/// Stores results together.
pub(super) struct BatchWriter {
    database: Database,
    clock: SharedClock,
    ring: Arc<KeyRing>,
    randomness: Randomness,
    metrics: Arc<Metrics>,
    background: Background,
    queue: Mutex<Queue>,
}

impl BatchWriter {
    pub(super) fn new(
        database: Database,
        clock: SharedClock,
        ring: Arc<KeyRing>,
        randomness: Randomness,
        metrics: Arc<Metrics>,
        background: Background,
    ) -> Self {
        Self {
            database,
            clock,
            ring,
            randomness,
            metrics,
            background,
            queue: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a result with those of other attempts. None where it must be stored alone,
    /// whatever the reason.
    pub(super) async fn store_among_others(
        self: &Arc<Self>,
        claimed: &Arc<Claimed>,
        new: &NewResult,
    ) -> Option<Generation> {
        let (told, stored) = oneshot::channel();
        let result = Result {
            claimed: claimed.clone(),
            new: new.clone(),
            stored: told,
        };
        let nobody_stores = {
            let mut queue = self.lock();
            queue.waiting.push(result);
            !std::mem::replace(&mut queue.stored, true)
        };
        if nobody_stores {
            let writer = self.clone();
            self.background
                .spawn(async move { writer.store_what_waits().await });
        }
        self.metrics.results_waiting.inc();
        let stored = stored.await;
        self.metrics.results_waiting.dec();
        stored.ok()?
    }

    async fn store_what_waits(&self) {
        // Should it panic, the next result is not left to wait for it.
        let _ended = Ended(self);
        loop {
            let batch: Vec<Result> = {
                let mut queue = self.lock();
                let count = queue.waiting.len().min(RESULTS_MAX);
                if count == 0 {
                    // Before the lock is free: whoever comes then stores again.
                    queue.stored = false;
                    return;
                }
                queue.waiting.drain(..count).collect()
            };
            let stored = self.store_batch(&batch).await.unwrap_or_else(|error| {
                tracing::debug!(%error, results = batch.len(), "results are stored one by one");
                vec![None; batch.len()]
            });
            for (result, generation) in batch.into_iter().zip(stored) {
                // Who has gone meanwhile finds it in the database.
                let _ = result.stored.send(generation);
            }
        }
    }

    async fn store_batch(
        &self,
        batch: &[Result],
    ) -> std::result::Result<Vec<Option<Generation>>, DbError> {
        let now = self.clock.now();
        let stored = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let results: Vec<_> = batch
                        .iter()
                        .map(|result| (&*result.claimed, &result.new))
                        .collect();
                    let with = (&*self.ring, &self.randomness);
                    let busy = Busy::LeaveOut;
                    let stored = store_in(transaction, &results, busy, now, with).await?;
                    Ok::<_, DbError>(stored)
                })
            })
            .await?;
        self.metrics.result_transactions.inc();
        Ok(stored)
    }
}

//! Many results in one transaction: while one is committed, those that come meanwhile gather
//! for the next. What stands in the way of one of them holds up no other: rows that somebody
//! else is changing are left out, and whatever could not be stored so is stored alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::result::NewResult;
use crate::foundation::database::DbError;
use crate::foundation::ids::Generation;
use crate::renewal::Renewals;
use crate::token::lease::Claimed;
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

/// Results on their way to the database.
#[derive(Default)]
pub(in crate::renewal) struct Batch(Mutex<Queue>);

impl Batch {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ended<'a>(&'a Batch);

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

impl Renewals {
    /// Stores a result with those of other attempts. None where it must be stored alone,
    /// whatever the reason.
    pub(super) async fn store_among_others(
        &self,
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
            let mut queue = self.batch.lock();
            queue.waiting.push(result);
            !std::mem::replace(&mut queue.stored, true)
        };
        if nobody_stores {
            let renewals = self.clone();
            self.tasks
                .spawn(async move { renewals.store_what_waits().await });
        }
        self.metrics.results_waiting.inc();
        let stored = stored.await;
        self.metrics.results_waiting.dec();
        stored.ok()?
    }

    async fn store_what_waits(&self) {
        // Should it panic, the next result is not left to wait for it.
        let _ended = Ended(&self.batch);
        loop {
            let batch: Vec<Result> = {
                let mut queue = self.batch.lock();
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
                    self.store_in(transaction, &results, Busy::LeaveOut, now)
                        .await
                })
            })
            .await?;
        self.metrics.result_transactions.inc();
        Ok(stored)
    }
}

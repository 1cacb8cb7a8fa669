//! Stores what an attempt brought, under the fence it was claimed with.

mod batch;
mod failure;
mod result;
mod token;

pub(super) use batch::Batch;
pub(super) use failure::FailedAttempt;

use std::pin::pin;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::Renewals;
use super::attempt::{Attempted, Cause};
use super::history::Entry;
use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::database::DbError;
use crate::token::candidate::Candidate;
use crate::token::lease::{self, Claimed};
use crate::token::{Column, HeldRefresh, Waiting, results, seal};
use crate::upstream::ObtainedRefresh;

/// A commit that takes longer is not waited for before the spool is written.
const SPOOLED_AFTER: Duration = Duration::from_millis(500);

impl Renewals {
    /// A result is not thrown away because the database hiccups: as long as the lease
    /// lasts, nobody else will fetch one. At the first hiccup, or when the database takes
    /// its time, what must not be lost is written to the spool.
    async fn until_lease_ends<T, Fut>(
        &self,
        claimed: &Claimed,
        candidate: Option<&Candidate>,
        mut store: impl FnMut() -> Fut,
    ) -> Result<T, DbError>
    where
        Fut: Future<Output = Result<T, DbError>>,
    {
        let mut spooled = false;
        {
            let mut first = pin!(store());
            let stored = match tokio::time::timeout(SPOOLED_AFTER, &mut first).await {
                Ok(stored) => stored,
                Err(_elapsed) => {
                    if let Some(candidate) = candidate {
                        spooled = self.spool(candidate).await;
                    }
                    first.await
                }
            };
            match stored {
                Ok(stored) => return Ok(stored),
                Err(error) => {
                    tracing::warn!(%error, "a result could not be stored; it is tried again");
                }
            }
        }
        if let Some(candidate) = candidate.filter(|_| !spooled) {
            self.spool(candidate).await;
        }
        store
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(50))
                    .with_max_delay(Duration::from_secs(1))
                    .without_max_times()
                    .with_jitter(),
            )
            .when(|_| self.clock.now() < claimed.until)
            .await
    }

    /// Gives the lease back until what must come first has come.
    pub(super) async fn store_waiting(&self, claimed: &Claimed, waiting: Waiting) -> Attempted {
        let record = &claimed.record;
        let (now, again) = (self.clock.now(), self.waits_until(&waiting));
        tracing::debug!(
            realm = %record.realm, key = %record.key, why = %waiting.why, "waits"
        );
        let new = &waiting;
        let stored = self
            .database
            .write(|transaction, _| {
                Box::pin(results::store_waiting(
                    transaction,
                    claimed,
                    new,
                    again,
                    now,
                ))
            })
            .await;
        match stored {
            Ok(true) => Attempted::Waiting(waiting),
            Ok(false) => {
                self.give_back(claimed).await;
                Attempted::Discarded
            }
            Err(error) => {
                tracing::error!(%error, "what a token waits for could not be stored");
                self.give_back(claimed).await;
                Attempted::Unstored
            }
        }
    }

    /// A refresh token, as it is stored.
    pub(super) fn seal_refresh(&self, claimed: &Claimed, refresh: &ObtainedRefresh) -> HeldRefresh {
        let id = claimed.record.secret_id;
        HeldRefresh {
            sealed: seal(id, Column::RefreshToken, &refresh.token, &self.ring),
            expires_at: refresh.expires_at,
            obtained_at: refresh.requested_at,
        }
    }

    fn entry(&self, claimed: &Claimed, cause: Cause, started_at: EpochMs, took: Ms) -> Entry {
        Entry {
            realm: claimed.record.realm.clone(),
            key: claimed.record.key.clone(),
            attempt: claimed.attempt.clone(),
            cause: cause.as_str(),
            started_at,
            took,
            replica: self.replica.clone(),
        }
    }

    /// A report is beyond its budget.
    pub(super) async fn refuse_report(&self, claimed: &Claimed) {
        let released = self
            .database
            .write(|transaction, _| Box::pin(lease::refuse_report(transaction, claimed)))
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "a lease could not be given back; it runs out by itself");
        }
    }

    pub(super) async fn give_back(&self, claimed: &Claimed) {
        let released = self
            .database
            .write(|transaction, _| Box::pin(lease::release(transaction, claimed)))
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "a lease could not be given back; it runs out by itself");
        }
    }
}

//! Stores what an attempt brought, under the fence it was claimed with.

mod batch;
mod failure;
mod new;
mod token;
mod transaction;
mod writer;

use std::sync::Arc;

use super::background::Background;
use super::candidates::PairKeeper;
use super::cause::RenewalCause;
use super::decide::Backoff;
use super::history::RenewalEntry;
use super::outcome::Attempted;
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::ReplicaId;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::memory::Memory;
use crate::ticket;
use crate::token::claim::Claimed;
use crate::token::lease;
use crate::token::results::StoredWait;
use crate::token::{
    AwaitedTicket, HeldRefresh, SealedPart, TokenRecord, Wait, Waiting, results, seal, store,
};
use crate::upstream::{ObtainedRefresh, Upstream};
pub(super) use failure::FailedAttempt;
pub(super) use writer::{ResultWriter, ResultWriterParts};

/// How long what waits for its parent waits before it looks again by itself.
const PARENT_WAIT: (Ms, Ms) = (Ms::from_secs(5), Ms::from_secs(10));

/// The same for a ticket, or for a parent that is not registered.
const LONG_WAIT: (Ms, Ms) = (Ms::from_secs(30), Ms::from_secs(60));

/// The same for a place in a quota, which somebody may give back before the window says.
const QUOTA_WAIT: (Ms, Ms) = (Ms::from_secs(300), Ms::from_secs(600));

/// What of the limits of renewal decides over what is stored.
pub(super) struct StoreLimits {
    pub backoff: Backoff,
    /// Failures in a row that the webhook is told of; none: there is no webhook.
    pub failing_after: Option<i64>,
    /// A parent that was just renewed is not replaced.
    pub min_flush_interval: Ms,
}

/// What a [`ResultStore`] can touch.
pub(super) struct ResultStoreParts {
    pub database: Database,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub replica: ReplicaId,
    pub ring: Arc<KeyRing>,
    pub memory: Memory,
    pub upstream: Arc<Upstream>,
    pub pairs: Arc<PairKeeper>,
    pub background: Background,
    pub limits: StoreLimits,
    pub writer: ResultWriter,
}

/// Stores what attempts brought.
pub(super) struct ResultStore {
    parts: ResultStoreParts,
}

impl ResultStore {
    pub(super) fn new(parts: ResultStoreParts) -> Self {
        Self { parts }
    }

    /// When what waits looks again by itself. Where it waits for a parent in trouble, not
    /// before that one is tried again: its token would wake it.
    fn waits_until(&self, waiting: &Waiting) -> EpochMs {
        let now = self.parts.clock.now();
        let ((low, high), tried) = match &waiting.until {
            Wait::Candidate(until) => return (*until).max(now),
            Wait::OtherServer(due) => return *due,
            Wait::Quota(until) => {
                let wait = self
                    .parts
                    .randomness
                    .between(QUOTA_WAIT.0.0, QUOTA_WAIT.1.0);
                return (*until).min(now.plus(Ms(wait))).max(now);
            }
            Wait::Parent(parent) => (PARENT_WAIT, parent.not_before),
            Wait::Registration | Wait::Ticket(_) => (LONG_WAIT, None),
        };
        let wait = Ms(self.parts.randomness.between(low.0, high.0));
        tried.unwrap_or(now).max(now).plus(wait)
    }

    /// Gives the lease back until what must come first has come.
    pub(super) async fn store_waiting(&self, claimed: &Claimed, waiting: Waiting) -> Attempted {
        let record = &claimed.record;
        let (now, again) = (self.parts.clock.now(), self.waits_until(&waiting));
        tracing::debug!(
            realm = %record.realm, key = %record.key, why = %waiting.why, "waits"
        );
        let new = &waiting;
        let stored = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let waits = results::store_waiting(transaction, claimed, new, again, now);
                    Ok::<_, DbError>(waits.await?)
                })
            })
            .await;
        match stored {
            Ok(Some(StoredWait::Over)) => Attempted::HasCome(waiting),
            Ok(Some(StoredWait::Waits)) => match &waiting.until {
                Wait::Ticket(awaited) if self.wake_if_pushed(record, awaited).await => {
                    Attempted::HasCome(waiting)
                }
                _ => Attempted::Waiting(waiting),
            },
            Ok(None) => {
                self.give_back(claimed).await;
                Attempted::Discarded
            }
            Err(error) => {
                tracing::error!(
                    name: "renewal.waiting_not_stored",
                    %error, "what a token waits for could not be stored"
                );
                self.give_back(claimed).await;
                Attempted::Unstored
            }
        }
    }

    /// A ticket that came since it was looked for has woken whoever waited by then. Answers whether
    /// there is one.
    async fn wake_if_pushed(&self, record: &TokenRecord, awaited: &AwaitedTicket) -> bool {
        let now = self.parts.clock.now();
        let woken = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let sent =
                        ticket::store::lock_valid(transaction, &record.realm, &awaited.app_id, now);
                    let has_come = sent.await?.filter(|sent| Some(*sent) != awaited.seen);
                    if has_come.is_some() {
                        store::wake_waiting(transaction, &[record.secret_id], now).await?;
                    }
                    Ok::<_, DbError>(has_come.is_some())
                })
            })
            .await;
        let has_come = woken.unwrap_or_else(|error| {
            tracing::warn!(
                name: "ticket.not_looked_up",
                %error, "whether a ticket has come could not be looked up: it is looked for again soon"
            );
            false
        });
        if has_come {
            self.parts.background.wake();
        }
        has_come
    }

    /// A refresh token, as it is stored.
    pub(super) fn seal_refresh(&self, claimed: &Claimed, refresh: &ObtainedRefresh) -> HeldRefresh {
        let id = claimed.record.secret_id;
        HeldRefresh {
            sealed: seal(
                id,
                SealedPart::RefreshToken,
                &refresh.token,
                &self.parts.ring,
            ),
            expires_at: refresh.expires_at,
            obtained_at: refresh.requested_at,
        }
    }

    fn entry(
        &self,
        claimed: &Claimed,
        cause: RenewalCause,
        started_at: EpochMs,
        took: Ms,
    ) -> RenewalEntry {
        RenewalEntry {
            realm: claimed.record.realm.clone(),
            key: claimed.record.key.clone(),
            attempt: claimed.attempt.clone(),
            cause: cause.as_str(),
            started_at,
            took,
            replica: self.parts.replica.clone(),
        }
    }

    /// A report is beyond its budget.
    pub(super) async fn refuse_report(&self, claimed: &Claimed) {
        let released = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    Ok::<_, DbError>(lease::refuse_report(transaction, claimed).await?)
                })
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(
                name: "lease.not_given_back",
                %error, "a lease could not be given back; it runs out by itself"
            );
        }
    }

    pub(super) async fn give_back(&self, claimed: &Claimed) {
        let released = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(
                    async move { Ok::<_, DbError>(lease::release(transaction, claimed).await?) },
                )
            })
            .await;
        if let Err(error) = released {
            tracing::warn!(
                name: "lease.not_given_back",
                %error, "a lease could not be given back; it runs out by itself"
            );
        }
    }
}

//! What a provider issued is never dropped: a pair that could not be stored under its
//! fence is kept as a candidate, on the disk first where the database fails.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sea_orm::{DatabaseTransaction, DbErr};
use tracing::Instrument;

use super::background::Background;
use super::cause::RenewalCause;
use super::history::{self, Ended, RenewalEntry, RenewalOutcome};
use super::spool::Spool;
use crate::foundation::clock::{EpochMs, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{AttemptId, ReplicaId, SecretId};
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::foundation::seldom::Seldom;
use crate::memory::Memory;
use crate::token::candidate::{self, Candidate, Promotion};
use crate::token::store;
use crate::webhook::event;

/// How long an attempt waits for its pair to be kept, before that goes on without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a [`PairKeeper`] can touch.
pub(super) struct PairKeeperParts {
    pub database: Database,
    pub clock: SharedClock,
    pub ring: Arc<KeyRing>,
    pub randomness: Randomness,
    pub replica: ReplicaId,
    pub memory: Memory,
    pub spool: Option<Spool>,
    pub background: Background,
}

/// Keeps pairs that are not stored under their lease: in the database, on the disk until then.
pub(super) struct PairKeeper {
    parts: PairKeeperParts,
    /// Attempts whose result is not in the database yet, and is brought later.
    unkept: Mutex<HashSet<AttemptId>>,
    respooled: Mutex<Respooled>,
}

/// The spool, sealed anew.
#[derive(Default)]
struct Respooled {
    /// The key that all of it was sealed with.
    with: Option<String>,
    failures: Seldom,
}

impl PairKeeper {
    pub(super) fn new(parts: PairKeeperParts) -> Self {
        Self {
            parts,
            unkept: Mutex::default(),
            respooled: Mutex::default(),
        }
    }

    /// Writes a pair that is not in the database yet to the spool, so that it outlives this
    /// process: what is on the disk is brought by the next start, whatever comes. False where
    /// it is in memory only.
    pub(super) async fn spool(&self, candidate: &Candidate) -> bool {
        self.lock_unkept().insert(candidate.attempt.clone());
        let Some(spool) = self.parts.spool.clone() else {
            return false;
        };
        let (pair, ring) = (candidate.clone(), self.parts.ring.clone());
        match on_disk(move || spool.put(&pair, &ring)).await {
            Ok(()) => {
                tracing::warn!(
                    name: "spool.waiting",
                    attempt = candidate.attempt.0,
                    "an issued token that is not stored yet waits in the spool"
                );
                true
            }
            Err(error) => {
                tracing::error!(
                    name: "spool.write_failed",
                    %error, attempt = candidate.attempt.0,
                    "an issued token could not be written to the spool; it is in memory only"
                );
                false
            }
        }
    }

    /// Notes what only a later start can bring: until then its lease, and the refresh token that
    /// was used for it, are left alone.
    pub(super) fn stays_in_spool(&self, attempt: AttemptId) {
        self.lock_unkept().insert(attempt);
    }

    /// What was in hand is in the database.
    pub(super) async fn kept(&self, attempt: &AttemptId) {
        if !self.lock_unkept().remove(attempt) {
            return;
        }
        let Some(spool) = self.parts.spool.clone() else {
            return;
        };
        let name = attempt.clone();
        if let Err(error) = on_disk(move || spool.remove(&name)).await {
            tracing::warn!(
                name: "spool.file_not_removed",
                %error, attempt = attempt.0, "a file of the spool could not be removed"
            );
        }
    }

    /// Keeps a pair that the fence refused, or that the database did not take in time. Goes
    /// on in the background until it is kept; waits for that only a moment.
    pub(super) async fn keep(self: &Arc<Self>, candidate: Candidate) -> Option<Promotion> {
        let keeper = self.clone();
        let keeping = async move { keeper.keep_at_last(candidate).await };
        let keeping = self.parts.background.spawn(keeping.in_current_span());
        let kept = tokio::time::timeout(PATIENCE, keeping).await;
        kept.ok()?.ok()?
    }

    /// None where the server stopped before the database took it; the spool has it then.
    async fn keep_at_last(&self, candidate: Candidate) -> Option<Promotion> {
        let kept = match self.keep_once(&candidate).await {
            Ok(promotion) => Ok(promotion),
            Err(error) => {
                tracing::warn!(
                    name: "spool.kept_later",
                    %error, attempt = candidate.attempt.0, "a token is kept later"
                );
                let spooled = self.spool(&candidate).await;
                let again = || self.keep_once(&candidate);
                again
                    .retry(
                        ExponentialBuilder::default()
                            .with_min_delay(Duration::from_millis(100))
                            .with_max_delay(Duration::from_secs(2))
                            .without_max_times()
                            .with_jitter(),
                    )
                    .when(|_| !(spooled && self.parts.background.is_stopping()))
                    .await
            }
        };
        match kept {
            Ok(promotion) => {
                self.is_kept(&candidate.attempt, candidate.secret, promotion)
                    .await;
                Some(promotion)
            }
            Err(error) => {
                tracing::warn!(
                    name: "spool.kept_for_next_start",
                    %error, "a token stays in the spool until the next start"
                );
                None
            }
        }
    }

    /// A pair that could not be stored under its lease is in the database.
    pub(super) async fn is_kept(&self, attempt: &AttemptId, id: SecretId, promotion: Promotion) {
        self.parts.memory.changed(id);
        self.kept(attempt).await;
        self.parts.background.wake();
        tracing::info!(
            name: "renewal.kept",
            attempt = attempt.0,
            promotion = promotion.as_str(),
            "a token that could not be stored under its lease is kept"
        );
    }

    async fn keep_once(&self, candidate: &Candidate) -> Result<Promotion, DbError> {
        let now = self.parts.clock.now();
        self.parts
            .database
            .write(|transaction, _| {
                Box::pin(async move { Ok(self.keep_in(transaction, candidate, now).await?) })
            })
            .await
    }

    /// Keeps a pair, and notes in the history where it became the token.
    pub(super) async fn keep_in(
        &self,
        transaction: &DatabaseTransaction,
        candidate: &Candidate,
        now: EpochMs,
    ) -> Result<Promotion, DbErr> {
        let before = store::find_by_id(transaction, candidate.secret).await?;
        // Another key may seal since it was sealed.
        let resealed = candidate.resealed(&self.parts.ring);
        let candidate = resealed.as_ref().unwrap_or(candidate);
        let promotion = candidate::keep(transaction, candidate, &self.parts.ring, now).await?;
        if let (Some(record), Some(token), Promotion::Token(generation)) =
            (before, &candidate.token, promotion)
        {
            let held = &token.held;
            if let Some(recovered) = event::of_recovery(&record, held.payload.expiry) {
                let told = [(recovered, &record)];
                event::append(transaction, &told, &self.parts.randomness, now).await?;
            }
            let entry = RenewalEntry {
                realm: record.realm.clone(),
                key: record.key.clone(),
                attempt: candidate.attempt.clone(),
                cause: RenewalCause::Recovered.as_str(),
                started_at: held.obtained_at,
                took: now.since(held.obtained_at),
                replica: self.parts.replica.clone(),
            };
            let ended = Ended {
                entry: &entry,
                outcome: RenewalOutcome::Stored,
                failure: None,
                generation: Some(generation),
            };
            history::append(transaction, &[ended]).await?;
        }
        Ok(promotion)
    }

    /// What an earlier process left in the spool, and its files that cannot be read.
    pub(super) async fn left_in_spool(&self) -> (Vec<Candidate>, Vec<PathBuf>) {
        let Some(spool) = self.parts.spool.clone() else {
            return Default::default();
        };
        on_disk(move || spool.left()).await.unwrap_or_else(|error| {
            tracing::error!(name: "spool.unreadable", %error, "the spool cannot be read");
            Default::default()
        })
    }

    /// Seals the spool anew where another key seals than that which all of it was sealed with.
    pub(super) async fn reseal_spool(&self) -> std::io::Result<()> {
        let key = self.parts.ring.sealing_id().to_owned();
        let is_done = self.lock_respooled().with.as_ref() == Some(&key);
        let Some(spool) = self.parts.spool.clone().filter(|_| !is_done) else {
            return Ok(());
        };
        let ring = self.parts.ring.clone();
        let resealed = on_disk(move || spool.reseal(&ring)).await;
        let mut respooled = self.lock_respooled();
        match &resealed {
            Ok(files) => {
                if *files > 0 {
                    tracing::info!(
                        name: "spool.resealed",files, key, "the spool was sealed anew");
                }
                respooled.with = Some(key);
            }
            Err(error) => {
                if let Some(times) = respooled.failures.count(self.parts.clock.boot()) {
                    tracing::error!(
                        name: "spool.not_resealed",
                        %error, key, times,
                        "the spool cannot be sealed anew: it holds values under another key"
                    );
                }
            }
        }
        resealed.map(|_| ())
    }

    /// Keeps a pair of the spool, whose file is removed then.
    pub(super) async fn keep_spooled(self: &Arc<Self>, candidate: Candidate) {
        self.lock_unkept().insert(candidate.attempt.clone());
        self.keep(candidate).await;
    }

    /// The attempts whose result is not in the database yet.
    pub(super) fn unkept(&self) -> Vec<AttemptId> {
        self.lock_unkept().iter().cloned().collect()
    }

    fn lock_respooled(&self) -> MutexGuard<'_, Respooled> {
        self.respooled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_unkept(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(std::io::Error::other(error)),
    }
}

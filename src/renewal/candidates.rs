//! What a provider issued is never dropped: a pair that could not be stored under its
//! fence is kept as a candidate, on the disk first where the database fails.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sea_orm::{DatabaseTransaction, DbErr};
use tracing::Instrument;

use super::attempt::Cause;
use super::history::{self, Ended, Entry, Outcome};
use super::{Inner, Renewals, on_disk};
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::{AttemptId, KeyName, RealmId, SecretId};
use crate::foundation::limit::within;
use crate::token::candidate::{self, Candidate, Promotion};
use crate::token::store;
use crate::webhook::event;

/// How long an attempt waits for its pair to be kept, before that goes on without it.
const PATIENCE: Duration = Duration::from_secs(2);
/// A pair whose secret is not found by then is brought without its name in the log.
const NAMED_WITHIN: Duration = Duration::from_millis(250);

impl Renewals {
    /// Writes a pair that is not in the database yet to the spool, so that it outlives this
    /// process: what is on the disk is brought by the next start, whatever comes. False where
    /// it is in memory only.
    pub(super) async fn spool(&self, candidate: &Candidate) -> bool {
        self.lock_unkept().insert(candidate.attempt.clone());
        let Some(spool) = self.spool.clone() else {
            return false;
        };
        let pair = candidate.clone();
        match on_disk(move || spool.put(&pair)).await {
            Ok(()) => {
                tracing::warn!(
                    attempt = candidate.attempt.0,
                    "an issued token that is not stored yet waits in the spool"
                );
                true
            }
            Err(error) => {
                tracing::error!(
                    %error, attempt = candidate.attempt.0,
                    "an issued token could not be written to the spool; it is in memory only"
                );
                false
            }
        }
    }

    /// What was in hand is in the database.
    pub(super) async fn kept(&self, attempt: &AttemptId) {
        if !self.lock_unkept().remove(attempt) {
            return;
        }
        let Some(spool) = self.spool.clone() else {
            return;
        };
        let name = attempt.clone();
        if let Err(error) = on_disk(move || spool.remove(&name)).await {
            tracing::warn!(%error, attempt = attempt.0, "a file of the spool could not be removed");
        }
    }

    /// Keeps a pair that the fence refused, or that the database did not take in time. Goes
    /// on in the background until it is kept; waits for that only a moment.
    pub(super) async fn keep(&self, candidate: Candidate) -> Option<Promotion> {
        let renewals = self.clone();
        let keeping = async move { renewals.keep_at_last(candidate).await };
        let keeping = self.tasks.spawn(keeping.in_current_span());
        let kept = tokio::time::timeout(PATIENCE, keeping).await;
        kept.ok()?.ok()?
    }

    /// None where the server stopped before the database took it; the spool has it then.
    async fn keep_at_last(&self, candidate: Candidate) -> Option<Promotion> {
        let kept = match self.keep_once(&candidate).await {
            Ok(promotion) => Ok(promotion),
            Err(error) => {
                tracing::warn!(%error, attempt = candidate.attempt.0, "a token is kept later");
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
                    .when(|_| !(spooled && self.stopping.is_cancelled()))
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
                tracing::warn!(%error, "a token stays in the spool until the next start");
                None
            }
        }
    }

    /// A pair that could not be stored under its lease is in the database.
    pub(super) async fn is_kept(&self, attempt: &AttemptId, id: SecretId, promotion: Promotion) {
        self.memory.changed(id);
        self.kept(attempt).await;
        self.wake.notify_one();
        tracing::info!(
            attempt = attempt.0,
            promotion = promotion.as_str(),
            "a token that could not be stored under its lease is kept"
        );
    }

    async fn keep_once(&self, candidate: &Candidate) -> Result<Promotion, DbError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| Box::pin(self.keep_in(transaction, candidate, now)))
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
        let promotion = candidate::keep(transaction, candidate, now).await?;
        if let (Some(record), Some(token), Promotion::Token(generation)) =
            (before, &candidate.token, promotion)
        {
            let held = &token.held;
            if let Some(recovered) = event::of_recovery(&record, held.expiry) {
                let told = [(recovered, &record)];
                event::append(transaction, &told, &self.randomness, now).await?;
            }
            let entry = Entry {
                realm: record.realm.clone(),
                key: record.key.clone(),
                attempt: candidate.attempt.clone(),
                cause: Cause::Recovered.as_str(),
                started_at: held.obtained_at,
                took: now.since(held.obtained_at),
                replica: self.replica.clone(),
            };
            let ended = Ended {
                entry: &entry,
                outcome: Outcome::Stored,
                failure: None,
                generation: Some(generation),
            };
            history::append(transaction, &[ended]).await?;
        }
        Ok(promotion)
    }

    /// Brings what an earlier process left in the spool; answers how much there was. Before
    /// its leases are given back: whoever claims then finds the newest refresh token. What
    /// the database does not take now is brought in the background, and its lease is kept.
    pub async fn replay_spool(&self) -> usize {
        let Some(spool) = self.spool.clone() else {
            return 0;
        };
        let (left, unreadable) = match on_disk(move || spool.left()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                return 0;
            }
        };
        for path in unreadable {
            tracing::error!(path = %path.display(), "a file of the spool cannot be read; it stays");
        }
        let count = left.len();
        for candidate in left {
            let attempt = candidate.attempt.clone();
            let Some(candidate) = self.undamaged(candidate).await else {
                tracing::error!(
                    attempt = attempt.0,
                    "a refresh token in the spool is damaged; its file stays"
                );
                continue;
            };
            self.lock_unkept().insert(candidate.attempt.clone());
            let span = self.span_of(&candidate).await;
            self.keep(candidate).instrument(span).await;
        }
        count
    }

    /// Names the secret of a pair, where the database can be asked.
    async fn span_of(&self, candidate: &Candidate) -> tracing::Span {
        let finding = store::find_by_id(self.database.reader(), candidate.secret);
        let found = within(NAMED_WITHIN, finding).await;
        let record = found.and_then(Result::ok).flatten();
        let (realm, key) = record.map(|record| (record.realm, record.key)).unzip();
        tracing::error_span!(
            "attempt",
            realm = realm.as_ref().map(RealmId::as_str),
            key = key.as_ref().map(KeyName::as_str),
            attempt = candidate.attempt.0,
            cause = Cause::Recovered.as_str(),
        )
    }

    /// What of a pair in the spool can be opened: what was damaged there must not take the place
    /// of what is good. None where its refresh token was.
    async fn undamaged(&self, candidate: Candidate) -> Option<Candidate> {
        match self.damage_in(&candidate).await {
            Ok((true, _)) => None,
            Ok((false, true)) => Some(Candidate {
                token: None,
                ..candidate
            }),
            Ok((false, false)) => Some(candidate),
            Err(error) => {
                tracing::warn!(%error, "a token in the spool is brought as it is");
                Some(candidate)
            }
        }
    }

    /// Whether the refresh token is damaged, and whether the token is.
    async fn damage_in(&self, candidate: &Candidate) -> Result<(bool, bool), DbErr> {
        let reader = self.database.reader();
        let Some(record) = store::find_by_id(reader, candidate.secret).await? else {
            return Ok((false, false));
        };
        let refresh = match record.open_refresh(&candidate.refresh, &self.ring) {
            Ok(_) => false,
            Err(error) => self.is_damaged(&error).await?,
        };
        let mut damaged = false;
        let token = candidate.token.iter();
        for error in token.flat_map(|token| record.closed_parts(&token.held, &self.ring)) {
            damaged |= self.is_damaged(&error).await?;
        }
        Ok((refresh, damaged))
    }

    /// The attempts whose result is not in the database yet.
    pub(super) fn unkept(&self) -> Vec<AttemptId> {
        self.lock_unkept().iter().cloned().collect()
    }
}

impl Inner {
    fn lock_unkept(&self) -> MutexGuard<'_, HashSet<AttemptId>> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A failure, and when to try again.

use std::sync::Arc;

use super::ResultStore;
use super::new::{NewFailure, NewResult, Put};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::realm::failure::{Failure, FailureClass};
use crate::renewal::cause::RenewalCause;
use crate::renewal::decide::{FailureHistory, decide};
use crate::renewal::outcome::{Attempted, Opened, OpenedParent};
use crate::token::candidate::Candidate;
use crate::token::claim::Claimed;
use crate::token::claim::RefreshTokenRisk;
use crate::token::results::StoredFailure;
use crate::token::store;
use crate::upstream::ObtainedRefresh;
use crate::webhook::event;

/// An attempt that brought no token.
pub(in crate::renewal) struct FailedAttempt {
    pub started: EpochMs,
    pub failure: Failure,
    pub risk: RefreshTokenRisk,
    /// The refresh token that its answer held nevertheless.
    pub refresh: Option<ObtainedRefresh>,
}

impl FailedAttempt {
    /// One that has left the refresh token as it was.
    pub fn of(started: EpochMs, failure: Failure) -> Self {
        Self {
            started,
            failure,
            risk: RefreshTokenRisk::None,
            refresh: None,
        }
    }
}

/// What is known of a token whose attempt has failed.
fn trouble(claimed: &Claimed, failure: &Failure, now: EpochMs) -> FailureHistory {
    let record = &claimed.record;
    let refusals = record.trouble.as_ref().and_then(|trouble| trouble.refusals);
    let (before, since) = refusals.unwrap_or((0, now));
    let refused = failure.counts_as_refusal();
    let held = record.held.as_ref();
    let saved_at = claimed.secret.updated_at.max(claimed.realm.updated_at);
    FailureHistory {
        failures: record.failures() + 1,
        refusals: if refused { before + 1 } else { 0 },
        refused_for: if refused { now.since(since) } else { Ms::ZERO },
        probes: record.trouble.as_ref().map_or(0, |trouble| trouble.probes),
        since_save: held.is_none_or(|held| held.obtained_at < saved_at),
        last_life: held.and_then(|held| {
            let end = held.payload.expiry.at()?;
            Some((end, end.since(held.obtained_at)))
        }),
    }
}

impl ResultStore {
    /// The provider refused the parent's token: it is replaced, unless that was just done.
    async fn replace_parent(&self, parent: &OpenedParent) -> Result<(), DbError> {
        let now = self.parts.clock.now();
        let before = now.minus(self.parts.limits.min_flush_interval);
        let (id, refused) = (parent.id, parent.generation);
        self.parts
            .database
            .write_alone(|writer| store::replace_refused(writer, id, refused, before, now))
            .await?;
        self.parts.background.wake();
        Ok(())
    }

    pub(in crate::renewal) async fn store_failure(
        &self,
        claimed: &Arc<Claimed>,
        cause: RenewalCause,
        failed: FailedAttempt,
        opened: Option<&Opened>,
    ) -> Attempted {
        let FailedAttempt {
            started,
            failure,
            risk,
            refresh,
        } = failed;
        let refresh = refresh.map(|refresh| self.seal_refresh(claimed, &refresh));
        // The parent's token was refused: its next one ends the wait.
        let parent = opened
            .and_then(|opened| opened.parent.as_ref())
            .filter(|_| failure.class == FailureClass::InvalidToken);
        if let Some(parent) = parent
            && let Err(error) = self.replace_parent(parent).await
        {
            tracing::warn!(
                name: "renewal.parent_not_due",
                %error, "a refused parent could not be made due"
            );
        }
        let (record, now) = (&claimed.record, self.parts.clock.now());
        let trouble = trouble(claimed, &failure, now);
        let backoff = &self.parts.limits.backoff;
        let decision = decide(&failure, &trouble, backoff, now, &self.parts.randomness);
        let failure = Failure {
            class: decision.class,
            ..failure
        };
        let (failures, next_attempt) = (trouble.failures, decision.next_attempt);
        let announced = self.parts.limits.failing_after.and_then(|failing_after| {
            let attention = decision.needs_attention;
            event::of_failure(record.announced, attention, failures, failing_after)
        });
        tracing::warn!(
            name: "renewal.failed",
            realm = %record.realm, key = %record.key, cause = cause.as_str(), outcome = "failed",
            class = failure.class.as_str(), detail = %failure.detail, failures,
            duration_ms = now.since(started).0, next_attempt = %next_attempt.to_rfc3339(),
            "not renewed"
        );
        let new = NewResult::Failure(Arc::new(NewFailure {
            stored: StoredFailure {
                failure: failure.clone(),
                parent: parent.map(|parent| parent.id),
                renew_at: next_attempt,
                needs_attention: decision.needs_attention,
                risk,
                refresh: refresh.clone(),
                announced,
            },
            failures,
            entry: self.entry(claimed, cause, started, now.since(started)),
        }));
        let candidate = refresh.map(|refresh| Candidate::of(claimed, None, refresh));
        let put = self
            .parts
            .writer
            .bring(claimed, &new, candidate.as_ref())
            .await;
        match (put, candidate) {
            (Ok(Put::Stored(_)), _) => self.parts.pairs.kept(&claimed.attempt).await,
            (Ok(Put::Kept(promotion)), _) => {
                self.parts
                    .pairs
                    .is_kept(&claimed.attempt, record.secret_id, promotion)
                    .await;
                return Attempted::Discarded;
            }
            (Ok(Put::Refused), _) => return Attempted::Discarded,
            (Err(error), candidate) => {
                // The lease runs out, and whoever takes it over notes what may be lost.
                tracing::error!(
                    name: "renewal.failure_not_stored",
                    %error, "a failure could not be stored"
                );
                if let Some(candidate) = candidate {
                    self.parts.pairs.keep(candidate).await;
                }
            }
        }
        Attempted::Failed {
            failure,
            next_attempt,
        }
    }
}

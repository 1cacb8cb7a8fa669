//! A failure, and when to try again.

use std::sync::Arc;

use super::result::{NewResult, Put};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::failure::{Failure, FailureClass};
use crate::renewal::Renewals;
use crate::renewal::attempt::{Attempted, Cause, Opened};
use crate::renewal::decide::{Trouble, decide};
use crate::renewal::history::Entry;
use crate::token::TokenRecord;
use crate::token::candidate::Candidate;
use crate::token::lease::Claimed;
use crate::token::lost::Unclear;
use crate::token::results::StoredFailure;
use crate::upstream::ObtainedRefresh;
use crate::webhook::event::{self, Event};

/// A failure, ready to be stored.
pub(super) struct NewFailure {
    pub(super) stored: StoredFailure,
    /// With this one.
    failures: i64,
    pub(super) entry: Entry,
}

impl NewFailure {
    /// Whether it is the last that a token has met.
    pub(super) fn is_that_of(&self, record: &TokenRecord) -> bool {
        record.failures() == self.failures && record.renew_at == Some(self.stored.renew_at)
    }

    /// What the webhook is told of it.
    pub(super) fn event(&self) -> Option<Event<'_>> {
        let stored = &self.stored;
        Some(Event::Troubled {
            announced: stored.announced?,
            failure: &stored.failure,
            failures: self.failures,
            next_attempt: Some(stored.renew_at),
        })
    }
}

/// An attempt that brought no token.
pub(in crate::renewal) struct FailedAttempt {
    pub started: EpochMs,
    pub failure: Failure,
    pub unclear: Unclear,
    /// The refresh token that its answer held nevertheless.
    pub refresh: Option<ObtainedRefresh>,
}

impl FailedAttempt {
    /// One that has left the refresh token as it was.
    pub fn of(started: EpochMs, failure: Failure) -> Self {
        Self {
            started,
            failure,
            unclear: Unclear::No,
            refresh: None,
        }
    }
}

/// What is known of a token whose attempt has failed.
fn trouble(claimed: &Claimed, failure: &Failure, now: EpochMs) -> Trouble {
    let record = &claimed.record;
    let refusals = record.trouble.as_ref().and_then(|trouble| trouble.refusals);
    let (before, since) = refusals.unwrap_or((0, now));
    let refused = failure.counts_as_refusal();
    let held = record.held.as_ref();
    let saved_at = claimed.secret.updated_at.max(claimed.realm.updated_at);
    Trouble {
        failures: record.failures() + 1,
        refusals: if refused { before + 1 } else { 0 },
        refused_for: if refused { now.since(since) } else { Ms::ZERO },
        probes: record.trouble.as_ref().map_or(0, |trouble| trouble.probes),
        since_save: held.is_none_or(|held| held.obtained_at < saved_at),
        last_life: held.and_then(|held| {
            let end = held.expiry.at()?;
            Some((end, end.since(held.obtained_at)))
        }),
    }
}

impl Renewals {
    pub(in crate::renewal) async fn store_failure(
        &self,
        claimed: &Arc<Claimed>,
        cause: Cause,
        failed: FailedAttempt,
        opened: Option<&Opened>,
    ) -> Attempted {
        let FailedAttempt {
            started,
            failure,
            unclear,
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
            tracing::warn!(%error, "a refused parent could not be made due");
        }
        let (record, now) = (&claimed.record, self.clock.now());
        let trouble = trouble(claimed, &failure, now);
        let backoff = &self.settings.backoff;
        let decision = decide(&failure, &trouble, backoff, now, &self.randomness);
        let failure = Failure {
            class: decision.class,
            ..failure
        };
        let (failures, next_attempt) = (trouble.failures, decision.next_attempt);
        let announced = self.settings.failing_after.and_then(|failing_after| {
            let attention = decision.needs_attention;
            event::of_failure(record.announced, attention, failures, failing_after)
        });
        tracing::warn!(
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
                unclear,
                refresh: refresh.clone(),
                announced,
            },
            failures,
            entry: self.entry(claimed, cause, started, now.since(started)),
        }));
        let candidate = refresh.map(|refresh| Candidate::of(claimed, None, refresh));
        let put = self.bring(claimed, &new, candidate.as_ref()).await;
        match (put, candidate) {
            (Ok(Put::Stored(_)), _) => self.kept(&claimed.attempt).await,
            (Ok(Put::Kept(promotion)), _) => {
                self.is_kept(&claimed.attempt, record.secret_id, promotion)
                    .await;
                return Attempted::Discarded;
            }
            (Ok(Put::Refused), _) => return Attempted::Discarded,
            (Err(error), candidate) => {
                // The lease runs out, and whoever takes it over notes what may be lost.
                tracing::error!(%error, "a failure could not be stored");
                if let Some(candidate) = candidate {
                    self.keep(candidate).await;
                }
            }
        }
        Attempted::Failed {
            failure,
            next_attempt,
        }
    }
}

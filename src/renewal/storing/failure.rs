//! A failure, and when to try again.

use sea_orm::{DatabaseTransaction, DbErr};

use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::store as realm_store;
use crate::renewal::Renewals;
use crate::renewal::attempt::{Attempted, Cause, Opened};
use crate::renewal::decide::{Trouble, decide};
use crate::renewal::history::{self, Entry, Outcome};
use crate::token::candidate::{Candidate, Promotion};
use crate::token::lease::Claimed;
use crate::token::lost::Unclear;
use crate::token::results::{self, StoredFailure};
use crate::upstream::ObtainedRefresh;
use crate::webhook::event::{self, Event};

/// A failure, ready to be stored.
struct NewFailure<'a> {
    stored: StoredFailure<'a>,
    /// With this one.
    failures: i64,
    entry: Entry,
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

/// Where a failure is, once it was brought to the database.
enum Put {
    Stored,
    /// The lease was lost, or secret or realm have changed: its refresh token is kept
    /// nevertheless.
    Kept(Promotion),
    /// Nowhere, for the same reasons.
    Refused,
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
        claimed: &Claimed,
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
        let new = NewFailure {
            stored: StoredFailure {
                failure: &failure,
                parent: parent.map(|parent| parent.id),
                renew_at: next_attempt,
                needs_attention: decision.needs_attention,
                unclear,
                refresh,
                announced,
            },
            failures,
            entry: self.entry(claimed, cause, started, now.since(started)),
        };
        let refresh = new.stored.refresh.clone();
        let candidate = refresh.map(|refresh| Candidate::of(claimed, None, refresh));
        let put = self
            .until_lease_ends(claimed, candidate.as_ref(), || {
                self.put_failure(claimed, &new, candidate.as_ref(), now)
            })
            .await;
        match (put, candidate) {
            (Ok(Put::Stored), _) => self.kept(&claimed.attempt).await,
            (Ok(Put::Kept(promotion)), _) => {
                self.is_kept(&claimed.attempt, record.secret_id, promotion)
                    .await;
                return Attempted::Discarded;
            }
            (Ok(Put::Refused), _) => {
                self.give_back_unclear(claimed, unclear).await;
                return Attempted::Discarded;
            }
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

    /// All in one transaction, as with a token: what must not be dropped is kept by the commit
    /// that finds the lease lost.
    async fn put_failure(
        &self,
        claimed: &Claimed,
        new: &NewFailure<'_>,
        candidate: Option<&Candidate>,
        now: EpochMs,
    ) -> Result<Put, DbError> {
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let stored =
                        results::store_failure(transaction, claimed, &new.stored, now).await?;
                    let failure = new.stored.failure;
                    let outcome = if stored {
                        self.follow_failure(transaction, claimed, new, now).await?;
                        Outcome::Failed
                    } else {
                        Outcome::Discarded
                    };
                    history::append(transaction, &new.entry, outcome, Some(failure), None).await?;
                    Ok(match candidate {
                        _ if stored => Put::Stored,
                        Some(candidate) => {
                            Put::Kept(self.keep_in(transaction, candidate, now).await?)
                        }
                        None => Put::Refused,
                    })
                })
            })
            .await
    }

    /// What follows from a failure that was stored: its realm may have to wait, and the webhook
    /// is told.
    async fn follow_failure(
        &self,
        transaction: &DatabaseTransaction,
        claimed: &Claimed,
        new: &NewFailure<'_>,
        now: EpochMs,
    ) -> Result<(), DbErr> {
        let (failure, record) = (new.stored.failure, &claimed.record);
        if failure.blocks_realm() {
            realm_store::block(transaction, &record.realm, new.stored.renew_at).await?;
        }
        let Some(announced) = new.stored.announced else {
            return Ok(());
        };
        let event = Event::Troubled {
            announced,
            failure,
            failures: new.failures,
            next_attempt: new.stored.renew_at,
        };
        event
            .append(transaction, record, &self.randomness, now)
            .await
    }
}

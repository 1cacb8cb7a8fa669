//! A failure, and when to try again.

use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::database::DbError;
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::store as realm_store;
use crate::renewal::Renewals;
use crate::renewal::attempt::{Attempted, Cause, Opened};
use crate::renewal::decide::next_attempt;
use crate::renewal::history::{self, Entry, Outcome};
use crate::token::lease::Claimed;
use crate::token::lost::Unclear;
use crate::token::results::{self, StoredFailure};
use crate::webhook::event::{self, Event};

/// A failure, ready to be stored.
struct NewFailure<'a> {
    stored: StoredFailure<'a>,
    /// With this one.
    failures: i64,
    entry: Entry,
}

impl Renewals {
    pub(in crate::renewal) async fn store_failure(
        &self,
        claimed: &Claimed,
        cause: Cause,
        started: EpochMs,
        failure: Failure,
        opened: Option<&Opened>,
        unclear: Unclear,
    ) -> Attempted {
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
        let failures = record.failures() + 1;
        let announced = self.settings.failing_after.and_then(|failing_after| {
            event::of_failure(record.announced, &failure, failures, failing_after)
        });
        let backoff = &self.settings.backoff;
        let next_attempt = next_attempt(&failure, failures, backoff, now, &self.randomness);
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
                unclear,
                announced,
            },
            failures,
            entry: self.entry(claimed, cause, started, now.since(started)),
        };
        let stored = self
            .until_lease_ends(claimed, None, || {
                self.store_failure_once(claimed, &new, now)
            })
            .await;
        match stored {
            Ok(true) => {}
            Ok(false) => {
                self.give_back_unclear(claimed, unclear).await;
                return Attempted::Discarded;
            }
            // The lease runs out, and whoever takes it over notes what may be lost.
            Err(error) => tracing::error!(%error, "a failure could not be stored"),
        }
        Attempted::Failed {
            failure,
            next_attempt,
        }
    }

    async fn store_failure_once(
        &self,
        claimed: &Claimed,
        new: &NewFailure<'_>,
        now: EpochMs,
    ) -> Result<bool, DbError> {
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let stored =
                        results::store_failure(transaction, claimed, &new.stored, now).await?;
                    let failure = new.stored.failure;
                    if stored && failure.blocks_realm() {
                        let until = new.stored.renew_at;
                        realm_store::block(transaction, &claimed.record.realm, until).await?;
                    }
                    if let Some(announced) = new.stored.announced.filter(|_| stored) {
                        let event = Event::Troubled {
                            announced,
                            failure,
                            failures: new.failures,
                            next_attempt: new.stored.renew_at,
                        };
                        event
                            .append(transaction, &claimed.record, &self.randomness, now)
                            .await?;
                    }
                    let outcome = if stored {
                        Outcome::Failed
                    } else {
                        Outcome::Discarded
                    };
                    history::append(transaction, &new.entry, outcome, Some(failure), None).await?;
                    Ok(stored)
                })
            })
            .await
    }
}

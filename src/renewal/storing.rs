//! Stores what an attempt brought, under the fence it was claimed with.

use std::pin::pin;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sea_orm::{ConnectionTrait, DbErr};
use secrecy::SecretString;

use super::Renewals;
use super::attempt::{Attempted, Cause, Fresh, Opened};
use super::decide::next_attempt;
use super::history::{self, Entry, Outcome};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::Generation;
use crate::realm::Source;
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::policy::Repeat;
use crate::realm::store as realm_store;
use crate::token::candidate::{Candidate, Promotion};
use crate::token::expiry::{Expiry, schedule};
use crate::token::lease::{self, Claimed, Novelty, RefreshChange, Stored, StoredFailure};
use crate::token::lost::Unclear;
use crate::token::{Column, HeldRefresh, HeldToken, Serving, TokenRecord, Waiting, seal, store};
use crate::upstream::Obtained;
use crate::webhook::event::{self, Event};

/// A commit that takes longer is not waited for before the spool is written.
const SPOOLED_AFTER: Duration = Duration::from_millis(500);

/// A token, ready to be stored.
pub(super) struct NewToken {
    stored: Stored,
    generation: Generation,
    entry: Entry,
}

impl NewToken {
    /// What must not be dropped if it cannot be stored: the refresh token before it may be
    /// used up.
    pub(super) fn candidate(&self, claimed: &Claimed) -> Option<Candidate> {
        let stored = &self.stored;
        match &stored.refresh {
            RefreshChange::Replace(refresh) => Some(Candidate::of(
                claimed,
                stored.held.clone(),
                stored.renew_at,
                refresh.clone(),
            )),
            RefreshChange::Keep | RefreshChange::Forget => None,
        }
    }
}

/// A failure, ready to be stored.
struct NewFailure<'a> {
    stored: StoredFailure<'a>,
    /// With this one.
    failures: i64,
    entry: Entry,
}

impl Renewals {
    pub(super) async fn store_token(
        &self,
        claimed: &Claimed,
        cause: Cause,
        opened: &Opened,
        obtained: Obtained,
        took: Ms,
    ) -> Attempted {
        let record = &claimed.record;
        let new = self.new_token(claimed, opened, cause, &obtained, took);
        let candidate = new.candidate(claimed);
        let stored = self
            .until_lease_ends(claimed, candidate.as_ref(), || {
                self.store_token_once(claimed, &new)
            })
            .await;
        let settled = self.settled(claimed, &new.stored.held, stored).await;
        if settled != Some(true)
            && let Some(candidate) = candidate
        {
            let promotion = self.keep(candidate).await;
            self.give_back(claimed).await;
            return match promotion {
                Some(Promotion::Token) => self.fresh_token(opened, obtained, &new),
                Some(Promotion::RefreshToken | Promotion::Superseded) => Attempted::Discarded,
                None => Attempted::Unstored,
            };
        }
        match settled {
            Some(true) => {
                self.kept(&claimed.attempt).await;
                tracing::info!(
                    realm = %record.realm, key = %record.key, cause = cause.as_str(),
                    outcome = "stored", generation = new.generation.0, duration_ms = took.0,
                    "renewed"
                );
                self.fresh_token(opened, obtained, &new)
            }
            Some(false) => {
                tracing::info!(
                    realm = %record.realm, key = %record.key, cause = cause.as_str(),
                    outcome = "discarded", duration_ms = took.0,
                    "the lease was lost, or secret or realm changed meanwhile"
                );
                self.give_back(claimed).await;
                Attempted::Discarded
            }
            None => {
                self.give_back(claimed).await;
                Attempted::Unstored
            }
        }
    }

    /// The token as it is served, to whoever waited for it.
    fn fresh_token(&self, opened: &Opened, obtained: Obtained, new: &NewToken) -> Attempted {
        let served = match (&opened.realm.source, obtained.served) {
            (_, Some(served)) => Ok(served),
            (Source::Provider(document), None) => self.upstream.served(
                document,
                &opened.secret.params,
                &obtained.token,
                &obtained.extra,
            ),
            (_, None) => Ok(obtained.token),
        };
        match served {
            Ok(token) => Attempted::Stored(Box::new(Fresh {
                token,
                token_type: obtained.token_type,
                extra: obtained.extra,
                expiry: new.stored.held.expiry,
                generation: new.generation,
            })),
            // Stored it is; each read says why it cannot be served.
            Err(failure) => {
                tracing::warn!(detail = %failure.detail, "a stored token cannot be rendered");
                Attempted::Unstored
            }
        }
    }

    pub(super) fn new_token(
        &self,
        claimed: &Claimed,
        opened: &Opened,
        cause: Cause,
        obtained: &Obtained,
        took: Ms,
    ) -> NewToken {
        let record = &claimed.record;
        let entry = self.entry(claimed, cause, obtained.requested_at, took);
        let policy = opened.realm.source.policy();
        let (novelty, expiry) = match &record.held {
            Some(held) if opened.repeats(obtained) => (
                Novelty::Repeated,
                repeated(held.expiry, obtained.expiry, policy.repeat),
            ),
            _ => (Novelty::New, obtained.expiry),
        };
        let first = record.held.is_none();
        let sent = obtained.requested_at;
        let seal = |column, plain: &SecretString| seal(record.secret_id, column, plain, &self.ring);
        let per_read = match &opened.realm.source {
            Source::Provider(document) => document.serving.as_ref().is_some_and(|s| s.per_read),
            Source::CustomLogic(_) | Source::Fixed => false,
        };
        let extra = (!obtained.extra.is_null())
            .then(|| seal(Column::Extra, &obtained.extra.to_string().into()));
        let stored = Stored {
            held: HeldToken {
                sealed: seal(Column::Token, &obtained.token),
                token_type: obtained.token_type.clone(),
                serving: match &obtained.served {
                    _ if per_read => Serving::PerRead,
                    Some(served) => Serving::Rendered(seal(Column::Served, served)),
                    None => Serving::AsItCame,
                },
                extra,
                expiry,
                obtained_at: sent,
            },
            refresh: match &obtained.refresh {
                Some(refresh) => RefreshChange::Replace(HeldRefresh {
                    sealed: seal(Column::RefreshToken, &refresh.token),
                    expires_at: refresh.expires_at,
                }),
                None if obtained.refresh_refused || opened.leaves_spent => RefreshChange::Forget,
                None => RefreshChange::Keep,
            },
            novelty,
            renew_at: expiry
                .at()
                .map(|end| schedule(sent, end, &policy, first, &self.randomness).renew_at),
        };
        NewToken {
            generation: match novelty {
                Novelty::New => Generation(record.generation.0 + 1),
                Novelty::Repeated => record.generation,
            },
            stored,
            entry,
        }
    }

    async fn store_token_once(&self, claimed: &Claimed, new: &NewToken) -> Result<bool, DbError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    lease::lock(transaction, claimed).await?;
                    let stored = lease::store_token(transaction, claimed, &new.stored, now).await?;
                    let (outcome, generation) = if stored {
                        let expiry = new.stored.held.expiry;
                        self.announce_recovery(transaction, &claimed.record, expiry, now)
                            .await?;
                        (Outcome::Stored, Some(new.generation))
                    } else {
                        (Outcome::Discarded, None)
                    };
                    history::append(transaction, &new.entry, outcome, None, generation).await?;
                    Ok(stored)
                })
            })
            .await
    }

    pub(super) async fn store_failure(
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
                    lease::lock(transaction, claimed).await?;
                    let stored =
                        lease::store_failure(transaction, claimed, &new.stored, now).await?;
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

    /// Says that a token which was in announced trouble is renewed.
    pub(super) async fn announce_recovery(
        &self,
        transaction: &impl ConnectionTrait,
        before: &TokenRecord,
        expiry: Expiry,
        now: EpochMs,
    ) -> Result<(), DbErr> {
        if before.announced.is_none() {
            return Ok(());
        }
        let expires_at = expiry.at();
        Event::Recovered { expires_at }
            .append(transaction, before, &self.randomness, now)
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
                Box::pin(async move {
                    lease::lock(transaction, claimed).await?;
                    lease::store_waiting(transaction, claimed, new, again, now).await
                })
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

    /// A result is not thrown away because the database hiccups: as long as the lease
    /// lasts, nobody else will fetch one. At the first hiccup, or when the database takes
    /// its time, what must not be lost is written to the spool.
    async fn until_lease_ends<Fut>(
        &self,
        claimed: &Claimed,
        candidate: Option<&Candidate>,
        mut store: impl FnMut() -> Fut,
    ) -> Result<bool, DbError>
    where
        Fut: Future<Output = Result<bool, DbError>>,
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

    /// Whether the token is stored; none where the database does not tell. A refusal may
    /// come from a second try after a COMMIT whose answer was lost.
    async fn settled(
        &self,
        claimed: &Claimed,
        held: &HeldToken,
        stored: Result<bool, DbError>,
    ) -> Option<bool> {
        match stored {
            Ok(true) => Some(true),
            Ok(false) => {
                let id = claimed.record.secret_id;
                let record = store::find_by_id(self.database.causal(), id).await.ok()?;
                Some(record.and_then(|record| record.held).as_ref() == Some(held))
            }
            Err(error) => {
                tracing::error!(
                    %error, realm = %claimed.record.realm, key = %claimed.record.key,
                    "a token could not be stored"
                );
                None
            }
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
        self.give_back_unclear(claimed, Unclear::No).await;
    }

    async fn give_back_unclear(&self, claimed: &Claimed, unclear: Unclear) {
        let released = self
            .database
            .write(|transaction, _| Box::pin(lease::release_unclear(transaction, claimed, unclear)))
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "a lease could not be given back; it runs out by itself");
        }
    }
}

/// Which expiry counts where a provider gave the same token again.
fn repeated(held: Expiry, obtained: Expiry, repeat: Repeat) -> Expiry {
    match repeat {
        Repeat::Keeps => held.earlier(obtained),
        Repeat::Extends => obtained,
    }
}

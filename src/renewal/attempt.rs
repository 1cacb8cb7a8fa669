//! One attempt: open what is sealed, ask the provider, store what came back.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use secrecy::{ExposeSecret, SecretString};

use super::Renewals;
use super::decide::next_attempt;
use super::history::{self, Entry, Outcome};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::Generation;
use crate::foundation::metrics::{RenewalLabels, seconds};
use crate::foundation::sealing::OpenError;
use crate::realm::Realm;
use crate::realm::failure::Failure;
use crate::realm::policy::Repeat;
use crate::realm::store as realm_store;
use crate::secret::Secret;
use crate::token::expiry::{Expiry, schedule};
use crate::token::lease::{self, Claimed, Novelty};
use crate::token::{HeldToken, TokenRecord, seal_token, store};
use crate::upstream::{Obtained, Previous};

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Scheduled,
    Read,
    Flush,
    Run,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Read => "read",
            Self::Flush => "flush",
            Self::Run => "run",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Attempted {
    /// The token, open, and its row as it now stands.
    Stored(Box<Fresh>),
    Failed(Failure),
    /// The lease was lost, or secret or realm changed meanwhile: the result is void.
    Discarded,
    /// The database failed; the result could not be stored.
    Unstored,
}

/// A token that was just stored.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub token: SecretString,
    pub token_type: Option<String>,
    pub expiry: Expiry,
    pub generation: Generation,
}

/// What an attempt needs, opened.
struct Opened {
    realm: Realm,
    secret: Secret,
    previous: Previous,
}

/// What an attempt brought, ready to be stored.
struct NewToken {
    held: HeldToken,
    novelty: Novelty,
    renew_at: Option<EpochMs>,
    generation: Generation,
    entry: Entry,
}

/// Why an attempt does not begin.
enum NotOpened {
    LeaveToOthers,
    Failed(Failure),
}

impl Renewals {
    /// Makes one attempt under a claim.
    pub(super) async fn attempt(&self, claimed: Claimed, cause: Cause) -> Attempted {
        self.metrics.in_flight.inc();
        let attempted = self.attempt_counted(&claimed, cause).await;
        self.metrics.in_flight.dec();
        let (outcome, class) = match &attempted {
            Attempted::Stored(_) => ("stored", ""),
            Attempted::Failed(failure) => ("failed", failure.class.as_str()),
            Attempted::Discarded => ("discarded", ""),
            Attempted::Unstored => ("unstored", ""),
        };
        self.metrics
            .renewals
            .get_or_create(&RenewalLabels { outcome, class })
            .inc();
        attempted
    }

    async fn attempt_counted(&self, claimed: &Claimed, cause: Cause) -> Attempted {
        let started = self.clock.now();
        let opened = match self.open(claimed) {
            Ok(opened) => opened,
            Err(NotOpened::LeaveToOthers) => {
                self.leave_to_others(claimed.record.secret_id);
                self.give_back(claimed).await;
                return Attempted::Discarded;
            }
            Err(NotOpened::Failed(failure)) => {
                return self.store_failure(claimed, cause, started, failure).await;
            }
        };
        let timeout = self.upstream.timeout(&opened.realm.source);
        if started.plus(timeout) > claimed.until {
            // The claim took so long that another replica could send, too.
            self.give_back(claimed).await;
            return Attempted::Discarded;
        }
        let before = self.clock.boot();
        let fetched = self
            .upstream
            .fetch(&opened.realm, &opened.secret, &opened.previous)
            .await;
        let took = self.clock.boot().since(before);
        self.metrics.upstream_seconds.observe(seconds(took));
        match fetched {
            Ok(obtained) => {
                self.store_token(claimed, cause, &opened, obtained, took)
                    .await
            }
            Err(failure) => self.store_failure(claimed, cause, started, failure).await,
        }
    }

    fn open(&self, claimed: &Claimed) -> Result<Opened, NotOpened> {
        let sealed = |error| match error {
            OpenError::UnknownKey(_) => NotOpened::LeaveToOthers,
            OpenError::Refused | OpenError::Malformed => {
                NotOpened::Failed(Failure::ours(format!("what is stored {error}")))
            }
        };
        let realm = Realm::from_row(claimed.realm.clone(), &self.expressions)
            .map_err(|error| NotOpened::Failed(Failure::ours(error.to_string())))?;
        let secret = Secret::open(claimed.secret.clone(), &self.ring).map_err(sealed)?;
        let held = claimed.record.held.as_ref();
        let token = held
            .map(|held| claimed.record.open_token(held, &self.ring))
            .transpose()
            .map_err(sealed)?;
        let previous = Previous {
            token,
            expires_at: held.and_then(|held| held.expiry.at()),
        };
        Ok(Opened {
            realm,
            secret,
            previous,
        })
    }

    async fn store_token(
        &self,
        claimed: &Claimed,
        cause: Cause,
        opened: &Opened,
        obtained: Obtained,
        took: Ms,
    ) -> Attempted {
        let record = &claimed.record;
        let policy = opened.realm.source.policy();
        let previous = opened.previous.token.as_ref();
        let repeated =
            previous.is_some_and(|token| token.expose_secret() == obtained.token.expose_secret());
        let (novelty, expiry) = match &record.held {
            Some(held) if repeated && policy.repeat == Repeat::Keeps => {
                (Novelty::Repeated, held.expiry.earlier(obtained.expiry))
            }
            _ if repeated => (Novelty::Repeated, obtained.expiry),
            _ => (Novelty::New, obtained.expiry),
        };
        let renew_at = expiry.at().map(|end| {
            let first = record.generation == Generation(0);
            schedule(obtained.requested_at, end, &policy, first, &self.randomness).renew_at
        });
        let held = HeldToken {
            sealed: seal_token(record.secret_id, &obtained.token, &self.ring),
            token_type: obtained.token_type.clone(),
            expiry,
            obtained_at: obtained.requested_at,
        };
        let generation = match novelty {
            Novelty::New => Generation(record.generation.0 + 1),
            Novelty::Repeated => record.generation,
        };
        let result = NewToken {
            held,
            novelty,
            renew_at,
            generation,
            entry: self.entry(claimed, cause, obtained.requested_at, took),
        };
        let stored = self.store_until_lease_ends(claimed, &result).await;
        match self.settled(claimed, &result.held, stored).await {
            Some(true) => {
                tracing::info!(
                    realm = %record.realm, key = %record.key, cause = cause.as_str(),
                    outcome = "stored", generation = generation.0, duration_ms = took.0,
                    "renewed"
                );
                Attempted::Stored(Box::new(Fresh {
                    token: obtained.token,
                    token_type: obtained.token_type,
                    expiry,
                    generation,
                }))
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
            None => Attempted::Unstored,
        }
    }

    async fn store_failure(
        &self,
        claimed: &Claimed,
        cause: Cause,
        started: EpochMs,
        failure: Failure,
    ) -> Attempted {
        let record = &claimed.record;
        let now = self.clock.now();
        let failures = record
            .trouble
            .as_ref()
            .map_or(0, |trouble| trouble.failures)
            + 1;
        let again = next_attempt(
            &failure,
            failures,
            &self.settings.backoff,
            now,
            &self.randomness,
        );
        let entry = self.entry(claimed, cause, started, now.since(started));
        let blocks_realm = failure.blocks_realm();
        let (entry, lost) = (&entry, &failure);
        let stored = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let stored =
                        lease::store_failure(transaction, claimed, lost, again, now).await?;
                    if stored && blocks_realm {
                        realm_store::block(transaction, &record.realm, again).await?;
                    }
                    let outcome = if stored {
                        Outcome::Failed
                    } else {
                        Outcome::Discarded
                    };
                    history::append(transaction, entry, outcome, Some(lost), None).await?;
                    Ok(stored)
                })
            })
            .await;
        tracing::warn!(
            realm = %record.realm, key = %record.key, cause = cause.as_str(), outcome = "failed",
            class = failure.class.as_str(), detail = %failure.detail, failures,
            duration_ms = now.since(started).0, next_attempt = %again.to_rfc3339(),
            "not renewed"
        );
        match stored {
            Ok(true) => Attempted::Failed(failure),
            Ok(false) => {
                self.give_back(claimed).await;
                Attempted::Discarded
            }
            Err(error) => {
                tracing::error!(%error, "a failure could not be stored");
                Attempted::Failed(failure)
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

    /// A token in hand is not thrown away because the database hiccups: as long as the
    /// lease lasts, nobody else will fetch one.
    async fn store_until_lease_ends(
        &self,
        claimed: &Claimed,
        new: &NewToken,
    ) -> Result<bool, DbError> {
        let lease_lasts = || self.clock.now() < claimed.until;
        (|| self.store_once(claimed, new))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(50))
                    .with_max_delay(Duration::from_secs(1))
                    .without_max_times()
                    .with_jitter(),
            )
            .when(|_| lease_lasts())
            .await
    }

    async fn store_once(&self, claimed: &Claimed, new: &NewToken) -> Result<bool, DbError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let stored = lease::store_token(
                        transaction,
                        claimed,
                        &new.held,
                        new.novelty,
                        new.renew_at,
                        now,
                    )
                    .await?;
                    let (outcome, generation) = if stored {
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
                let record = self.reload(claimed).await?;
                Some(record.held.as_ref() == Some(held))
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

    async fn reload(&self, claimed: &Claimed) -> Option<TokenRecord> {
        store::find_by_id(self.database.reader(), claimed.record.secret_id)
            .await
            .ok()
            .flatten()
    }

    async fn give_back(&self, claimed: &Claimed) {
        let released = self
            .database
            .write(|transaction, _| Box::pin(lease::release(transaction, claimed)))
            .await;
        if let Err(error) = released {
            tracing::warn!(%error, "a lease could not be given back; it runs out by itself");
        }
    }
}

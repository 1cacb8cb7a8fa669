//! One attempt: open what is sealed, ask the provider, have stored what came back.

use secrecy::{ExposeSecret, SecretString};

use super::Renewals;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::ids::Generation;
use crate::foundation::metrics::{RenewalLabels, seconds};
use crate::foundation::sealing::OpenError;
use crate::realm::Realm;
use crate::realm::failure::Failure;
use crate::realm::policy::Repeat;
use crate::secret::Secret;
use crate::token::expiry::Expiry;
use crate::token::lease::Claimed;
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
    Failed {
        failure: Failure,
        /// When the next attempt is due.
        next_attempt: EpochMs,
    },
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
pub(super) struct Opened {
    pub realm: Realm,
    secret: Secret,
    previous: Previous,
}

impl Opened {
    /// Whether the provider gave the token again that is stored already.
    pub(super) fn repeats(&self, obtained: &Obtained) -> bool {
        let previous = self.previous.token.as_ref();
        previous.is_some_and(|token| token.expose_secret() == obtained.token.expose_secret())
    }
}

/// A repeated token whose kept expiry has passed is no success: it could never be served,
/// and asking again at once would only bring it again.
fn refuse_dead_repeat(
    claimed: &Claimed,
    opened: &Opened,
    obtained: Obtained,
) -> Result<Obtained, Failure> {
    let keeps = opened.realm.source.policy().repeat == Repeat::Keeps;
    let held = claimed.record.held.as_ref();
    let dead = held.is_some_and(|held| !held.is_valid(obtained.requested_at));
    if keeps && dead && opened.repeats(&obtained) {
        return Err(Failure::transient(
            "the provider repeated a token that has expired; if asking again prolongs it, set policy.repeat to extends",
        ));
    }
    Ok(obtained)
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
            Attempted::Failed { failure, .. } => ("failed", failure.class.as_str()),
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
        match fetched.and_then(|obtained| refuse_dead_repeat(claimed, &opened, obtained)) {
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
}

//! One attempt: open what is sealed, ask the provider, have stored what came back.

use std::sync::Arc;

use sea_orm::DbErr;
use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;

use super::damage::Remedy;
use super::inputs::OpenedParent;
use super::quota::Spent;
use super::refresh::RefreshInput;
use super::refusal::Asked;
use super::storing::FailedAttempt;
use super::{BEGINS_WITHIN, Renewals};
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::Generation;
use crate::foundation::metrics::seconds;
use crate::foundation::sealing::OpenError;
use crate::realm::failure::Failure;
use crate::realm::policy::Repeat;
use crate::realm::{Realm, Source};
use crate::secret::Secret;
use crate::token::expiry::Expiry;
use crate::token::lease::Claimed;
use crate::token::lost::Unclear;
use crate::token::{Wait, Waiting};
use crate::upstream::{FetchError, Inputs, Obtained, ObtainedRefresh, Previous};

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Scheduled,
    Read,
    Flush,
    Run,
    /// A caller said that the provider refused the token.
    Report,
    /// Nobody's: what an earlier attempt obtained was found.
    Recovered,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Read => "read",
            Self::Flush => "flush",
            Self::Run => "run",
            Self::Report => "report",
            Self::Recovered => "recovered",
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
    /// Something must come first; it was made due.
    Waiting(Waiting),
    /// A caller wished for more than the provider's quota leaves; nothing was sent.
    Spent(Spent),
    /// This server has not the key that something is sealed with; others may have it.
    Sealed(OpenError),
    /// The lease was lost, or secret or realm changed meanwhile: the result is void.
    Discarded,
    /// The database failed; the result could not be stored.
    Unstored,
}

/// A token that was just stored.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// As it is served.
    pub token: SecretString,
    pub token_type: Option<String>,
    pub extra: serde_json::Value,
    pub expiry: Expiry,
    pub generation: Generation,
}

/// What an attempt needs, opened.
pub(super) struct Opened {
    pub realm: Arc<Realm>,
    pub secret: Secret,
    pub previous: Previous,
    /// The request uses up a refresh token.
    pub uses_refresh_token: bool,
    /// The stored refresh token is of no use: it may be used up and is not tried again, or it is
    /// damaged.
    pub forgets_refresh: bool,
    /// What is used instead of a damaged refresh token.
    pub instead: Option<ObtainedRefresh>,
    /// Where the token is derived from another.
    pub parent: Option<OpenedParent>,
}

impl Opened {
    /// Whether the provider gave the token again that is stored already.
    pub(super) fn repeats(&self, obtained: &Obtained) -> bool {
        let previous = self.previous.inputs.token.as_ref();
        previous.is_some_and(|token| token.expose_secret() == obtained.token.expose_secret())
    }

    /// What a failure leaves unknown of the refresh token.
    fn unclear_after(&self, error: &FetchError) -> Unclear {
        if self.uses_refresh_token && error.failure.is_unclear() && error.refresh.is_none() {
            Unclear::Lost
        } else {
            Unclear::No
        }
    }
}

/// A repeated token whose kept expiry has passed is no success: it could never be served,
/// and asking again at once would only bring it again.
fn refuse_dead_repeat(
    claimed: &Claimed,
    opened: &Opened,
    obtained: Obtained,
) -> Result<Obtained, FetchError> {
    let keeps = opened.realm.source.policy().repeat == Repeat::Keeps;
    let held = claimed.record.held.as_ref();
    let dead = held.is_some_and(|held| !held.is_valid(obtained.requested_at));
    if keeps && dead && opened.repeats(&obtained) {
        return Err(FetchError {
            failure: Failure::transient(
                "the provider repeated a token that has expired; if asking again prolongs it, set policy.repeat to extends",
            ),
            refresh: obtained.refresh,
        });
    }
    Ok(obtained)
}

/// Why an attempt does not begin.
pub(super) enum NotOpened {
    LeaveToOthers(OpenError),
    Failed(Failure),
    Waiting(Waiting),
    Database(DbError),
}

/// Of what is not damaged.
impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> Self {
        Self::LeaveToOthers(error)
    }
}

impl From<Failure> for NotOpened {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<DbError> for NotOpened {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl From<DbErr> for NotOpened {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl Renewals {
    /// Makes one attempt under a claim.
    pub(super) async fn attempt(&self, claimed: Claimed, cause: Cause) -> Attempted {
        let record = &claimed.record;
        // Around all that is logged meanwhile; at this level it is there whatever that is.
        let span = tracing::error_span!(
            "attempt",
            realm = record.realm.as_str(),
            key = record.key.as_str(),
            attempt = claimed.attempt.0,
            cause = cause.as_str(),
        );
        self.metrics.in_flight.inc();
        let claimed = Arc::new(claimed);
        let attempt = self.attempt_counted(&claimed, cause);
        let attempted = attempt.instrument(span.clone()).await;
        self.metrics.in_flight.dec();
        let (outcome, class) = match &attempted {
            Attempted::Stored(_) => ("stored", ""),
            Attempted::Failed { failure, .. } => ("failed", failure.class.as_str()),
            Attempted::Waiting(_) => ("waiting", ""),
            Attempted::Spent(_) => ("spent", ""),
            Attempted::Sealed(_) => ("sealed", ""),
            Attempted::Discarded => ("discarded", ""),
            Attempted::Unstored => ("unstored", ""),
        };
        let realm = claimed.record.realm.as_str();
        self.metrics.renewed(realm, outcome, class);
        if !matches!(outcome, "stored" | "failed") {
            span.in_scope(|| tracing::debug!(outcome, "an attempt ended without a result"));
        }
        attempted
    }

    async fn attempt_counted(&self, claimed: &Arc<Claimed>, cause: Cause) -> Attempted {
        let started = self.clock.now();
        let mut opened = match self.open(claimed).await {
            Ok(opened) => opened,
            Err(NotOpened::LeaveToOthers(error)) => {
                return self.leave_to_others(claimed, error).await;
            }
            Err(NotOpened::Waiting(waiting)) => return self.store_waiting(claimed, waiting).await,
            Err(NotOpened::Database(error)) => {
                tracing::error!(%error, "an attempt could not read what it needs");
                self.give_back(claimed).await;
                return Attempted::Unstored;
            }
            Err(NotOpened::Failed(failure)) => {
                let failed = FailedAttempt::of(started, failure);
                return self.store_failure(claimed, cause, failed, None).await;
            }
        };
        let timeout = self.upstream.timeout(&opened.realm.source);
        if started.plus(timeout) > claimed.until.minus(BEGINS_WITHIN) {
            self.give_back(claimed).await;
            return Attempted::Discarded;
        }
        match self.reserve_for(claimed, &mut opened, cause).await {
            Ok(Ok(())) => {}
            Ok(Err(spent)) => return self.beyond_quota(claimed, cause, spent).await,
            Err(error) => {
                tracing::error!(%error, "a place in the provider's quota could not be reserved");
                self.give_back(claimed).await;
                return Attempted::Unstored;
            }
        }
        let opened = Arc::new(opened);
        let before = self.clock.boot();
        let asked = self.ask(claimed, &opened, timeout).await;
        let took = self.clock.boot().since(before);
        self.metrics.upstream_seconds.observe(seconds(took));
        match asked {
            Asked::Answered(fetched) => {
                let usable =
                    (*fetched).and_then(|obtained| refuse_dead_repeat(claimed, &opened, obtained));
                match usable {
                    Ok(obtained) => {
                        self.store_token(claimed, cause, &opened, obtained, took)
                            .await
                    }
                    Err(error) => {
                        let failed = FailedAttempt {
                            unclear: opened.unclear_after(&error),
                            refresh: error.refresh,
                            ..FailedAttempt::of(started, error.failure)
                        };
                        self.store_failure(claimed, cause, failed, Some(&opened))
                            .await
                    }
                }
            }
            Asked::Late(failure, answer) => {
                let awaiting = self.await_late(claimed, opened.clone(), cause, answer);
                let (unclear, _until_stored) = awaiting.await;
                let failed = FailedAttempt {
                    unclear,
                    ..FailedAttempt::of(started, failure)
                };
                self.store_failure(claimed, cause, failed, Some(&opened))
                    .await
            }
            Asked::Overtaken => {
                self.give_back(claimed).await;
                Attempted::Discarded
            }
        }
    }

    /// Reserves a place in the provider's quotas. Where the budget for forced requests is
    /// spent, a token that must be had is asked for as any other.
    async fn reserve_for(
        &self,
        claimed: &Claimed,
        opened: &mut Opened,
        cause: Cause,
    ) -> Result<Result<(), Spent>, DbError> {
        let record = &claimed.record;
        let reserved = self
            .reserve(&opened.realm, record, cause, record.forced)
            .await?;
        let must_be_had = matches!(cause, Cause::Scheduled | Cause::Run)
            || record.valid(self.clock.now()).is_none();
        if reserved.is_err() && record.forced && must_be_had {
            opened.previous.inputs.forced = false;
            return self.reserve(&opened.realm, record, cause, false).await;
        }
        Ok(reserved)
    }

    /// A token that must be had waits for the quota; a wish changes nothing.
    async fn beyond_quota(&self, claimed: &Claimed, cause: Cause, spent: Spent) -> Attempted {
        match cause {
            Cause::Scheduled | Cause::Run | Cause::Recovered => {
                let waiting = Waiting {
                    why: "the provider's quota is used up".to_owned(),
                    until: Wait::Quota(spent.until),
                };
                self.store_waiting(claimed, waiting).await
            }
            Cause::Read | Cause::Flush => {
                self.give_back(claimed).await;
                Attempted::Spent(spent)
            }
            Cause::Report => {
                self.refuse_report(claimed).await;
                Attempted::Spent(spent)
            }
        }
    }

    async fn open(&self, claimed: &Claimed) -> Result<Opened, NotOpened> {
        let realm = self
            .read_realm(&claimed.realm)
            .map_err(|error| Failure::internal(error.to_string()))?;
        let secret = Secret::open(claimed.secret.clone(), &self.ring);
        let secret: Secret = self
            .unless_lost::<_, NotOpened>(secret, Remedy::Params)
            .await?;
        let (token, expires_at) = match &claimed.record.held {
            Some(held) => {
                let token = claimed.record.open_token(held, &self.ring);
                let token = self.unless_damaged::<_, NotOpened>(token).await?;
                let expires_at = token.as_ref().and(held.expiry.at());
                (token, expires_at)
            }
            None => (None, None),
        };
        let mut inputs = Inputs {
            token,
            forced: claimed.record.forced,
            attempt: claimed.attempt.clone(),
            ..Inputs::default()
        };
        let (mut parent, mut refresh) = (None, RefreshInput::default());
        let mut uses_refresh_token = false;
        if let Source::Provider(document) = &realm.source {
            let timeout = self.upstream.timeout(&realm.source);
            refresh = self
                .refresh_input(claimed, document, &secret, timeout)
                .await?;
            inputs.refresh_token = refresh.token.take();
            uses_refresh_token =
                inputs.refresh_token.is_some() && document.consumes_refresh_token();
            if uses_refresh_token
                && let Some(waiting) = self.awaits_candidate(claimed, &document.policy, timeout)
            {
                return Err(NotOpened::Waiting(waiting));
            }
            if document.parent.is_some() {
                let opened = self.parent_token(document, &secret).await?;
                inputs.parent = Some(opened.token.clone());
                parent = Some(opened);
            }
            if let Some(rule) = &document.ticket {
                inputs.ticket = Some(self.pushed_ticket(document, rule, &secret).await?);
            }
        }
        Ok(Opened {
            realm,
            secret,
            previous: Previous { inputs, expires_at },
            uses_refresh_token,
            forgets_refresh: refresh.forget,
            instead: refresh.instead,
            parent,
        })
    }
}

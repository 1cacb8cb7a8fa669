//! What the parts of an attempt hand to each other: what it needs, and how each step ended.

use std::sync::Arc;

use sea_orm::DbErr;
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;

use super::quota::Spent;
use crate::foundation::clock::EpochMs;
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, SecretId};
use crate::foundation::sealing::OpenError;
use crate::realm::Realm;
use crate::realm::failure::Failure;
use crate::realm::policy::Repeat;
use crate::secret::Secret;
use crate::token::claim::{Claimed, RefreshTokenRisk};
use crate::token::{ServedTag, TokenPayload, Waiting};
use crate::upstream::{FetchError, Obtained, ObtainedRefresh, ParentToken, Previous};

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
    /// The same, and it came meanwhile: another attempt may be made at once.
    HasCome(Waiting),
    /// A caller wished for more than the provider's quota leaves; nothing was sent.
    Spent(Spent),
    /// This server has not the key that something is sealed with; others may have it.
    Sealed(OpenError),
    /// The lease was lost, or secret or realm changed meanwhile: the result is discarded.
    Discarded,
    /// The database failed; the result could not be stored.
    Unstored,
}

impl Attempted {
    /// As metrics and traces name it; the class is that of a failure, else empty.
    pub fn outcome_and_class(&self) -> (&'static str, &'static str) {
        match self {
            Self::Stored(_) => ("stored", ""),
            Self::Failed { failure, .. } => ("failed", failure.class.as_str()),
            Self::Waiting(_) | Self::HasCome(_) => ("waiting", ""),
            Self::Spent(_) => ("spent", ""),
            Self::Sealed(_) => ("sealed", ""),
            Self::Discarded => ("discarded", ""),
            Self::Unstored => ("unstored", ""),
        }
    }
}

/// A token that was just stored.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub secret: SecretId,
    /// As it is served.
    pub payload: TokenPayload,
    pub generation: Generation,
    /// None where it is rendered anew on each read.
    pub tag: Option<ServedTag>,
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
        let again = obtained.payload.token.expose_secret();
        previous.is_some_and(|token| token.expose_secret() == again)
    }

    /// A repeated token whose kept expiry has passed is no success: it could never be served,
    /// and asking again at once would only bring it again.
    pub(super) fn refuse_dead_repeat(
        &self,
        claimed: &Claimed,
        obtained: Obtained,
    ) -> Result<Obtained, FetchError> {
        let keeps = self.realm.source.policy().repeat == Repeat::Keeps;
        let held = claimed.record.held.as_ref();
        let dead = held.is_some_and(|held| !held.is_valid(obtained.requested_at));
        if keeps && dead && self.repeats(&obtained) {
            return Err(FetchError {
                failure: Failure::transient(
                    "the provider repeated a token that has expired; if asking again prolongs it, set policy.repeat to extends",
                ),
                refresh: obtained.refresh,
                asked_before: false,
            });
        }
        Ok(obtained)
    }

    /// What a failure leaves unknown of the refresh token.
    pub(super) fn risk_after(&self, error: &FetchError) -> RefreshTokenRisk {
        if self.uses_refresh_token && error.failure.is_unclear() && error.refresh.is_none() {
            RefreshTokenRisk::Lost
        } else {
            RefreshTokenRisk::None
        }
    }
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

/// The parent's token, and which generation of it.
pub(super) struct OpenedParent {
    pub id: SecretId,
    pub generation: Generation,
    pub token: ParentToken,
}

/// A request that was sent in time, and is not answered yet.
pub(super) type LateAnswer = JoinHandle<Result<Obtained, FetchError>>;

/// What came of asking the provider.
pub(super) enum FetchOutcome {
    Answered(Box<Result<Obtained, FetchError>>),
    /// Time is up; the provider has the request.
    Late(Failure, LateAnswer),
    /// A newer token was stored meanwhile, by whoever used up the refresh token.
    Overtaken,
}

impl From<Result<Obtained, FetchError>> for FetchOutcome {
    fn from(answer: Result<Obtained, FetchError>) -> Self {
        Self::Answered(Box::new(answer))
    }
}

impl FetchOutcome {
    /// Of a request that is not the attempt's first.
    pub(super) fn after_another(self) -> Self {
        match self {
            Self::Answered(answer) => (*answer)
                .map_err(|error| FetchError {
                    asked_before: true,
                    ..error
                })
                .into(),
            other => other,
        }
    }

    /// The provider's word that the refresh token is not good.
    pub(super) fn grant_refused(&self) -> Option<&Failure> {
        let failure = match self {
            Self::Answered(answer) => answer.as_ref().as_ref().err(),
            Self::Late(..) | Self::Overtaken => None,
        };
        let failure = failure.map(|error| &error.failure);
        failure.filter(|failure| failure.grant_refused)
    }
}

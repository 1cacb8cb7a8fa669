//! A question for a token, and its answer: the token, or why there is none.

use sea_orm::DbErr;
use secrecy::SecretString;
use strum::VariantArray;

use super::denied::FlushDenied;
use super::wording::{NOT_IN_TIME, QUOTA_SPENT, what_failed};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, KeyName, RealmId, SecretId};
use crate::foundation::sealing::OpenError;
use crate::realm::failure::{Failure, FailureClass};
use crate::token::{ServedTag, TokenPayload};

/// A question for a token.
#[derive(Clone, Debug)]
pub struct Ask {
    pub realm: RealmId,
    pub key: KeyName,
    /// As if a token with less left had expired.
    pub min_ttl: Ms,
    pub flush: Option<Flush>,
}

/// A request to renew now.
#[derive(Clone, Debug)]
pub enum Flush {
    /// Only if this is still the current one, where one is named.
    Wished(Option<Generation>),
    /// The provider refused this one.
    Refused {
        refused: RefusedToken,
        /// The provider's error code.
        code: Option<String>,
    },
}

/// Which token a provider refused.
#[derive(Clone, Debug)]
pub enum RefusedToken {
    Generation(Generation),
    Token(SecretString),
}

/// Where a served token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum TokenSource {
    /// This process remembers it.
    Cache,
    Database,
    Upstream,
}

impl TokenSource {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Database => "database",
            Self::Upstream => "upstream",
        }
    }
}

/// What became of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flushed {
    Yes,
    /// Why not, and when it may be asked again.
    No {
        why: FlushDenied,
        retry_after: Option<Ms>,
    },
}

#[derive(Clone, Debug)]
pub struct Served {
    pub secret: SecretId,
    pub payload: TokenPayload,
    pub expires_in: Ms,
    pub generation: Generation,
    /// Tells the token from others; none where it is rendered anew on each read.
    pub tag: Option<ServedTag>,
    pub source: TokenSource,
    /// The fresher token that was asked for could not be had.
    pub stale: bool,
    pub flushed: Option<Flushed>,
}

/// Why no token is served.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no secret of that realm and key")]
    UnknownSecret,
    #[error("the realm holds fixed tokens, which cannot be flushed")]
    FixedFlushed,
    #[error("the realm holds fixed tokens, and none that is valid is stored")]
    FixedMissing,
    #[error("{}", .detail)]
    Unavailable {
        /// None where it is not the provider that failed.
        class: Option<FailureClass>,
        detail: String,
        retry_after: Ms,
    },
    #[error("the fixed token that is stored is damaged; store it again with PUT /api/token")]
    FixedDamaged,
    /// Another replica may have the key.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    #[error("{0}")]
    Database(#[from] DbError),
}

impl From<DbErr> for ReadError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        unavailable(
            Some(failure.class),
            &what_failed(failure.class, &failure.detail),
            RETRY_LATER,
        )
    }
}

impl ReadError {
    pub(super) fn retry_after(&self) -> Option<Ms> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// What a caller is told to wait where nothing better is known.
pub(super) const RETRY_SOON: Ms = Ms::from_secs(1);

/// While something else must come first.
pub(super) const RETRY_LATER: Ms = Ms::from_secs(5);

pub(super) fn not_in_time() -> ReadError {
    unavailable(None, NOT_IN_TIME, RETRY_SOON)
}

pub(super) fn beyond_quota(until: EpochMs, now: EpochMs) -> ReadError {
    let wait = until.since(now).max(RETRY_SOON);
    unavailable(Some(FailureClass::RateLimited), QUOTA_SPENT, wait)
}

pub(super) fn unavailable(class: Option<FailureClass>, detail: &str, retry_after: Ms) -> ReadError {
    ReadError::Unavailable {
        class,
        detail: detail.to_owned(),
        retry_after,
    }
}

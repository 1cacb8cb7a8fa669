//! What came of asking for a token: what the provider issued, or why there is none.

use secrecy::SecretString;

use super::answer::{Renewed, Unusable};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::failure::Failure;
use crate::token::TokenPayload;
use crate::token::expiry::Expiry;

/// What a provider issued.
#[derive(Clone, Debug)]
pub struct Obtained {
    pub payload: TokenPayload,
    /// Life is counted from the moment the request was sent.
    pub requested_at: EpochMs,
    /// The next refresh token, where the answer held one.
    pub refresh: Option<ObtainedRefresh>,
    /// The refresh token in use was refused, and the main request did without.
    pub refresh_refused: bool,
    /// As it is served, where not as it came.
    pub served: Option<SecretString>,
}

#[derive(Clone, Debug)]
pub struct ObtainedRefresh {
    pub token: SecretString,
    pub expires_at: Option<EpochMs>,
    /// When the request that brought it was sent.
    pub requested_at: EpochMs,
}

impl ObtainedRefresh {
    pub(super) fn of(refresh: Renewed, requested_at: EpochMs) -> Self {
        Self {
            token: refresh.token,
            expires_at: refresh.life.map(|life| requested_at.plus(life)),
            requested_at,
        }
    }
}

/// Why no token was obtained.
#[derive(Clone, Debug)]
pub struct FetchError {
    pub failure: Failure,
    /// The refresh token that the answer held nevertheless: it is to be kept, because the one
    /// before it may be used up.
    pub refresh: Option<ObtainedRefresh>,
    /// An earlier request of the same attempt was answered.
    pub asked_before: bool,
}

impl FetchError {
    /// Whether no request of the attempt can have reached the provider.
    pub fn nothing_was_sent(&self) -> bool {
        !self.failure.sent && self.refresh.is_none() && !self.asked_before
    }

    pub(super) fn of(unusable: Unusable, requested_at: EpochMs) -> Self {
        let Unusable {
            failure,
            refresh,
            asked_before,
        } = unusable;
        let Some(refresh) = refresh else {
            return Self {
                asked_before,
                ..failure.into()
            };
        };
        Self {
            failure: failure.and("the refresh token in the answer is kept"),
            refresh: Some(ObtainedRefresh::of(refresh, requested_at)),
            asked_before,
        }
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            refresh: None,
            asked_before: false,
        }
    }
}

pub(super) fn refuse_expired(expiry: Expiry, requested_at: EpochMs) -> Result<(), Failure> {
    if expiry.left(requested_at) > Ms::ZERO {
        return Ok(());
    }
    Err(Failure::transient(
        "the provider issued a token that has expired already",
    ))
}

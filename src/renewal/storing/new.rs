//! What an attempt brought, ready to be stored.

use std::sync::Arc;

use crate::foundation::clock::EpochMs;
use crate::foundation::ids::Generation;
use crate::realm::failure::Failure;
use crate::renewal::history::{Ended, RenewalEntry, RenewalOutcome};
use crate::token::TokenRecord;
use crate::token::candidate::{Candidate, CandidateToken, Promotion};
use crate::token::claim::{Claimed, RefreshTokenRisk};
use crate::token::results::{RefreshChange, StoredFailure, TokenUpdate, Update};
use crate::webhook::event::{self, Event};

/// A token, ready to be stored.
pub(in crate::renewal) struct NewToken {
    pub(super) stored: TokenUpdate,
    pub(super) entry: RenewalEntry,
}

impl NewToken {
    /// What must not be dropped if it cannot be stored: the refresh token before it may be
    /// used up.
    pub(in crate::renewal) fn candidate(&self, claimed: &Claimed) -> Option<Candidate> {
        let stored = &self.stored;
        match &stored.refresh {
            RefreshChange::Replace(refresh) => {
                let token = CandidateToken {
                    held: stored.held.clone(),
                    renew_at: stored.renew_at,
                };
                Some(Candidate::of(claimed, Some(token), refresh.clone()))
            }
            RefreshChange::Keep | RefreshChange::Forget => None,
        }
    }
}

/// A failure, ready to be stored.
pub(super) struct NewFailure {
    pub(super) stored: StoredFailure,
    /// With this one.
    pub(super) failures: i64,
    pub(super) entry: RenewalEntry,
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

/// A token or a failure, ready to be stored.
#[derive(Clone)]
pub(super) enum NewResult {
    Token(Arc<NewToken>),
    Failure(Arc<NewFailure>),
}

/// Where a result is, once it was brought to the database.
pub(super) enum Put {
    /// In its place. The token is of this generation then.
    Stored(Generation),
    /// The lease was lost, or secret or realm have changed: what must not be dropped is kept
    /// nevertheless.
    Kept(Promotion),
    /// Nowhere, for the same reasons: the provider can be asked again.
    Refused,
}

impl NewResult {
    pub(super) fn update(&self) -> Update<'_> {
        match self {
            Self::Token(new) => Update::Token(&new.stored),
            Self::Failure(new) => Update::Failure(&new.stored),
        }
    }

    pub(super) fn entry(&self) -> &RenewalEntry {
        match self {
            Self::Token(new) => &new.entry,
            Self::Failure(new) => &new.entry,
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Token(_) => None,
            Self::Failure(new) => Some(&new.stored.failure),
        }
    }

    /// What it may leave unknown of the refresh token.
    pub(super) fn risk(&self) -> RefreshTokenRisk {
        match self {
            Self::Token(_) => RefreshTokenRisk::None,
            Self::Failure(new) => new.stored.risk,
        }
    }

    /// For the history; of what was stored with the generation of its token, else discarded.
    pub(super) fn ended(&self, stored: Option<Generation>) -> Ended<'_> {
        let (outcome, generation) = match (self, stored) {
            (_, None) => (RenewalOutcome::Discarded, None),
            (Self::Token(_), Some(generation)) => (RenewalOutcome::Stored, Some(generation)),
            (Self::Failure(_), Some(_)) => (RenewalOutcome::Failed, None),
        };
        Ended {
            entry: self.entry(),
            outcome,
            failure: self.failure(),
            generation,
        }
    }

    /// Until when its whole realm has to wait.
    pub(super) fn blocks_until(&self) -> Option<EpochMs> {
        match self {
            Self::Failure(new) if new.stored.failure.blocks_realm() => Some(new.stored.renew_at),
            Self::Failure(_) | Self::Token(_) => None,
        }
    }

    /// What the webhook is told of it.
    pub(super) fn event(&self, before: &TokenRecord) -> Option<Event<'_>> {
        match self {
            Self::Token(new) => event::of_recovery(before, new.stored.held.payload.expiry),
            Self::Failure(new) => new.event(),
        }
    }
}

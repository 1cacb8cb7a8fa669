//! Tokens: their life, their state, where they are kept.

pub mod authentic;
pub mod candidate;
pub mod claim;
pub mod copying;
pub mod due;
pub mod elsewhere;
pub mod expiry;
pub mod lease;
pub mod listing;
pub mod locked;
pub mod lost;
mod novelty;
pub mod payload;
pub mod proof;
pub mod removal;
pub mod resealing;
pub mod results;
pub mod retired;
mod sealing;
mod served_tag;
pub mod state;
pub mod store;
pub mod summary;
pub mod suspect;
mod versions;

use secrecy::SecretString;
use serde_json::Value;
use token_server_entity::token;

use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::ids::{
    AttemptId, Fence, Generation, KeyName, RealmId, RefreshLine, SecretId,
};
use crate::foundation::sealing::{Closed, KeyRing, OpenError, Sealed};
use crate::realm::failure::FailureClass;
use expiry::Expiry;
pub use payload::{SealedPayload, TokenPayload};
use sealing::place;
pub use sealing::{SealedPart, seal};
pub use served_tag::ServedTag;

/// A token as it is kept: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldToken {
    pub payload: SealedPayload,
    pub serving: Serving,
    pub obtained_at: EpochMs,
}

/// In which form a token is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    AsItCame,
    /// Rendered once, at renewal.
    Rendered(Sealed),
    /// Rendered on each read.
    PerRead,
}

impl Serving {
    fn of_columns(served: Option<Sealed>, per_read: bool) -> Self {
        match served {
            _ if per_read => Self::PerRead,
            Some(served) => Self::Rendered(served),
            None => Self::AsItCame,
        }
    }

    /// `served` and `per_read`.
    fn columns(&self) -> (Option<Sealed>, bool) {
        match self {
            Self::AsItCame => (None, false),
            Self::Rendered(served) => (Some(served.clone()), false),
            Self::PerRead => (None, true),
        }
    }
}

/// A refresh token as it is kept: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRefresh {
    pub sealed: Sealed,
    pub expires_at: Option<EpochMs>,
    /// When the request that brought it was sent.
    pub obtained_at: EpochMs,
}

/// What a token waits for before it can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For humans.
    pub why: String,
    pub until: Wait,
}

/// What ends a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The next token of another secret.
    Parent(AwaitedParent),
    /// A secret that is to be registered.
    Registration,
    /// A ticket that the provider pushes.
    Ticket(AwaitedTicket),
    /// What another attempt may have obtained; not longer than until then.
    Candidate(EpochMs),
    /// The provider's quota leaves a place again then, or before, where one is given back.
    Quota(EpochMs),
    /// A server that has the sealing key, for which the token stays due since then.
    OtherServer(EpochMs),
}

/// An attempt whose outcome never came. It may have used up the refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostAttempt {
    pub attempt: AttemptId,
    /// When it was claimed.
    pub at: EpochMs,
    /// Whether somebody may still bring what it obtained.
    pub awaited: bool,
    /// Another attempt with the same refresh token was lost before.
    pub again: bool,
}

/// The ticket of an application, which there was none of, or another that is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwaitedTicket {
    pub app_id: String,
    /// When that other was made.
    pub seen: Option<EpochMs>,
}

/// A parent without a valid token, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedParent {
    pub id: SecretId,
    pub generation: Generation,
    /// It is in trouble, and is not tried before then.
    pub not_before: Option<EpochMs>,
}

impl HeldToken {
    /// Tells it from others, as it is served; none where it is rendered anew on each read.
    pub fn tag(&self, secret: SecretId, generation: Generation) -> Option<ServedTag> {
        (self.serving != Serving::PerRead)
            .then(|| ServedTag::of(secret, generation, self.obtained_at, self.payload.expiry))
    }

    /// A token that has expired is never served.
    pub fn is_valid(&self, now: EpochMs) -> bool {
        self.payload.expiry.left(now) > Ms::ZERO
    }
}

/// What went wrong since the last success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub failures: i64,
    pub since: EpochMs,
    pub class: FailureClass,
    pub detail: String,
    /// The last failures in a row that count as refusals, and when the first of them was.
    pub refusals: Option<(i64, EpochMs)>,
    /// Attempts made while a human was needed.
    pub probes: i64,
}

impl Trouble {
    /// Whether a human is needed.
    pub fn needs_attention(&self) -> bool {
        self.class.parks() && self.probes > 0
    }
}

/// What the webhook was last told of a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    Failing,
    NeedsAttention,
}

impl Announced {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::NeedsAttention => "needs_attention",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Failing, Self::NeedsAttention]
            .into_iter()
            .find(|announced| announced.as_str() == text)
    }
}

/// Who holds a token, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub owner: String,
    pub until: EpochMs,
}

/// A secret's token row.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    pub secret_id: SecretId,
    pub realm: RealmId,
    pub key: KeyName,
    pub held: Option<HeldToken>,
    /// Authenticates what is held.
    pub mac: Option<Sealed>,
    pub refresh: Option<HeldRefresh>,
    pub refresh_line: RefreshLine,
    pub lost: Option<LostAttempt>,
    pub generation: Generation,
    pub renew_at: Option<EpochMs>,
    pub paused: bool,
    pub last_attempt_at: Option<EpochMs>,
    /// A refused token is being replaced.
    pub forced: bool,
    /// What it waits for, for humans.
    pub waiting: Option<String>,
    pub trouble: Option<Trouble>,
    pub announced: Option<Announced>,
    pub fence: Fence,
    pub lease: Option<Lease>,
}

impl TokenRecord {
    pub fn from_row(row: token::Model) -> Self {
        let trouble = match (row.failing_since, row.failure_class.as_deref()) {
            (Some(since), Some(class)) => Some(Trouble {
                failures: row.failures,
                since,
                // A class that a newer server wrote is retried, not parked for ever.
                class: FailureClass::parse(class).unwrap_or(FailureClass::Transient),
                detail: row.failure_detail.unwrap_or_default(),
                refusals: row.refused_since.map(|since| (row.refusals, since)),
                probes: row.probes,
            }),
            _ => None,
        };
        let lease = match (row.lease_owner, row.lease_until) {
            (Some(owner), Some(until)) => Some(Lease { owner, until }),
            _ => None,
        };
        let lost = match (row.lost_attempt, row.lost_at) {
            (Some(attempt), Some(at)) => Some(LostAttempt {
                attempt: AttemptId(attempt),
                at,
                awaited: row.lost_awaited,
                again: row.lost_again,
            }),
            _ => None,
        };
        // Of one that an earlier version stored, that of the token beside it.
        let refresh_obtained_at = row.refresh_obtained_at.or(row.obtained_at);
        Self {
            secret_id: SecretId(row.secret_id),
            realm: RealmId::stored(row.realm_id),
            key: KeyName::stored(row.key_name),
            held: row.token.map(|token| HeldToken {
                payload: SealedPayload {
                    token,
                    token_type: row.token_type,
                    extra: row.extra,
                    expiry: row.expires_at.map_or(Expiry::Never, Expiry::At),
                },
                serving: Serving::of_columns(row.served, row.per_read),
                obtained_at: row.obtained_at.unwrap_or(row.updated_at),
            }),
            mac: row.mac,
            refresh: row.refresh_token.map(|sealed| HeldRefresh {
                sealed,
                expires_at: row.refresh_expires_at,
                obtained_at: refresh_obtained_at.unwrap_or(row.updated_at),
            }),
            refresh_line: RefreshLine(row.refresh_line),
            lost,
            waiting: row.waiting,
            forced: row.forced,
            generation: Generation(row.generation),
            renew_at: row.renew_at,
            paused: row.paused,
            last_attempt_at: row.last_attempt_at,
            trouble,
            announced: row.announced.as_deref().and_then(Announced::parse),
            fence: Fence(row.fence),
            lease,
        }
    }

    /// Failures since the last success.
    pub fn failures(&self) -> i64 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures)
    }

    /// The token, if there is one that has not expired.
    pub fn valid(&self, now: EpochMs) -> Option<&HeldToken> {
        self.held.as_ref().filter(|held| held.is_valid(now))
    }

    /// The token that is held.
    pub fn open_token(&self, held: &HeldToken, ring: &KeyRing) -> Result<SecretString, OpenError> {
        self.verify(ring)?;
        self.token_of(held, ring)
    }

    /// The form it is served in; none where that is made on each read.
    pub fn open_served(
        &self,
        held: &HeldToken,
        ring: &KeyRing,
    ) -> Result<Option<SecretString>, OpenError> {
        self.verify(ring)?;
        self.served_of(held, ring)
    }

    /// What is served with it: an object, or null.
    pub fn open_extra(&self, held: &HeldToken, ring: &KeyRing) -> Result<Value, OpenError> {
        self.verify(ring)?;
        self.extra_of(held, ring)
    }

    fn token_of(&self, held: &HeldToken, ring: &KeyRing) -> Result<SecretString, OpenError> {
        let row = self.secret_id.to_string();
        ring.open_text(&place(&row, SealedPart::Token), &held.payload.token)
    }

    fn served_of(
        &self,
        held: &HeldToken,
        ring: &KeyRing,
    ) -> Result<Option<SecretString>, OpenError> {
        let row = self.secret_id.to_string();
        match &held.serving {
            Serving::AsItCame => self.token_of(held, ring).map(Some),
            Serving::Rendered(served) => ring
                .open_text(&place(&row, SealedPart::Served), served)
                .map(Some),
            Serving::PerRead => Ok(None),
        }
    }

    fn extra_of(&self, held: &HeldToken, ring: &KeyRing) -> Result<Value, OpenError> {
        let Some(extra) = &held.payload.extra else {
            return Ok(Value::Null);
        };
        let row = self.secret_id.to_string();
        let place = place(&row, SealedPart::Extra);
        let plain = ring.open(&place, extra)?;
        serde_json::from_slice(&plain).map_err(|_| OpenError::new(&place, extra, Closed::Malformed))
    }

    /// Why the token that is held cannot be used: it is not authentic, or parts of it stay closed.
    pub fn closed(&self, ring: &KeyRing) -> Vec<OpenError> {
        let parts = self.held.iter();
        let parts = parts.flat_map(|held| self.closed_parts(held, ring));
        self.verify(ring).err().into_iter().chain(parts).collect()
    }

    /// Why parts of a token stay closed, be it the one that is held or one beside it: the token, as
    /// it is served, and what is served with it.
    pub fn closed_parts(&self, held: &HeldToken, ring: &KeyRing) -> Vec<OpenError> {
        let served = match held.serving {
            // The same value.
            Serving::AsItCame => None,
            Serving::Rendered(_) | Serving::PerRead => self.served_of(held, ring).err(),
        };
        let (token, extra) = (self.token_of(held, ring), self.extra_of(held, ring));
        [token.err(), served, extra.err()]
            .into_iter()
            .flatten()
            .collect()
    }

    pub fn open_refresh(
        &self,
        refresh: &HeldRefresh,
        ring: &KeyRing,
    ) -> Result<SecretString, OpenError> {
        let row = self.secret_id.to_string();
        ring.open_text(&place(&row, SealedPart::RefreshToken), &refresh.sealed)
    }
}

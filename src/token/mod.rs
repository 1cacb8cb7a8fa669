//! Tokens: their life, their state, where they are kept.

pub mod expiry;
pub mod lease;
pub mod state;
pub mod store;

use secrecy::{ExposeSecret, SecretString};
use token_server_entity::token;

use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::ids::{Fence, Generation, KeyName, RealmId, SecretId};
use crate::foundation::sealing::{KeyRing, OpenError, Place, Sealed};
use crate::realm::failure::FailureClass;
use expiry::Expiry;
use lease::{Lease, Seen};

/// A token as it is kept: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldToken {
    pub sealed: Sealed,
    pub token_type: Option<String>,
    pub expiry: Expiry,
    pub obtained_at: EpochMs,
}

impl HeldToken {
    /// A token that has expired is never served.
    pub fn is_valid(&self, now: EpochMs) -> bool {
        self.expiry.left(now) > Ms::ZERO
    }
}

/// What went wrong since the last success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub failures: i64,
    pub since: EpochMs,
    pub class: FailureClass,
    pub detail: String,
}

/// A secret's token row.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    pub secret_id: SecretId,
    pub realm: RealmId,
    pub key: KeyName,
    pub held: Option<HeldToken>,
    pub generation: Generation,
    pub renew_at: Option<EpochMs>,
    pub paused: bool,
    pub last_attempt_at: Option<EpochMs>,
    pub trouble: Option<Trouble>,
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
            }),
            _ => None,
        };
        let lease = match (row.lease_owner, row.lease_until) {
            (Some(owner), Some(until)) => Some(Lease { owner, until }),
            _ => None,
        };
        Self {
            secret_id: SecretId(row.secret_id),
            realm: RealmId::stored(row.realm_id),
            key: KeyName::stored(row.key_name),
            held: row.token.map(|sealed| HeldToken {
                sealed,
                token_type: row.token_type,
                expiry: row.expires_at.map_or(Expiry::Never, Expiry::At),
                obtained_at: row.obtained_at.unwrap_or(row.updated_at),
            }),
            generation: Generation(row.generation),
            renew_at: row.renew_at,
            paused: row.paused,
            last_attempt_at: row.last_attempt_at,
            trouble,
            fence: Fence(row.fence),
            lease,
        }
    }

    /// Failures since the last success.
    pub fn failures(&self) -> i64 {
        self.trouble.as_ref().map_or(0, |trouble| trouble.failures)
    }

    /// What has to be the same for an attempt to be worth making.
    pub fn seen(&self) -> Seen {
        Seen {
            id: self.secret_id,
            fence: self.fence,
            generation: self.generation,
            failures: self.failures(),
        }
    }

    /// The token, if there is one that has not expired.
    pub fn valid(&self, now: EpochMs) -> Option<&HeldToken> {
        self.held.as_ref().filter(|held| held.is_valid(now))
    }

    pub fn open_token(&self, held: &HeldToken, ring: &KeyRing) -> Result<SecretString, OpenError> {
        let row = self.secret_id.to_string();
        ring.open_text(&place(&row), &held.sealed)
    }
}

/// Seals a token for the row of its secret.
pub fn seal_token(secret: SecretId, token: &SecretString, ring: &KeyRing) -> Sealed {
    let row = secret.to_string();
    ring.seal(&place(&row), token.expose_secret().as_bytes())
}

fn place(row: &str) -> Place<'_> {
    Place {
        table: "ts_token",
        row,
        column: "token",
    }
}

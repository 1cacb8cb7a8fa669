//! A claim on a token: what it writes, under what it was seen, and what an attempt gets by it.

use std::sync::Arc;

use token_server_entity::{realm, secret};

use super::TokenRecord;
use crate::foundation::clock::{Deadline, EpochMs};
use crate::foundation::ids::{AttemptId, ClaimId, Fence, Generation, ReplicaId, SecretId, Version};

/// What a claim writes.
#[derive(Clone, Debug)]
pub struct Claim {
    pub owner: ReplicaId,
    pub id: ClaimId,
    pub now: EpochMs,
    pub until: EpochMs,
    /// The same end of the lease, by both of the machine's clocks.
    pub lease: Deadline,
}

/// What a caller has seen of a token. A claim raises the fence, its end the generation or
/// the failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: SecretId,
    pub fence: Fence,
    pub generation: Generation,
    pub failures: i64,
}

/// A claimed token, with everything an attempt needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub record: TokenRecord,
    pub secret: secret::Model,
    pub realm: Arc<realm::Model>,
    pub attempt: AttemptId,
    pub until: EpochMs,
    /// The same end of the lease, by both of the machine's clocks.
    pub lease: Deadline,
}

impl Claimed {
    /// Of secret and realm.
    pub(super) fn versions(&self) -> (Version, Version) {
        (Version(self.secret.version), Version(self.realm.version))
    }
}

/// Whether a failed attempt may have used up the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTokenRisk {
    None,
    /// It may, and nobody will bring what took its place.
    Lost,
    /// It may, and the answer may still come.
    Awaited,
}

impl TokenRecord {
    /// What has to be the same for an attempt to be worth making.
    pub fn seen(&self) -> Seen {
        Seen {
            id: self.secret_id,
            fence: self.fence,
            generation: self.generation,
            failures: self.failures(),
        }
    }
}

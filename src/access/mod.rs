//! Who may do what, and who did what.

pub mod address_rates;
pub mod audit;
pub mod certified;
pub mod copying;
pub mod issuer;
pub mod key;
pub mod key_name;
pub mod scope;
pub mod sign_in_problem;
pub mod store;
pub mod writer;

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::foundation::clock::EpochMs;
use crate::foundation::pattern::Coverage;
use crate::foundation::rate::Bucket;
use scope::Scope;

/// A caller whose key or token was recognised.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the key, or of the subject of a token and who vouches for it, for the audit.
    pub name: String,
    scopes: Vec<Scope>,
    pub coverage: Coverage,
    /// When the key expires; none: never. The rights of an issuer's callers outlive each token.
    pub expires_at: Option<EpochMs>,
    /// Calls a second that the key itself says; none: as many as the configuration says.
    pub rate: Option<NonZeroU32>,
    /// What is left of the rate, whoever says it; none where there is none.
    pub limit: Option<Arc<Bucket>>,
}

impl Caller {
    /// One for whom an issuer vouches.
    pub fn of_issuer(name: String, scopes: Vec<Scope>, coverage: Coverage) -> Self {
        Self {
            name,
            scopes,
            coverage,
            expires_at: None,
            rate: None,
            limit: None,
        }
    }

    /// As they were given.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    pub fn has(&self, scope: Scope) -> bool {
        let is_limited = !self.coverage.is_everything();
        if is_limited && scope.concerns_all() {
            return false;
        }
        let is_admin = !is_limited && self.scopes.contains(&Scope::Admin);
        self.scopes.contains(&scope) || is_admin && scope.is_of_admin()
    }
}

/// What somebody may do who makes a change.
#[derive(Clone, Debug)]
pub enum Rights {
    /// Of whoever can start this program with its configuration.
    All,
    Of(Arc<Caller>),
}

impl Rights {
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::All => true,
            Self::Of(caller) => caller.has(scope),
        }
    }

    /// When they end; none: never.
    pub fn expire_at(&self) -> Option<EpochMs> {
        match self {
            Self::All => None,
            Self::Of(caller) => caller.expires_at,
        }
    }

    /// How many calls a second the key that has them allows itself.
    pub fn rate(&self) -> Option<NonZeroU32> {
        match self {
            Self::All => None,
            Self::Of(caller) => caller.rate,
        }
    }

    /// How many calls a second who has them may make, whoever says so.
    pub fn held_to(&self) -> Option<NonZeroU32> {
        match self {
            Self::All => None,
            Self::Of(caller) => {
                let limit = caller.limit.as_ref();
                let limit = limit.map(|limit| limit.rate().per_second());
                caller.rate.or(limit)
            }
        }
    }

    pub fn covers_secret(&self, realm: &str, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(caller) => caller.coverage.secret(realm, key),
        }
    }

    /// Whether somebody may change every secret of every realm.
    pub fn may_change_all(&self) -> bool {
        match self {
            Self::All => true,
            Self::Of(caller) => caller.has(Scope::SecretWrite) && caller.coverage.is_everything(),
        }
    }

    /// Whether somebody may change every secret that a realm has or will have.
    pub fn may_change_all_of(&self, realm: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(caller) => caller.has(Scope::SecretWrite) && caller.coverage.all_of(realm),
        }
    }
}

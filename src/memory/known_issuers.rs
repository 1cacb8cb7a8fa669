//! What is remembered of the issuers of JWTs.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use token_server_entity::issuer;

use crate::access::issuer::store::Issuer;
use crate::foundation::clock::BootMs;
use crate::realm::expression::Expressions;

/// What was read of the issuers at once.
#[derive(Debug)]
pub struct KnownIssuers {
    /// How often callers had been forgotten before.
    pub(super) forgotten: u64,
    /// Before the database was asked.
    pub(super) read_at: BootMs,
    /// When the database was last asked, or is being asked, whether they are still these.
    pub(super) checked: AtomicI64,
    pub(super) rows: Vec<issuer::Model>,
    /// By what `iss` says.
    pub(super) by_claim: HashMap<String, Arc<Issuer>>,
}

impl KnownIssuers {
    /// The issuer that a token names, to the letter.
    pub fn find(&self, claim: &str) -> Option<&Arc<Issuer>> {
        self.by_claim.get(claim)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.by_claim.values()
    }
}

#[derive(Default)]
pub(super) struct IssuerMemory {
    known: Mutex<Option<Arc<KnownIssuers>>>,
    /// Held by the one who reads them.
    pub(super) reading: tokio::sync::Mutex<()>,
    pub(super) expressions: Arc<Expressions>,
}

impl IssuerMemory {
    pub(super) fn known(&self) -> Option<Arc<KnownIssuers>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    pub(super) fn remember(&self, issuers: Arc<KnownIssuers>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(issuers);
    }
}

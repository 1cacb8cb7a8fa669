//! API keys that were recognised, and whose they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::access::Caller;
use crate::access::key::KeyHash;
use crate::foundation::clock::{BootMs, EpochMs};

/// Keys that are remembered at once.
const KEYS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Known {
    pub(super) caller: Arc<Caller>,
    pub(super) expires_at: Option<EpochMs>,
    /// When the database was last asked, or is being asked, whether the key is good.
    pub(super) checked: AtomicI64,
    /// When the database was asked that said so.
    pub(super) confirmed: BootMs,
}

impl Known {
    pub(super) fn good_at(&self, now: EpochMs) -> Option<Arc<Caller>> {
        let good = self.expires_at.is_none_or(|end| now < end);
        good.then(|| self.caller.clone())
    }
}

pub(super) struct Callers {
    pub(super) known: Cache<KeyHash, Arc<Known>>,
    /// Of keys that certificates stand for, by name.
    pub(super) named: Cache<String, KeyHash>,
    /// How often all were forgotten.
    pub(super) forgotten: AtomicU64,
}

impl Callers {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(KEYS_MAX),
            named: Cache::new(KEYS_MAX),
            forgotten: AtomicU64::new(0),
        }
    }

    pub(super) fn find(&self, hash: &KeyHash) -> Option<Arc<Known>> {
        self.known.get(hash)
    }

    pub(super) fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.known.clear();
    }
}

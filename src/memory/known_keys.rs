//! Credentials that were recognised, and whose they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::access::Caller;
use crate::access::key::KeyHash;
use crate::foundation::clock::{BootMs, EpochMs};
use crate::foundation::rate::{Bucket, Rate};

/// Keys and JWTs that are remembered at once.
const KEYS_MAX: usize = 10_000;

/// What says that a credential is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voucher {
    /// The row of an API key, which may be looked up again.
    ApiKey,
    /// The signature of an issuer that is registered, until then.
    Issuer(BootMs),
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) caller: Arc<Caller>,
    pub(super) voucher: Voucher,
    pub(super) expires_at: Option<EpochMs>,
    /// When the database was last asked, or is being asked, whether the key is good.
    pub(super) checked: AtomicI64,
    /// When the database was asked that said so: of the key, or of its issuer.
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
    /// Whoever was recognised, and not refused since: to show such a credential is no guess.
    pub(super) recognised: Cache<KeyHash, ()>,
    /// How often all were forgotten.
    forgotten: AtomicU64,
    /// What is left of the rates of keys: it outlives what is known of them.
    limits: Cache<KeyHash, Arc<Bucket>>,
}

impl Callers {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(KEYS_MAX),
            named: Cache::new(KEYS_MAX),
            recognised: Cache::new(KEYS_MAX),
            forgotten: AtomicU64::new(0),
            limits: Cache::new(KEYS_MAX),
        }
    }

    pub(super) fn find(&self, hash: &KeyHash) -> Option<Arc<Known>> {
        self.known.get(hash)
    }

    pub(super) fn remember(&self, hash: &KeyHash, known: Known) {
        self.known.insert(hash.clone(), Arc::new(known));
        self.recognised.insert(hash.clone(), ());
    }

    /// A credential that is good no more.
    pub(super) fn forget(&self, hash: &KeyHash) {
        self.known.remove(hash);
        self.recognised.remove(hash);
    }

    /// What a caller has left of its rate.
    pub(super) fn limit_of(&self, hash: &KeyHash, rate: Rate) -> Arc<Bucket> {
        let new = || Ok::<_, Infallible>(Arc::new(Bucket::new(rate)));
        let Ok(bucket) = self.limits.get_or_insert_with(hash, new);
        if bucket.rate() == rate {
            return bucket;
        }
        let bucket = Arc::new(Bucket::new(rate));
        self.limits.insert(hash.clone(), bucket.clone());
        bucket
    }

    /// Answers how often that was done.
    pub(super) fn forget_all(&self) -> u64 {
        let before = self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.known.clear();
        before.saturating_add(1)
    }

    pub(super) fn times_forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }
}

//! Callers whose API key was recognised.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use quick_cache::sync::Cache;
use secrecy::SecretString;

use super::{COMPARING, Look, Memory};
use crate::access::key::KeyHash;
use crate::access::store::KnownKey;
use crate::access::{Caller, store};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::DbError;
use crate::foundation::limit::within;

/// Keys that are remembered at once.
const KEYS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Known {
    caller: Arc<Caller>,
    expires_at: Option<EpochMs>,
    pub(super) checked: AtomicI64,
}

impl Known {
    pub(super) fn good_at(&self, now: EpochMs) -> Option<Arc<Caller>> {
        let good = self.expires_at.is_none_or(|end| now < end);
        good.then(|| self.caller.clone())
    }
}

pub(super) struct Callers {
    known: Cache<KeyHash, Arc<Known>>,
    /// How often all were forgotten.
    forgotten: AtomicU64,
}

impl Callers {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(KEYS_MAX),
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

impl Memory {
    /// The caller a key belongs to, if it is known, not revoked and not expired.
    pub async fn recognise(&self, key: &SecretString) -> Result<Option<Arc<Caller>>, DbError> {
        let hash = KeyHash::of(key);
        let now = self.clock.now();
        let look = match self.callers.find(&hash) {
            Some(known) if self.is_to_compare(&known.checked, false) => Look::Doubtful(known),
            Some(known) => Look::Sure(known),
            None => Look::Nothing,
        };
        let forgotten = self.callers.forgotten.load(Ordering::Acquire);
        let read_at = self.clock.boot();
        let found = match look {
            Look::Sure(known) => return Ok(known.good_at(now)),
            Look::Doubtful(known) => {
                let reading = store::find_good(self.database.reader(), &hash, now);
                match within(COMPARING, reading).await {
                    Some(Ok(found)) => found,
                    Some(Err(_)) | None => return Ok(known.good_at(now)),
                }
            }
            Look::Nothing => {
                self.database
                    .patiently(|reader| store::find_good(reader, &hash, now))
                    .await?
            }
        };
        let Some(KnownKey { caller, expires_at }) = found else {
            self.callers.known.remove(&hash);
            return Ok(None);
        };
        let caller = Arc::new(caller);
        let known = Known {
            caller: caller.clone(),
            expires_at,
            checked: AtomicI64::new(read_at.0),
        };
        self.callers.known.insert(hash.clone(), Arc::new(known));
        if self.callers.forgotten.load(Ordering::Acquire) != forgotten {
            // A key was revoked while this one was read.
            self.callers.known.remove(&hash);
        }
        Ok(Some(caller))
    }
}

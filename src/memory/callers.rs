//! Recognises callers by their API key: in memory, or in the database.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};

use secrecy::SecretString;

use super::known_keys::Known;
use super::{COMPARING, Memory, MemoryLookup};
use crate::access::key::KeyHash;
use crate::access::store::{FoundKey, KnownKey};
use crate::access::{Caller, store};
use crate::foundation::clock::{BootMs, Moment};
use crate::foundation::database::DbError;
use crate::foundation::limit::within;
use crate::foundation::metrics::DamageLabels;
use crate::foundation::sealing::{Closed, OpenError};

impl Memory {
    /// Whether a key may be taken for good without asking the database. It is told by the
    /// feed, too, of keys that were revoked: while that is followed, all are confirmed.
    pub(super) fn is_trusted(&self, known: &Known, now: BootMs) -> bool {
        let followed = BootMs(self.followed.load(Ordering::Acquire));
        now.since(known.confirmed.max(followed)) < self.trust
    }

    /// The caller a key belongs to, if it is known, not revoked and not expired.
    ///
    /// # Errors
    /// Where the database cannot be asked, and the key is not remembered, or was confirmed
    /// too long ago.
    pub async fn recognise(&self, key: &SecretString) -> Result<Option<Arc<Caller>>, DbError> {
        self.recognise_hash(KeyHash::of(key)).await
    }

    /// The caller that a certificate stands for, by the name of an API key.
    ///
    /// # Errors
    /// As for the key itself.
    pub async fn recognise_named(&self, name: &str) -> Result<Option<Arc<Caller>>, DbError> {
        let of_name = |caller: &Arc<Caller>| caller.name == name;
        if let Some(hash) = self.callers.named.get(name) {
            let found = self.recognise_hash(hash).await?.filter(of_name);
            if found.is_some() {
                return Ok(found);
            }
            // A bootstrap key is replaced under its name.
            self.callers.named.remove(name);
        }
        let hash = self
            .database
            .read_with_retry(|reader| store::hash_of_named(reader, name))
            .await?;
        let Some(hash) = hash else { return Ok(None) };
        let found = self.recognise_hash(hash.clone()).await?.filter(of_name);
        if found.is_some() {
            self.callers.named.insert(name.to_owned(), hash);
        }
        Ok(found)
    }

    async fn recognise_hash(&self, hash: KeyHash) -> Result<Option<Arc<Caller>>, DbError> {
        let Moment { wall: now, boot } = self.clock.moment();
        let known = self.callers.find(&hash);
        let look = match known.filter(|known| self.is_trusted(known, boot)) {
            Some(known) if self.is_to_compare(&known.checked, false) => {
                MemoryLookup::Doubtful(known)
            }
            Some(known) => MemoryLookup::Sure(known),
            None => MemoryLookup::Nothing,
        };
        let forgotten = self.callers.forgotten.load(Ordering::Acquire);
        let read_at = self.clock.boot();
        let found = match look {
            MemoryLookup::Sure(known) => return Ok(known.good_at(now)),
            MemoryLookup::Doubtful(known) => {
                let reading = store::find_good(self.database.reader(), &self.ring, &hash, now);
                match within(COMPARING, reading).await {
                    Some(Ok(found)) => found,
                    Some(Err(_)) | None => return Ok(known.good_at(now)),
                }
            }
            MemoryLookup::Nothing => {
                self.database
                    .read_with_retry(|reader| store::find_good(reader, &self.ring, &hash, now))
                    .await?
            }
        };
        let KnownKey { caller, expires_at } = match found {
            FoundKey::Good(key) => key,
            FoundKey::NotAuthentic(error) => {
                self.callers.known.remove(&hash);
                self.tell_refused(&error);
                return Ok(None);
            }
            FoundKey::None => {
                self.callers.known.remove(&hash);
                return Ok(None);
            }
        };
        let caller = Arc::new(caller);
        let known = Known {
            caller: caller.clone(),
            expires_at,
            checked: AtomicI64::new(read_at.0),
            confirmed: read_at,
        };
        self.callers.known.insert(hash.clone(), Arc::new(known));
        if self.callers.forgotten.load(Ordering::Acquire) != forgotten {
            // A key was revoked while this one was read.
            self.callers.known.remove(&hash);
        }
        Ok(Some(caller))
    }

    /// Says of a key that was refused which row of the database it is in, once a minute.
    fn tell_refused(&self, error: &OpenError) {
        let (table, column) = (error.table, error.column);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.count(self.clock.boot());
        if let Closed::UnknownKey(_) = error.why {
            if let Some(calls) = count {
                tracing::error!(
                    %error, calls,
                    "an API key is refused that another server made: put the sealing key into sealing.keys"
                );
            }
            return;
        }
        if let Some(calls) = count {
            tracing::error!(
                table, row = error.row, column, why = %error.why, calls,
                "an API key is refused: its row was not written by a token server; revoke it"
            );
        }
        self.damaged_values
            .get_or_create(&DamageLabels { table, column })
            .inc();
    }

    /// The same for what is asked for just because the database may be away: a caller who was
    /// recognised before is not kept waiting for it, and is recognised for as long as it is away.
    pub async fn recognise_or_recall(
        &self,
        key: &SecretString,
    ) -> Result<Option<Arc<Caller>>, DbError> {
        let recalled = self.callers.find(&KeyHash::of(key));
        match recalled.and_then(|known| known.good_at(self.clock.now())) {
            None => self.recognise(key).await,
            Some(recalled) => match within(COMPARING, self.recognise(key)).await {
                Some(Ok(found)) => Ok(found),
                Some(Err(_)) | None => Ok(Some(recalled)),
            },
        }
    }
}

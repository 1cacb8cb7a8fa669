//! Recognises callers by their API key, in memory or in the database, and remembers those whose
//! JWT was verified.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError};

use super::known_issuers::KnownIssuers;
use super::known_keys::{Known, Voucher};
use super::{COMPARING, Memory, MemoryLookup};
use crate::access::issuer::VerifiedToken;
use crate::access::key::KeyHash;
use crate::access::store::FoundKey;
use crate::access::{Caller, store};
use crate::foundation::clock::{BootMs, Moment, Ms};
use crate::foundation::database::DbError;
use crate::foundation::limit::within;
use crate::foundation::metrics::DamageLabels;
use crate::foundation::rate::Rate;
use crate::foundation::sealing::{Closed, OpenError};

/// A verified JWT is remembered for so long at most.
pub const JWT_REMEMBERED: Ms = Ms::from_secs(300);

impl Memory {
    /// Whether a key may be taken for good without asking the database. It is told by the
    /// feed, too, of keys that were revoked: while that is followed, all are confirmed.
    pub(super) fn is_trusted(&self, known: &Known, now: Moment) -> bool {
        self.is_trusted_since(known.confirmed, now)
    }

    /// The same of whatever the database confirmed then.
    pub(super) fn is_trusted_since(&self, confirmed: BootMs, now: Moment) -> bool {
        let heard_of = self.heard_of(confirmed);
        now.boot.since(heard_of) < self.trust && !self.is_before_thaw(heard_of)
    }

    /// When the database was last heard of, which confirmed something then.
    fn heard_of(&self, confirmed: BootMs) -> BootMs {
        confirmed.max(BootMs(self.followed.load(Ordering::Acquire)))
    }

    /// Whether nothing speaks against a caller, so that nobody need be asked.
    pub(super) fn is_sure(&self, known: &Known, now: Moment) -> bool {
        let is_sure = match known.voucher {
            Voucher::ApiKey => !self.is_doubtful(&known.checked, false, now.boot),
            // Its issuer is followed by the feed.
            Voucher::Issuer(until) => now.boot < until && !self.is_late(now.boot),
        };
        is_sure && self.is_trusted(known, now)
    }

    /// The caller whose JWT was verified a moment ago. Only for who has just asked for the issuers:
    /// where one of them has changed, all callers are forgotten.
    pub fn verified(&self, hash: &KeyHash) -> Option<Arc<Caller>> {
        let now = self.clock.moment();
        let known = self.callers.find(hash)?;
        match known.voucher {
            Voucher::Issuer(until) if now.boot < until && self.is_trusted(&known, now) => {
                known.good_at(now.wall)
            }
            Voucher::Issuer(_) | Voucher::ApiKey => None,
        }
    }

    /// A caller who is known by his name only: whatever he shows next time, he has the rate of that.
    pub fn held_to_rate(&self, mut caller: Caller) -> Arc<Caller> {
        let name = KeyHash::of(&caller.name.as_str().into());
        caller.limit = self.key_rate.map(|rate| self.callers.limit_of(&name, rate));
        Arc::new(caller)
    }

    /// Remembers the caller of a JWT that was verified by one of these issuers, until the token
    /// ends or some minutes have passed.
    pub fn remember_verified(
        &self,
        hash: &KeyHash,
        token: VerifiedToken,
        issuers: &KnownIssuers,
    ) -> Arc<Caller> {
        let caller = self.held_to_rate(token.caller);
        let known = Known {
            caller: caller.clone(),
            voucher: Voucher::Issuer(self.clock.boot().plus(JWT_REMEMBERED)),
            expires_at: Some(token.expires_at),
            checked: AtomicI64::new(issuers.read_at.0),
            confirmed: issuers.read_at,
        };
        self.callers.remember(hash, known);
        if self.callers.times_forgotten() != issuers.forgotten {
            // An issuer was changed while this was verified.
            self.callers.known.remove(hash);
        }
        caller
    }

    /// A JWT that is good no more.
    pub fn forget_verified(&self, hash: &KeyHash) {
        self.callers.forget(hash);
    }

    /// The caller of a credential that was recognised before, however long ago it was confirmed: but
    /// not before this process was frozen.
    pub fn recalled(&self, hash: &KeyHash) -> Option<Arc<Caller>> {
        let known = self.callers.find(hash)?;
        if self.is_before_thaw(self.heard_of(known.confirmed)) {
            return None;
        }
        known.good_at(self.clock.now())
    }

    /// The caller that a certificate stands for, by the name of an API key.
    ///
    /// # Errors
    /// As for the key itself.
    pub async fn recognise_named(&self, name: &str) -> Result<Option<Arc<Caller>>, DbError> {
        let of_name = |caller: &Arc<Caller>| caller.name == name;
        if let Some(hash) = self.callers.named.get(name) {
            let found = self.recognise(&hash).await?.filter(of_name);
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
        let found = self.recognise(&hash).await?.filter(of_name);
        if found.is_some() {
            self.callers.named.insert(name.to_owned(), hash);
        }
        Ok(found)
    }

    /// The caller a key belongs to, if it is known, not revoked and not expired.
    ///
    /// # Errors
    /// Where the database cannot be asked, and the key is not remembered, or was confirmed
    /// too long ago.
    pub async fn recognise(&self, hash: &KeyHash) -> Result<Option<Arc<Caller>>, DbError> {
        let moment = self.clock.moment();
        let now = moment.wall;
        let known = self.callers.find(hash);
        let is_good =
            |known: &Arc<Known>| known.voucher == Voucher::ApiKey && self.is_trusted(known, moment);
        let look = match known.filter(is_good) {
            Some(known) if self.is_to_compare(&known.checked, false) => {
                MemoryLookup::Doubtful(known)
            }
            Some(known) => MemoryLookup::Sure(known),
            None => MemoryLookup::Nothing,
        };
        let forgotten = self.callers.times_forgotten();
        let read_at = self.clock.boot();
        let found = match look {
            MemoryLookup::Sure(known) => return Ok(known.good_at(now)),
            MemoryLookup::Doubtful(known) => {
                let reading = store::find_good(self.database.reader(), &self.ring, hash, now);
                match within(COMPARING, reading).await {
                    Some(Ok(found)) => found,
                    Some(Err(_)) | None => return Ok(known.good_at(now)),
                }
            }
            MemoryLookup::Nothing => {
                self.database
                    .read_with_retry(|reader| store::find_good(reader, &self.ring, hash, now))
                    .await?
            }
        };
        let mut caller = match found {
            FoundKey::Good(caller) => caller,
            FoundKey::NotAuthentic { id, error } => {
                self.callers.forget(hash);
                self.tell_refused(id, &error);
                return Ok(None);
            }
            FoundKey::None => {
                self.callers.forget(hash);
                return Ok(None);
            }
        };
        let expires_at = caller.expires_at;
        let rate = caller.rate.map(Rate::even).or(self.key_rate);
        caller.limit = rate.map(|rate| self.callers.limit_of(hash, rate));
        let caller = Arc::new(caller);
        let known = Known {
            caller: caller.clone(),
            voucher: Voucher::ApiKey,
            expires_at,
            checked: AtomicI64::new(read_at.0),
            confirmed: read_at,
        };
        self.callers.remember(hash, known);
        if self.callers.times_forgotten() != forgotten {
            // A key was revoked while this one was read.
            self.callers.known.remove(hash);
        }
        Ok(Some(caller))
    }

    /// Says of each key that is refused which row of the database it is in, once a minute.
    fn tell_refused(&self, id: i64, error: &OpenError) {
        let (table, column) = (error.table, error.column);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let count = refused.count(id, self.clock.boot());
        if let Closed::UnknownKey(_) = error.why {
            if let Some(calls) = count {
                tracing::error!(
                    name: "access.key_of_another_server",
                    %error, id, calls,
                    "an API key is refused that another server made: put the sealing key into sealing.keys"
                );
            }
            return;
        }
        if let Some(calls) = count {
            tracing::error!(
                name: "access.key_forged",
                table, id, row = error.row, column, why = %error.why, calls,
                "an API key is refused: its row was not written by a token server; revoke it"
            );
        }
        self.damaged_values
            .get_or_create(&DamageLabels { table, column })
            .inc();
    }

    /// Whether a credential is remembered: then it takes no guess to show it.
    pub fn remembers(&self, hash: &KeyHash) -> bool {
        self.callers.recognised.get(hash).is_some()
    }
}

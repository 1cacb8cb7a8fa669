//! Flushes and reports: a caller wants another token, or says that the provider refused it.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::denied::FlushDenied;
use super::served::{
    Ask, Flush, Flushed, RETRY_SOON, ReadError, RefusedToken, Served, TokenSource,
};
use super::{Brought, Reads, Waited};
use crate::foundation::clock::{Ms, Timeline};
use crate::memory::MemoryLookup;
use crate::realm::Realm;
use crate::renewal::cause::RenewalCause;
use crate::token::TokenRecord;

/// Which token a flush names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    None,
    Current,
    Earlier,
}

impl Reads {
    /// Renews now, or says why not. While the database is away, what is remembered is served.
    pub(super) async fn flush(&self, ask: &Ask, flush: &Flush) -> Result<Served, ReadError> {
        match self.flush_stored(ask, flush).await {
            Err(ReadError::Database(error)) => {
                let served = match self.memory.token(&ask.realm, &ask.key) {
                    MemoryLookup::Sure(cell) | MemoryLookup::Doubtful(cell) => {
                        self.remembered(&cell, ask.min_ttl)
                    }
                    MemoryLookup::Nothing => None,
                };
                let why = FlushDenied::DatabaseUnavailable;
                Ok(self.unflushed(served.ok_or(error)?, why, Some(RETRY_SOON)))
            }
            answered => answered,
        }
    }

    async fn flush_stored(&self, ask: &Ask, flush: &Flush) -> Result<Served, ReadError> {
        let record = self.find(&ask.realm, &ask.key).await?;
        let Some(realm) = self.realms.load(&record.realm).await? else {
            let served = self.read_through(&record, ask.min_ttl).await?;
            let why = FlushDenied::unreadable_realm();
            return Ok(self.unflushed(served, why, Some(RETRY_SOON)));
        };
        if realm.source.is_fixed() {
            return Err(ReadError::FixedFlushed);
        }
        let cause = match flush {
            Flush::Wished(_) => RenewalCause::Flush,
            Flush::Refused { code, .. } => {
                tracing::info!(
                    name: "renewal.reported",
                    realm = %record.realm, key = %record.key, code = code.as_deref(),
                    "a caller reported a token as refused"
                );
                RenewalCause::Report
            }
        };
        // A damaged token is as good as none, but may be intact in the form it is served in.
        let usable = self.damage.without_damaged_token(record.clone()).await?;
        let named = self.named(&record, flush).await?;
        if let Some((why, retry_after)) = self.flush_denied(&usable, named, cause, &realm) {
            let seen = record.generation;
            // A flush that is denied is a read.
            let waited = match realm.source.policy().revokes_previous {
                true => self.after_renewal(ask, record).await?,
                false => Waited::Ended(record),
            };
            let served = self.read_waited(waited, ask.min_ttl).await?;
            // Where nothing could be served without a renewal, there was one.
            if served.source == TokenSource::Upstream || served.generation > seen {
                return Ok(flushed(served));
            }
            return Ok(self.unflushed(served, why, retry_after));
        }
        let outcome = self.single_flight.fresh(&realm, &record, cause).await;
        let why = FlushDenied::after(&outcome);
        match self.answer_of(outcome).await? {
            Brought::Token(same)
                if cause == RenewalCause::Report && same.generation == record.generation =>
            {
                Ok(self.unflushed(same, FlushDenied::TokenRepeated, None))
            }
            Brought::Token(served) => Ok(flushed(served)),
            Brought::Nothing(refused) => {
                let retry_after = refused.retry_after();
                let served = self.stored_or(&record, refused).await?;
                Ok(self.unflushed(served, why, retry_after))
            }
        }
    }

    /// What is served instead, with the reason: no flush is denied in silence.
    fn unflushed(&self, served: Served, why: FlushDenied, retry_after: Option<Ms>) -> Served {
        self.metrics.flush_denied.inc();
        Served {
            flushed: Some(Flushed::No { why, retry_after }),
            ..served
        }
    }

    /// Which token the caller names; a refused one that is not stored is an earlier one.
    async fn named(&self, record: &TokenRecord, flush: &Flush) -> Result<Named, ReadError> {
        let current = match flush {
            Flush::Wished(None) => return Ok(Named::None),
            Flush::Wished(Some(generation))
            | Flush::Refused {
                refused: RefusedToken::Generation(generation),
                ..
            } => *generation == record.generation,
            Flush::Refused {
                refused: RefusedToken::Token(token),
                ..
            } => self.is_held(record, token).await?,
        };
        Ok(if current {
            Named::Current
        } else {
            Named::Earlier
        })
    }

    /// Whether this is the stored token, as it came or as it is served, whichever is not damaged.
    /// Compared in constant time: an answer must not tell how much of a guess is right.
    async fn is_held(&self, record: &TokenRecord, token: &SecretString) -> Result<bool, ReadError> {
        let Some(held) = &record.held else {
            return Ok(false);
        };
        let same = |one: &SecretString| {
            let (one, other) = (one.expose_secret(), token.expose_secret());
            bool::from(one.as_bytes().ct_eq(other.as_bytes()))
        };
        let opened = record.open_token(held, &self.ring);
        let as_it_came = self.damage.unless_damaged::<_, ReadError>(opened).await?;
        let opened = record.open_served(held, &self.ring);
        let as_served = self.damage.unless_damaged::<_, ReadError>(opened).await?;
        let as_served = as_served.flatten();
        Ok(as_it_came.as_ref().is_some_and(same) | as_served.as_ref().is_some_and(same))
    }

    /// Why nothing is sent to the provider, and when to ask again. The current token may be
    /// reported however recent it is: it is of no use to the caller, and what is sent to replace it
    /// has a budget.
    fn flush_denied(
        &self,
        record: &TokenRecord,
        named: Named,
        cause: RenewalCause,
        realm: &Realm,
    ) -> Option<(FlushDenied, Option<Ms>)> {
        let now = self.clock.now();
        if named == Named::Earlier {
            return Some((FlushDenied::EarlierGeneration, None));
        }
        if record.paused {
            return Some((FlushDenied::Paused, None));
        }
        if record.lease.is_some() {
            // A renewal is under way: it is joined, and nothing more is sent.
            return None;
        }
        if let Some(trouble) = &record.trouble
            && let Some(again) = record.renew_at.filter(|again| *again > now)
        {
            let why = match trouble.needs_attention() {
                true => FlushDenied::NeedsAttention,
                false => FlushDenied::BackingOff,
            };
            return Some((why, Some(again.since(now))));
        }
        if let Some(until) = realm.blocked_until.filter(|until| *until > now) {
            return Some((FlushDenied::RateLimited, Some(until.since(now))));
        }
        let policy = realm.source.policy();
        if let (Some(held), Some(grace)) = (&record.held, policy.grace)
            && named == Named::None
            && held.obtained_at.plus(grace) > now
        {
            // The previous token still works, and a second renewal would end it.
            let wait = held.obtained_at.plus(grace).since(now);
            return Some((FlushDenied::WithinGrace, Some(wait)));
        }
        if let Some(spent) = self.quotas.known_spent(realm, record, cause) {
            let why = FlushDenied::beyond(spent);
            return Some((why, Some(spent.until.since(now))));
        }
        if cause == RenewalCause::Report {
            return None;
        }
        let interval = policy.min_flush_interval.unwrap_or(self.min_flush_interval);
        let wait = record.last_attempt_at?.plus(interval).since(now);
        (wait > Ms::ZERO).then_some((FlushDenied::MinInterval, Some(wait)))
    }
}

fn flushed(served: Served) -> Served {
    Served {
        flushed: Some(Flushed::Yes),
        ..served
    }
}

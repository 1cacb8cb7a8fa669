//! Flushes and reports: a caller wants another token, or says that the provider refused it.

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{Flush, Flushed, QUOTA_SPENT, ReadError, Refused, Served};
use crate::foundation::clock::{Ms, Timeline};
use crate::realm::Realm;
use crate::renewal::Renewals;
use crate::renewal::attempt::Cause;
use crate::token::TokenRecord;

/// Which token a flush names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    None,
    Current,
    Earlier,
}

struct Denied {
    reason: String,
    retry_after: Option<Ms>,
}

impl Renewals {
    pub(super) async fn flush(
        &self,
        record: &TokenRecord,
        flush: &Flush,
    ) -> Result<Served, ReadError> {
        let realm = self.realm_of(record).await?;
        if realm.source.is_fixed() {
            return Err(ReadError::FixedFlushed);
        }
        let cause = match flush {
            Flush::Wished(_) => Cause::Flush,
            Flush::Refused { code, .. } => {
                tracing::info!(
                    realm = %record.realm, key = %record.key, code = code.as_deref(),
                    "a caller reported a token as refused"
                );
                Cause::Report
            }
        };
        // A damaged token is as good as none, but may be intact in the form it is served in.
        let usable = self.without_damaged_token(record.clone()).await?;
        let named = self.named(record, flush).await?;
        if let Some(denied) = self.flush_denied(&usable, named, cause, &realm) {
            self.metrics.flush_denied.inc();
            let unflushed = Flushed::No {
                reason: denied.reason,
                retry_after: denied.retry_after,
            };
            if let Some(served) = self.stored(record, self.clock.now()).await? {
                return Ok(Served {
                    flushed: Some(unflushed),
                    ..served
                });
            }
            // Without a token to give, a flush is a read.
            let served = self.read_through(record, Ms::ZERO).await?;
            return Ok(Served {
                flushed: Some(unflushed),
                ..served
            });
        }
        let landed = self.fresh(&realm, record, cause).await;
        match self.landed(landed).await? {
            Ok(served) => Ok(Served {
                flushed: Some(Flushed::Yes),
                ..served
            }),
            Err(refused) => {
                let reason = refused.to_string();
                let retry_after = refused.retry_after();
                let served = self.stored_or(record, refused).await?;
                Ok(Served {
                    flushed: Some(Flushed::No {
                        reason,
                        retry_after,
                    }),
                    ..served
                })
            }
        }
    }

    /// Which token the caller names; a refused one that is not stored is an earlier one.
    async fn named(&self, record: &TokenRecord, flush: &Flush) -> Result<Named, ReadError> {
        let current = match flush {
            Flush::Wished(None) => return Ok(Named::None),
            Flush::Wished(Some(generation))
            | Flush::Refused {
                refused: Refused::Generation(generation),
                ..
            } => *generation == record.generation,
            Flush::Refused {
                refused: Refused::Token(token),
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
        let as_it_came = self.unless_damaged::<_, ReadError>(opened).await?;
        let opened = record.open_served(held, &self.ring);
        let as_served = self.unless_damaged::<_, ReadError>(opened).await?;
        let as_served = as_served.flatten();
        Ok(as_it_came.as_ref().is_some_and(same) | as_served.as_ref().is_some_and(same))
    }

    fn flush_denied(
        &self,
        record: &TokenRecord,
        named: Named,
        cause: Cause,
        realm: &Realm,
    ) -> Option<Denied> {
        let now = self.clock.now();
        if named == Named::Earlier {
            return Some(Denied {
                reason: "the token that was named is no longer the current one".to_owned(),
                retry_after: None,
            });
        }
        if record.paused {
            return Some(Denied {
                reason: "renewal is paused".to_owned(),
                retry_after: None,
            });
        }
        if record.lease.is_some() {
            // A renewal is under way: it is joined, and nothing more is sent.
            return None;
        }
        if record.trouble.is_some()
            && let Some(again) = record.renew_at.filter(|again| *again > now)
        {
            return Some(Denied {
                reason: "the last attempt failed, and the next is not due".to_owned(),
                retry_after: Some(again.since(now)),
            });
        }
        if let Some(until) = realm.blocked_until.filter(|until| *until > now) {
            return Some(Denied {
                reason: "the provider limits the rate".to_owned(),
                retry_after: Some(until.since(now)),
            });
        }
        let policy = realm.source.policy();
        if let (Some(held), Some(grace)) = (&record.held, policy.grace)
            && named == Named::None
            && held.obtained_at.plus(grace) > now
        {
            // The previous token still works, and a second renewal would end it.
            return Some(Denied {
                reason:
                    "the previous token is within its grace; give the generation that was refused"
                        .to_owned(),
                retry_after: Some(held.obtained_at.plus(grace).since(now)),
            });
        }
        if let Some(spent) = self.known_spent(realm, record, cause) {
            return Some(Denied {
                reason: QUOTA_SPENT.to_owned(),
                retry_after: Some(spent.until.since(now)),
            });
        }
        let interval = policy
            .min_flush_interval
            .unwrap_or(self.settings.min_flush_interval);
        let allowed_at = record.last_attempt_at?.plus(interval);
        (allowed_at > now).then(|| Denied {
            reason: "the last renewal is more recent than the minimum flush interval".to_owned(),
            retry_after: Some(allowed_at.since(now)),
        })
    }
}

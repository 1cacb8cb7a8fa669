//! What must come first: the parent's token, a pushed ticket. Where one is missing, the
//! attempt gives its place back and waits, and what it waits for is made due.

use sea_orm::DbErr;

use super::attempt::NotOpened;
use super::{LEASE_SLACK, Renewals};
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::{Generation, SecretId};
use crate::realm::document::{ProviderDocument, TicketRule};
use crate::realm::failure::Failure;
use crate::realm::policy::Policy;
use crate::secret::Secret;
use crate::ticket;
use crate::token::lease::Claimed;
use crate::token::{AwaitedParent, LostAttempt, TokenRecord, Wait, Waiting, store};
use crate::upstream::ParentToken;

/// How long what waits for its parent waits before it looks again by itself.
const PARENT_WAIT: (Ms, Ms) = (Ms::from_secs(5), Ms::from_secs(10));
/// The same for a ticket, or for a parent that is not registered.
const LONG_WAIT: (Ms, Ms) = (Ms::from_secs(30), Ms::from_secs(60));

/// The parent's token, and which generation of it.
pub(super) struct OpenedParent {
    pub id: SecretId,
    pub generation: Generation,
    pub token: ParentToken,
}

impl Renewals {
    pub(super) async fn parent_token(
        &self,
        document: &ProviderDocument,
        secret: &Secret,
    ) -> Result<OpenedParent, NotOpened> {
        let (realm, key) = self
            .upstream
            .parent_name(document, &secret.params)
            .ok_or_else(|| Failure::internal("parent: realm and key do not name a secret"))?;
        let found = store::find(self.database.reader(), &realm, &key).await?;
        let Some(record) = found else {
            return Err(NotOpened::Waiting(Waiting {
                why: format!("its parent, {realm}/{key}, is not registered"),
                until: Wait::Something,
            }));
        };
        let now = self.clock.now();
        if record.lease.is_some() && self.ends_with_the_next(&record).await? {
            return Err(NotOpened::Waiting(Waiting {
                why: format!("its parent, {realm}/{key}, is being renewed"),
                until: Wait::Parent(AwaitedParent {
                    id: record.secret_id,
                    generation: record.generation,
                    not_before: None,
                }),
            }));
        }
        // A damaged one is as good as none.
        let record = self.without_damaged_token(record).await?;
        let Some(held) = record.valid(now) else {
            self.database
                .write_alone(|writer| store::hasten(writer, &record, now))
                .await?;
            self.wake.notify_one();
            return Err(NotOpened::Waiting(Waiting {
                why: format!("its parent, {realm}/{key}, has no valid token"),
                until: Wait::Parent(AwaitedParent {
                    id: record.secret_id,
                    generation: record.generation,
                    not_before: record.trouble.as_ref().and(record.renew_at),
                }),
            }));
        };
        Ok(OpenedParent {
            id: record.secret_id,
            generation: record.generation,
            token: ParentToken {
                token: record.open_token(held, &self.ring)?,
                extra: record.open_extra(held, &self.ring)?,
            },
        })
    }

    pub(super) async fn pushed_ticket(
        &self,
        document: &ProviderDocument,
        rule: &TicketRule,
        secret: &Secret,
    ) -> Result<secrecy::SecretString, NotOpened> {
        let app_id = self
            .upstream
            .rendered(document, &secret.params, &rule.app_id)
            .ok_or_else(|| Failure::internal("ticket.app_id has no value"))?;
        let now = self.clock.now();
        let found =
            ticket::store::find_valid(self.database.reader(), &secret.realm, &app_id, now).await?;
        if let Some(row) = found {
            let opened = ticket::open(&secret.realm, &app_id, &row.value, &self.ring);
            // Instead of a damaged one the provider pushes another.
            if let Some(value) = self.unless_damaged::<_, NotOpened>(opened).await? {
                return Ok(value);
            }
        }
        let mut why = "no valid ticket has been pushed for its application".to_owned();
        if let Some(resend) = &rule.resend {
            let asked = self.upstream.ask(document, resend, &secret.params).await;
            why.push_str(&match asked {
                Ok(()) => "; another was asked for".to_owned(),
                Err(failure) => format!("; another could not be asked for: {}", failure.detail),
            });
        }
        Err(NotOpened::Waiting(Waiting {
            why,
            until: Wait::Something,
        }))
    }

    /// The refresh token may have been used up by an attempt whose outcome never came, and
    /// whoever made it may still bring the next: it is waited for until the stored token
    /// nears its expiry, or for a lease where there is none. Not where the provider accepts
    /// the used one until then anyway.
    pub(super) fn awaits_candidate(
        &self,
        claimed: &Claimed,
        policy: &Policy,
        timeout: Ms,
    ) -> Option<Waiting> {
        let record = &claimed.record;
        let lost = record.lost.as_ref().filter(|lost| lost.awaited)?;
        let (now, two_leases) = (self.clock.now(), Ms(2 * (timeout.0 + LEASE_SLACK.0)));
        let end = record.valid(now).and_then(|held| held.expiry.at());
        let until = end.map_or(lost.at.plus(two_leases), |end| end.minus(two_leases));
        let until = policy
            .refresh_overlap
            .and_then(|overlap| self.used_again_at(lost, overlap, timeout))
            .map_or(until, |again| again.min(until));
        (until > now).then(|| Waiting {
            why: "an attempt whose outcome is unknown may still bring the next refresh token"
                .to_owned(),
            until: Wait::Candidate(until),
        })
    }

    /// When a refresh token may be sent again that a lost attempt may have used up: not within
    /// its lease, and so that the provider, who has not counted longer than since it was
    /// claimed, has it in time. None where that is past, or where it may have been used up twice.
    fn used_again_at(&self, lost: &LostAttempt, overlap: Ms, timeout: Ms) -> Option<EpochMs> {
        let first = lost.at.plus(timeout).plus(LEASE_SLACK).plus(timeout);
        let last = lost.at.plus(overlap).minus(timeout);
        let last = last.minus(self.settings.max_skew);
        (!lost.again && first.max(self.clock.now()) <= last).then_some(first)
    }

    /// When what waits looks again by itself. Where it waits for a parent in trouble, not
    /// before that one is tried again: its token would wake it.
    pub(super) fn waits_until(&self, waiting: &Waiting) -> EpochMs {
        let now = self.clock.now();
        let ((low, high), tried) = match waiting.until {
            Wait::Candidate(until) | Wait::Quota(until) => return until.max(now),
            Wait::OtherServer(due) => return due,
            Wait::Parent(parent) => (PARENT_WAIT, parent.not_before),
            Wait::Something => (LONG_WAIT, None),
        };
        let wait = Ms(self.randomness.between(low.0, high.0));
        tried.unwrap_or(now).max(now).plus(wait)
    }

    /// The provider refused the parent's token: it is replaced, unless that was just done.
    pub(super) async fn replace_parent(&self, parent: &OpenedParent) -> Result<(), DbError> {
        let now = self.clock.now();
        let before = now.minus(self.settings.min_flush_interval);
        let (id, refused) = (parent.id, parent.generation);
        self.database
            .write_alone(|writer| store::replace_refused(writer, id, refused, before, now))
            .await?;
        self.wake.notify_one();
        Ok(())
    }

    /// The record of a parent that is waited for, if it may be asked for now.
    pub(super) async fn parent_record(
        &self,
        waiting: &Waiting,
    ) -> Result<Option<TokenRecord>, DbErr> {
        match waiting.until {
            Wait::Parent(parent) => store::find_by_id(self.database.reader(), parent.id).await,
            Wait::Something | Wait::Candidate(_) | Wait::Quota(_) | Wait::OtherServer(_) => {
                Ok(None)
            }
        }
    }
}

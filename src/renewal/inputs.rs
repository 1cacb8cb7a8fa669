//! What must come first: the parent's token, a pushed ticket. Where one is missing, the
//! attempt gives its place back and waits, and what it waits for is made due.

use std::sync::Arc;

use super::background::Background;
use super::damage::DamageDetector;
use super::outcome::{NotOpened, OpenedParent};
use super::realms::RealmCache;
use super::settings::LEASE_SLACK;
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::Database;
use crate::foundation::sealing::KeyRing;
use crate::realm::document::{ProviderDocument, TicketRule};
use crate::realm::failure::Failure;
use crate::realm::policy::Policy;
use crate::secret::Secret;
use crate::ticket;
use crate::token::claim::Claimed;
use crate::token::{AwaitedParent, AwaitedTicket, LostAttempt, Wait, Waiting, store};
use crate::upstream::{ParentToken, Upstream};

/// What an [`InputReader`] can touch.
pub(super) struct InputReaderParts {
    pub database: Database,
    pub clock: SharedClock,
    pub ring: Arc<KeyRing>,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub damage: Arc<DamageDetector>,
    pub background: Background,
    pub max_skew: Ms,
}

/// Reads what an attempt needs first.
pub(super) struct InputReader {
    pub(super) parts: InputReaderParts,
}

impl InputReader {
    pub(super) fn new(parts: InputReaderParts) -> Self {
        Self { parts }
    }

    pub(super) async fn parent_token(
        &self,
        document: &ProviderDocument,
        secret: &Secret,
    ) -> Result<OpenedParent, NotOpened> {
        let (realm, key) = self
            .parts
            .upstream
            .parent_name(document, &secret.params)
            .ok_or_else(|| Failure::internal("parent: realm and key do not name a secret"))?;
        let found = store::find(self.parts.database.reader(), &realm, &key).await?;
        let Some(record) = found else {
            return Err(NotOpened::Waiting(Waiting {
                why: format!("its parent, {realm}/{key}, is not registered"),
                until: Wait::Registration,
            }));
        };
        let now = self.parts.clock.now();
        if record.lease.is_some() && self.parts.realms.ends_with_the_next(&record).await? {
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
        let record = self.parts.damage.without_damaged_token(record).await?;
        let Some(held) = record.valid(now) else {
            self.parts
                .database
                .write_alone(|writer| store::make_due(writer, &record, now))
                .await?;
            self.parts.background.wake();
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
                token: record.open_token(held, &self.parts.ring)?,
                extra: record.open_extra(held, &self.parts.ring)?,
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
            .parts
            .upstream
            .rendered(document, &secret.params, &rule.app_id)
            .ok_or_else(|| Failure::internal("ticket.app_id has no value"))?;
        let now = self.parts.clock.now();
        let found =
            ticket::store::find_valid(self.parts.database.reader(), &secret.realm, &app_id, now)
                .await?;
        let mut seen = None;
        if let Some(row) = found {
            seen = Some(row.sent_at);
            let opened = ticket::open(&secret.realm, &app_id, &row.value, &self.parts.ring);
            // Instead of a damaged one the provider pushes another.
            if let Some(value) = self
                .parts
                .damage
                .unless_damaged::<_, NotOpened>(opened)
                .await?
            {
                return Ok(value);
            }
        }
        let mut why = "no valid ticket has been pushed for its application".to_owned();
        if let Some(resend) = &rule.resend {
            let asked = self
                .parts
                .upstream
                .ask(document, resend, &secret.params)
                .await;
            why.push_str(&match asked {
                Ok(()) => "; another was asked for".to_owned(),
                Err(failure) => format!("; another could not be asked for: {}", failure.detail),
            });
        }
        Err(NotOpened::Waiting(Waiting {
            why,
            until: Wait::Ticket(AwaitedTicket { app_id, seen }),
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
        let (now, two_leases) = (self.parts.clock.now(), Ms(2 * (timeout.0 + LEASE_SLACK.0)));
        let end = record.valid(now).and_then(|held| held.payload.expiry.at());
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
        let last = last.minus(self.parts.max_skew);
        (!lost.again && first.max(self.parts.clock.now()) <= last).then_some(first)
    }
}

//! Providers' quotas, shared by all replicas. Requests are reserved before they are sent,
//! in blocks, so that a busy realm does not pay a commit for each.

pub(crate) mod copying;
mod left;
mod store;
mod subject;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cause::RenewalCause;
use crate::foundation::clock::{BootMs, EpochMs, Ms, SharedClock};
use crate::foundation::database::{Database, DbError, is_duplicate};
use crate::foundation::metrics::Metrics;
use crate::realm::Realm;
use crate::realm::policy::{Quota, QuotaScope};
use crate::token::TokenRecord;
use crate::token::expiry::Expiry;
use left::LastSeen;
use subject::Subject;
pub use window::Spent;
use window::{block_ends, block_max, owned_by_schedule};

/// So long it is believed without a look that a quota is used up: another server may give a place
/// back.
const BELIEVED: Ms = Ms::from_secs(10);
/// Forced requests are counted for so long where a realm has no quota for them.
const DAY: Ms = Ms::from_secs(86_400);
/// Blocks in memory; beyond, those that ended are forgotten.
const BLOCKS_MAX: usize = 10_000;

/// For whom a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// A token that must be had: it may use the whole quota.
    Needed,
    /// A caller who has a valid token wants another.
    Wished,
}

impl Purpose {
    fn of(cause: RenewalCause, record: &TokenRecord, now: EpochMs) -> Self {
        match cause {
            RenewalCause::Scheduled | RenewalCause::Run | RenewalCause::Recovered => Self::Needed,
            RenewalCause::Read | RenewalCause::Flush | RenewalCause::Report
                if record.valid(now).is_none() =>
            {
                Self::Needed
            }
            RenewalCause::Read | RenewalCause::Flush | RenewalCause::Report => Self::Wished,
        }
    }
}

/// Why no request is reserved.
pub(super) enum NotReserved {
    Spent(Spent),
    Database(DbError),
}

impl From<DbError> for NotReserved {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// The places of one request: in each quota that counts it, and of which part of its window. They
/// are used up when it is sent, and else given back.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct ReservedPlaces(Vec<(Subject, i64)>);

/// What became of a window. Where it is spent that is committed as well: what was unused is
/// given back.
enum Reservation {
    Taken { count: i64, part: i64 },
    Spent(Spent),
}

/// Requests that were reserved and are not sent yet.
#[derive(Clone, Copy, Debug)]
struct Block {
    left: i64,
    /// The part of the window they were taken from.
    part: i64,
    /// How many were reserved last: the next time, twice as many.
    size: i64,
}

#[derive(Debug, Default)]
struct QuotaMemory {
    blocks: HashMap<(Subject, Purpose), Block>,
    /// What was just found to be used up, so that a caller in a loop costs no transaction.
    spent: HashMap<(Subject, Purpose), KnownSpent>,
    seen: LastSeen,
}

#[derive(Clone, Copy, Debug)]
struct KnownSpent {
    spent: Spent,
    found: BootMs,
}

/// Keeps to the providers' quotas.
pub(crate) struct Quotas {
    database: Database,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    forced_per_day: i64,
    known: Mutex<QuotaMemory>,
}

impl Quotas {
    pub(super) fn new(
        database: Database,
        clock: SharedClock,
        metrics: Arc<Metrics>,
        forced_per_day: i64,
    ) -> Self {
        Self {
            database,
            clock,
            metrics,
            forced_per_day,
            known: Mutex::default(),
        }
    }

    /// How much is left of each realm's quotas, from 0 to 1: the least of those that were lately
    /// asked for a place, by what was read then. Forced requests are not looked at.
    pub(super) fn least_left(&self) -> impl Iterator<Item = (String, f64)> {
        let least = self.memory().seen.least_left(self.clock.now());
        least
            .into_iter()
            .map(|(realm, left)| (realm.as_str().to_owned(), left))
    }

    fn memory(&self) -> MutexGuard<'_, QuotaMemory> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what was reserved and will not be sent: this server stops.
    pub(super) async fn give_back_blocks(&self) {
        let blocks = std::mem::take(&mut self.memory().blocks);
        for ((subject, _), block) in blocks {
            if block.left > 0 {
                self.give_back_in(&subject, block.part, block.left).await;
            }
        }
    }

    /// Gives back the places of a request that was not sent.
    pub(super) async fn give_back(&self, places: ReservedPlaces) {
        for (subject, part) in places.0 {
            self.give_back_in(&subject, part, 1).await;
            // Whoever was refused for this one may have it.
            let mut memory = self.memory();
            memory.spent.retain(|(spent, _), _| *spent != subject);
        }
    }

    async fn give_back_in(&self, subject: &Subject, part: i64, count: i64) {
        let given = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    // It may have gone with its realm.
                    if let Some(mut window) = store::find_locked(transaction, subject).await? {
                        window.give_back(part, count);
                        store::save(transaction, subject, &window).await?;
                    }
                    Ok::<_, DbError>(())
                })
            })
            .await;
        if let Err(error) = given {
            tracing::warn!(
                name: "quota.not_given_back",
                %error, "unused places in a quota could not be given back"
            );
        }
    }

    /// Whether a request is known to be beyond its quota, before anything is claimed.
    pub(crate) fn known_spent(
        &self,
        realm: &Realm,
        record: &TokenRecord,
        cause: RenewalCause,
    ) -> Option<Spent> {
        let now = self.clock.now();
        let purpose = Purpose::of(cause, record, now);
        let memory = self.memory();
        let forced = record.forced || cause == RenewalCause::Report;
        let spent = self.counting(realm, forced).filter_map(|quota| {
            let known = memory.spent.get(&(Subject::of(&quota, record), purpose))?;
            let is_believed = self.clock.boot().since(known.found) < BELIEVED;
            (is_believed && known.spent.until > now).then_some(known.spent)
        });
        spent.max_by_key(|spent| spent.until)
    }

    /// Reserves one request in each quota that counts it, or in none.
    pub(super) async fn reserve(
        &self,
        realm: &Realm,
        record: &TokenRecord,
        cause: RenewalCause,
        forced: bool,
    ) -> Result<ReservedPlaces, NotReserved> {
        let purpose = Purpose::of(cause, record, self.clock.now());
        let mut places = ReservedPlaces::default();
        for quota in self.counting(realm, forced) {
            match self.reserve_in(&quota, record, purpose).await {
                Ok(part) => places.0.push((Subject::of(&quota, record), part)),
                Err(error) => {
                    self.give_back(places).await;
                    return Err(error);
                }
            }
        }
        Ok(places)
    }

    /// The quotas that count a request.
    fn counting(&self, realm: &Realm, forced: bool) -> impl Iterator<Item = Quota> {
        let of_realm = &realm.source.policy().quotas;
        let mut quotas: Vec<_> = of_realm
            .iter()
            .filter(|quota| quota.forced == forced)
            .copied()
            .collect();
        if forced && quotas.is_empty() {
            quotas.push(Quota {
                limit: self.forced_per_day,
                window: DAY,
                scope: QuotaScope::Secret,
                forced: true,
            });
        }
        quotas.into_iter()
    }

    /// Answers the part of the window that the place is of.
    async fn reserve_in(
        &self,
        quota: &Quota,
        record: &TokenRecord,
        purpose: Purpose,
    ) -> Result<i64, NotReserved> {
        let key = (Subject::of(quota, record), purpose);
        let now = self.clock.now();
        let ended = {
            let mut memory = self.memory();
            match memory.blocks.get_mut(&key) {
                Some(block) if block.left > 0 && now < block_ends(quota, block.part) => {
                    block.left -= 1;
                    return Ok(block.part);
                }
                // Taken out, so that what is unused is given back once.
                _ => memory.blocks.remove(&key),
            }
        };
        // Who needs one now and then takes one; who needs many takes twice as many each time.
        let size = match ended {
            Some(block) if block.left == 0 && now < block_ends(quota, block.part) => {
                (block.size * 2).min(block_max(quota))
            }
            _ => 1,
        };
        let lifetime = match record
            .held
            .as_ref()
            .map(|held| (held.payload.expiry, held.obtained_at))
        {
            Some((Expiry::At(end), since)) => Some(Ms(end.0 - since.0)),
            _ => None,
        };
        let (subject, unused) = (&key.0, ended.filter(|block| block.left > 0));
        let took = || {
            self.database.write(|transaction, _| {
                Box::pin(async move {
                    let mut window = store::lock(transaction, subject).await?;
                    if let Some(block) = unused {
                        window.give_back(block.part, block.left);
                    }
                    let owned = match (purpose, lifetime) {
                        (Purpose::Wished, Some(lifetime)) if !quota.forced => {
                            let secrets = match quota.scope {
                                QuotaScope::Secret => 1,
                                QuotaScope::Realm => {
                                    store::renewed_in(transaction, &record.realm).await?
                                }
                            };
                            owned_by_schedule(quota, secrets, lifetime)
                        }
                        _ => 0,
                    };
                    let reservation = match window.reserve(quota, quota.limit - owned, size, now) {
                        Ok((count, part)) => Reservation::Taken { count, part },
                        Err(spent) => Reservation::Spent(spent),
                    };
                    store::save(transaction, subject, &window).await?;
                    Ok((reservation, window))
                })
            })
        };
        let (reservation, window) = match took().await {
            // Another replica made the row at the same time.
            Err(DbError::Failed(error)) if is_duplicate(&error) => took().await,
            // What is not known to be reserved is not sent; what was is lost to the window.
            other => other,
        }?;
        let mut memory = self.memory();
        if memory.blocks.len() >= BLOCKS_MAX {
            memory.blocks.retain(|_, block| block.left > 0);
            memory.spent.retain(|_, known| known.spent.until > now);
        }
        memory.seen.note(&key.0, quota, window, now);
        match reservation {
            Reservation::Taken { count, part } => {
                memory.spent.remove(&key);
                let left = count - 1;
                memory.blocks.insert(key, Block { left, part, size });
                Ok(part)
            }
            Reservation::Spent(spent) => {
                let found = self.clock.boot();
                memory.spent.insert(key, KnownSpent { spent, found });
                self.metrics.quota_spent.inc();
                Err(NotReserved::Spent(spent))
            }
        }
    }
}

//! The rules of `GET /api/token`: what is served, when a fetch is made for it, and what is
//! said where none can be.

mod denied;
mod flight_outcome;
mod flush;
mod hold;
mod served;
mod single_flight;
mod stored;
mod wording;

use std::sync::Arc;

use crate::foundation::clock::{EpochMs, Moment, Ms, SharedClock, Timeline};
use crate::foundation::database::Database;
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::limit::within;
use crate::foundation::metrics::{Metrics, ReadLabels};
use crate::foundation::sealing::KeyRing;
use crate::foundation::traces;
use crate::memory::{COMPARING, Memory, MemoryLookup, Remembered};
use crate::renewal::cause::RenewalCause;
use crate::renewal::{DamageDetector, Quotas, RealmCache, RenewalSettings, Renewals};
use crate::token::expiry::Expiry;
use crate::token::{TokenRecord, Wait, store};
use crate::upstream::Upstream;
pub use denied::{FlushDenied, FlushDeniedCode};
use flight_outcome::FlightOutcome;
use hold::holding_back;
pub use served::{Ask, Flush, Flushed, ReadError, RefusedToken, Served, TokenSource};
use served::{RETRY_LATER, RETRY_SOON, beyond_quota, not_in_time, unavailable};
use single_flight::{SingleFlight, SingleFlightParts};
use wording::{DATABASE_UNUSABLE, EXPIRED_MEANWHILE, what_failed};

/// What a reader reads, after it may have waited.
enum Waited {
    /// Nothing is under way any more: the row as it is.
    Ended(TokenRecord),
    /// The renewal takes longer than a reader waits.
    InVain(TokenRecord),
}

/// What a flight brought.
enum Brought {
    Token(Served),
    /// What is answered where the stored token cannot be served instead.
    Nothing(ReadError),
}

/// Answers readers.
#[derive(Clone)]
pub struct Reads {
    database: Database,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    ring: Arc<KeyRing>,
    memory: Memory,
    upstream: Arc<Upstream>,
    realms: Arc<RealmCache>,
    damage: Arc<DamageDetector>,
    quotas: Arc<Quotas>,
    single_flight: Arc<SingleFlight>,
    min_ttl: Ms,
    min_flush_interval: Ms,
}

/// What reading is made of.
pub struct ReadsParts<'a> {
    pub renewals: &'a Renewals,
    pub database: Database,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub ring: Arc<KeyRing>,
    pub memory: Memory,
    pub upstream: Arc<Upstream>,
    pub settings: &'a RenewalSettings,
}

impl Reads {
    pub fn new(parts: ReadsParts<'_>) -> Self {
        let ReadsParts {
            renewals,
            database,
            clock,
            metrics,
            ring,
            memory,
            upstream,
            settings,
        } = parts;
        let single_flight = SingleFlight::new(SingleFlightParts {
            database: database.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            upstream: upstream.clone(),
            realms: renewals.realms.clone(),
            damage: renewals.damage.clone(),
            permits: renewals.permits.clone(),
            claims: renewals.claims.clone(),
            attempts: renewals.attempts.clone(),
            background: renewals.background.clone(),
            late: renewals.late.clone(),
            trigger: renewals.trigger(),
            max_wait: settings.max_wait,
        });
        Self {
            database,
            clock,
            metrics,
            ring,
            memory,
            upstream,
            realms: renewals.realms.clone(),
            damage: renewals.damage.clone(),
            quotas: renewals.quotas.clone(),
            single_flight: Arc::new(single_flight),
            min_ttl: settings.min_ttl,
            min_flush_interval: settings.min_flush_interval,
        }
    }

    pub async fn read(&self, ask: &Ask) -> Result<Served, ReadError> {
        let served = match &ask.flush {
            Some(flush) => self.flush(ask, flush).await,
            None => self.read_wished(ask).await,
        }?;
        let source = served.source.as_str();
        let reads = &self.metrics.reads;
        reads.get_or_create(&ReadLabels { source }).inc();
        traces::source(source);
        Ok(served)
    }

    /// What this process remembers, where nothing speaks against it, and how long that is
    /// valid. Waits for nothing, and leaves what takes longer to [`Reads::read`].
    pub fn read_at_once(
        &self,
        realm: &str,
        key: &str,
        now: Moment,
    ) -> Option<(Arc<Remembered>, Ms)> {
        let cell = self.memory.sure_token(realm, key, now)?;
        if !self.is_fresh(cell.payload.expiry, Ms::ZERO, now.wall) {
            return None;
        }
        self.metrics.cache_reads.inc();
        let left = cell.payload.expiry.left(now.wall);
        Some((cell, left))
    }

    /// The token as it is stored, if it is valid: nothing is fetched for that.
    ///
    /// # Errors
    /// Where the secret is not there, or cannot be read.
    pub async fn look(&self, realm: &RealmId, key: &KeyName) -> Result<Option<Served>, ReadError> {
        if let MemoryLookup::Sure(cell) = self.memory.token(realm, key)
            && let Some(served) = self.remembered(&cell, Ms::ZERO)
        {
            return Ok(Some(served));
        }
        let (since, read_at) = (self.memory.begin(), self.clock.boot());
        let record = self.find(realm, key).await?;
        if let Ok(Some(cell)) = Remembered::of(&record, &self.ring, read_at) {
            self.memory.remember(cell, since);
        }
        self.stored(&record, self.clock.now()).await
    }

    async fn read_wished(&self, ask: &Ask) -> Result<Served, ReadError> {
        let look = self.memory.token(&ask.realm, &ask.key);
        if let MemoryLookup::Sure(cell) = &look
            && let Some(served) = self.remembered(cell, ask.min_ttl)
        {
            return Ok(served);
        }
        let (since, read_at) = (self.memory.begin(), self.clock.boot());
        let record = match look {
            MemoryLookup::Doubtful(cell) => {
                let reading = store::find(self.database.reader(), &ask.realm, &ask.key);
                let served = || self.remembered(&cell, ask.min_ttl);
                match (within(COMPARING, reading).await, served()) {
                    (Some(Ok(Some(record))), Some(served)) if cell.is_of(&record) => {
                        return Ok(served);
                    }
                    (Some(Ok(Some(record))), _) => record,
                    (Some(Ok(None)), _) => {
                        self.memory.changed(cell.id);
                        return Err(ReadError::UnknownSecret);
                    }
                    (Some(Err(_)) | None, Some(served)) => return Ok(served),
                    (Some(Err(_)) | None, None) => self.find(&ask.realm, &ask.key).await?,
                }
            }
            MemoryLookup::Sure(_) | MemoryLookup::Nothing => {
                self.find(&ask.realm, &ask.key).await?
            }
        };
        let waited = match self.realms.ends_with_the_next(&record).await? {
            true => self.after_renewal(ask, record).await?,
            false => {
                // What cannot be opened is said by the read.
                if let Ok(Some(cell)) = Remembered::of(&record, &self.ring, read_at) {
                    self.memory.remember(cell, since);
                }
                Waited::Ended(record)
            }
        };
        self.read_waited(waited, ask.min_ttl).await
    }

    /// Waits, for `read.max_wait_s` at most, while somebody renews the token.
    async fn after_renewal(&self, ask: &Ask, record: TokenRecord) -> Result<Waited, ReadError> {
        if record.lease.is_none() {
            return Ok(Waited::Ended(record));
        }
        Ok(match self.single_flight.under_way(&record).await {
            FlightOutcome::Elsewhere(now) => Waited::Ended(*now),
            FlightOutcome::StillWaiting => Waited::InVain(record),
            FlightOutcome::Fetched(_)
            | FlightOutcome::Failed { .. }
            | FlightOutcome::Waiting(_)
            | FlightOutcome::Spent(_)
            | FlightOutcome::Sealed(_)
            | FlightOutcome::GoneOrPaused
            | FlightOutcome::DatabaseFailed => {
                Waited::Ended(self.find(&ask.realm, &ask.key).await?)
            }
        })
    }

    async fn read_waited(&self, waited: Waited, min_ttl: Ms) -> Result<Served, ReadError> {
        match waited {
            Waited::Ended(record) => self.read_through(&record, min_ttl).await,
            Waited::InVain(record) => {
                let late = "the token is being renewed; the next did not arrive in time";
                self.stored_or(&record, unavailable(None, late, RETRY_SOON))
                    .await
            }
        }
    }

    async fn find(&self, realm: &RealmId, key: &KeyName) -> Result<TokenRecord, ReadError> {
        self.database
            .read_with_retry(|reader| store::find(reader, realm, key))
            .await?
            .ok_or(ReadError::UnknownSecret)
    }

    fn remembered(&self, cell: &Remembered, min_ttl: Ms) -> Option<Served> {
        let now = self.clock.now();
        self.is_fresh(cell.payload.expiry, min_ttl, now)
            .then(|| Served {
                secret: cell.id,
                payload: cell.payload.with_token(cell.payload.token.token()),
                expires_in: cell.payload.expiry.left(now),
                generation: cell.generation,
                tag: Some(cell.tag.clone()),
                source: TokenSource::Cache,
                stale: false,
                flushed: None,
            })
    }

    /// Whether a token with that expiry has as much left as is wanted.
    fn is_fresh(&self, expiry: Expiry, min_ttl: Ms, now: EpochMs) -> bool {
        let wanted = min_ttl.max(self.min_ttl);
        let left = expiry.left(now);
        left > Ms::ZERO && (expiry == Expiry::Never || left > wanted)
    }

    async fn read_through(&self, record: &TokenRecord, min_ttl: Ms) -> Result<Served, ReadError> {
        let now = self.clock.now();
        if let Some(held) = &record.held
            && self.is_fresh(held.payload.expiry, min_ttl, now)
            && let Some(served) = self.stored(record, now).await?
        {
            return Ok(served);
        }
        let realm = self.realm_of(record).await?;
        if realm.source.is_fixed() {
            let served = self.stored(record, now).await?;
            return served.ok_or(match record.valid(now) {
                Some(_) => ReadError::FixedDamaged,
                None => ReadError::FixedMissing,
            });
        }
        // A damaged token is as good as none, but may be intact in the form it is served in.
        let usable = self.damage.without_damaged_token(record.clone()).await?;
        if let Some(refused) = holding_back(&usable, &realm, now) {
            return self.stored_or(record, refused).await;
        }
        if let Some(spent) = self.quotas.known_spent(&realm, record, RenewalCause::Read) {
            return self.stored_or(record, beyond_quota(spent.until, now)).await;
        }
        let outcome = self
            .single_flight
            .fresh(&realm, record, RenewalCause::Read)
            .await;
        match self.answer_of(outcome).await? {
            Brought::Token(served) => Ok(served),
            Brought::Nothing(refused) => self.stored_or(record, refused).await,
        }
    }

    /// What a flight brought, or why it brought nothing.
    async fn answer_of(&self, outcome: FlightOutcome) -> Result<Brought, ReadError> {
        let now = self.clock.now();
        let refused = match outcome {
            FlightOutcome::Fetched(fresh) => {
                let expires_in = fresh.payload.expiry.left(now);
                if expires_in > Ms::ZERO {
                    return Ok(Brought::Token(Served {
                        secret: fresh.secret,
                        expires_in,
                        payload: fresh.payload,
                        generation: fresh.generation,
                        tag: fresh.tag,
                        source: TokenSource::Upstream,
                        stale: false,
                        flushed: None,
                    }));
                }
                unavailable(None, EXPIRED_MEANWHILE, RETRY_SOON)
            }
            FlightOutcome::Elsewhere(record) => {
                if let Some(served) = self.stored(&record, now).await? {
                    return Ok(Brought::Token(served));
                }
                not_in_time()
            }
            FlightOutcome::StillWaiting => not_in_time(),
            FlightOutcome::Failed {
                class,
                detail,
                next_attempt,
            } => unavailable(
                Some(class),
                &what_failed(class, &detail),
                next_attempt.map_or(RETRY_SOON, |again| again.since(now).max(RETRY_SOON)),
            ),
            FlightOutcome::Spent(spent) => beyond_quota(spent.until, now),
            FlightOutcome::Sealed(error) => ReadError::Sealed(error),
            FlightOutcome::Waiting(waiting) => match waiting.until {
                Wait::Quota(until) => beyond_quota(until, now),
                Wait::Parent(_)
                | Wait::Registration
                | Wait::Ticket(_)
                | Wait::Candidate(_)
                | Wait::OtherServer(_) => unavailable(None, &waiting.why, RETRY_LATER),
            },
            FlightOutcome::GoneOrPaused => unavailable(
                None,
                "renewal is paused, or the secret was deleted",
                RETRY_SOON,
            ),
            FlightOutcome::DatabaseFailed => unavailable(None, DATABASE_UNUSABLE, RETRY_SOON),
        };
        Ok(Brought::Nothing(refused))
    }
}

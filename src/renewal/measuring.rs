//! What an operator sees: whether the database answers and the sweep goes on, which this process
//! knows by itself, and how the secrets are, which only the database knows.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::quota::Quotas;
use super::settings::RenewalTrigger;
use crate::foundation::clock::{BootMs, EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::metrics::{Measured, MeasuredRealm, Metrics, Remaining, timestamp};
use crate::memory::Memory;
use crate::realm::store as realm_store;
use crate::secret::store as secret_store;
use crate::token::state::State;
use crate::token::summary::{self, RealmSummary};

/// How long a scrape waits for the database: less than scrapers wait for this server.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A pass over all secrets that takes longer is not made at each scrape, and costs one part in so
/// many of the time…
const MEASURED_AT_EACH_SCRAPE: Ms = Ms(50);
const MEASURING_PART: i64 = 20;
/// … but one is made so often at least.
const MEASURED_EVERY: Ms = Ms::from_secs(5 * 60);
/// What was measured is shown for so long, while the database answers and no new pass ends.
const SHOWN_FOR: Ms = Ms::from_secs(10 * 60);

/// What this process knows of itself.
#[derive(Debug)]
pub(super) struct RenewalHealth {
    /// When a sweep last went through.
    swept: AtomicI64,
    /// When the database last answered.
    answered: AtomicI64,
    contact: OneAtOnce,
    pass: OneAtOnce,
    known: Arc<Mutex<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Nothing is measured again before.
    next: BootMs,
    /// What is shown is hidden then.
    hidden_after: BootMs,
}

impl Known {
    const NOTHING: Self = Self {
        next: BootMs(i64::MIN),
        hidden_after: BootMs(i64::MIN),
    };
}

impl RenewalHealth {
    /// Of a process that has just reached its database.
    pub fn new(now: BootMs) -> Self {
        Self {
            swept: AtomicI64::new(now.0),
            answered: AtomicI64::new(now.0),
            contact: OneAtOnce::default(),
            pass: OneAtOnce::default(),
            known: Arc::new(Mutex::new(Known::NOTHING)),
        }
    }

    /// A sweep went through.
    pub fn swept(&self, at: BootMs) {
        self.swept.fetch_max(at.0, Ordering::Relaxed);
        self.answered(at);
    }

    fn answered(&self, at: BootMs) {
        self.answered.fetch_max(at.0, Ordering::Relaxed);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a [`Measurer`] can touch.
pub(super) struct MeasurerParts {
    pub database: Database,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub memory: Memory,
    pub quotas: Arc<Quotas>,
    pub health: Arc<RenewalHealth>,
    pub trigger: RenewalTrigger,
}

/// Sets the metrics that are not counted where something happens.
pub(super) struct Measurer {
    parts: MeasurerParts,
}

impl Measurer {
    pub(super) fn new(parts: MeasurerParts) -> Self {
        Self { parts }
    }

    /// Sets the metrics that are not counted where something happens. Waits for the database
    /// only so long: what this process knows by itself is shown without it.
    pub(super) async fn measure(self: &Arc<Self>) {
        let up = self.is_database_up().await;
        if up {
            self.measure_secrets().await;
        }
        let now = self.parts.clock.boot();
        if !up || self.parts.health.known().hidden_after < now {
            *self.parts.health.known() = Known::NOTHING;
            self.parts.metrics.measured(None);
        }
        let shown = |at: &AtomicI64| {
            let ago = now.since(BootMs(at.load(Ordering::Relaxed)));
            timestamp(self.parts.clock.now().minus(ago))
        };
        self.parts.metrics.database_up.set(i64::from(up));
        self.parts
            .metrics
            .quota_left(self.parts.quotas.least_left());
        if self.parts.trigger == RenewalTrigger::Sweep {
            let swept = shown(&self.parts.health.swept);
            self.parts.metrics.last_sweep.set(swept);
        }
        self.parts
            .metrics
            .database_contact
            .set(shown(&self.parts.health.answered));
    }

    async fn is_database_up(&self) -> bool {
        if let Some(followed) = self.parts.memory.last_followed() {
            self.parts.health.answered(followed);
        }
        let database = self.parts.database.clone();
        let ping = async move { database.ping().await };
        match self
            .parts
            .health
            .contact
            .run(self.parts.clock.boot(), ping)
            .await
        {
            Some(Ok(())) => {
                self.parts.health.answered(self.parts.clock.boot());
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    /// Where it takes longer than a scrape waits, the next one shows it.
    async fn measure_secrets(self: &Arc<Self>) {
        let measurer = self.clone();
        let pass = async move {
            let begun = measurer.parts.clock.boot();
            if begun < measurer.parts.health.known().next {
                return;
            }
            let measured = measurer.read_secrets().await;
            let ended = measurer.parts.clock.boot();
            let took = ended.since(begun);
            let pause = if took < MEASURED_AT_EACH_SCRAPE {
                Ms::ZERO
            } else {
                Ms(MEASURING_PART.saturating_mul(took.0)).min(MEASURED_EVERY)
            };
            let known = match &measured {
                Ok(_) => Known {
                    next: begun.plus(pause),
                    hidden_after: ended.plus(SHOWN_FOR),
                },
                Err(error) => {
                    tracing::error!(
                        name: "metrics.not_counted",
                        %error, "the secrets could not be counted for the metrics"
                    );
                    Known::NOTHING
                }
            };
            *measurer.parts.health.known() = known;
            measurer.parts.metrics.measured(measured.ok());
        };
        self.parts
            .health
            .pass
            .run(self.parts.clock.boot(), pass)
            .await;
    }

    async fn read_secrets(&self) -> Result<Measured, DbError> {
        let (reader, now) = (self.parts.database.reader(), self.parts.clock.now());
        let realms = summary::by_realm(reader, now).await?;
        let fixed = realm_store::fixed_ids(reader).await?.into_iter().collect();
        let oldest: Vec<_> = realms.iter().filter_map(|of| of.never_obtained).collect();
        let registered = secret_store::created_at(reader, &oldest).await?;
        let registered = registered.into_iter().collect();
        Ok(measured(now, &realms, &fixed, &registered))
    }
}

fn measured(
    now: EpochMs,
    realms: &[RealmSummary],
    fixed: &HashSet<RealmId>,
    registered: &HashMap<SecretId, EpochMs>,
) -> Measured {
    let is_fixed = |of: &RealmSummary| fixed.contains(&of.realm);
    let mut secrets: Vec<_> = State::ALL.iter().copied().flat_map(pairs).collect();
    for of in realms {
        for (state, alive, count) in of.counts(is_fixed(of)) {
            let pair = secrets
                .iter_mut()
                .find(|(name, token, _)| (*name, *token) == (state.as_str(), alive));
            if let Some((_, _, sum)) = pair {
                *sum += count;
            }
        }
    }
    let registered_at = |of: &RealmSummary| registered.get(&of.never_obtained?).copied();
    let of_realm = |of: &RealmSummary| {
        let renewed = !is_fixed(of);
        let shown = MeasuredRealm {
            earliest_expiry: of.earliest_expiry,
            expired_since: of.expired_since.filter(|_| renewed),
            never_obtained_since: registered_at(of).filter(|_| renewed),
            dying: of.dying,
        };
        (of.realm.as_str().to_owned(), shown)
    };
    let due_since = realms.iter().filter_map(|of| of.due_since).min();
    Measured {
        at: now,
        secrets,
        remaining: realms
            .iter()
            .map(|of| of.remaining)
            .fold(Remaining::default(), Remaining::with),
        sweep_lag: due_since.map_or(Ms::ZERO, |due| now.since(due).max(Ms::ZERO)),
        realms: realms.iter().map(of_realm).collect(),
    }
}

/// A state with what its token may be: alive or not.
fn pairs(state: State) -> Vec<(&'static str, bool, i64)> {
    let alive: &[bool] = match state {
        State::Active | State::Retrying => &[true],
        State::Pending | State::Expired => &[false],
        State::NeedsAttention | State::Paused | State::Fixed => &[true, false],
    };
    let zero = |alive: &bool| (state.as_str(), *alive, 0);
    alive.iter().map(zero).collect()
}

/// Questions to the database, one at once. One that hangs is left to end by itself: a connection
/// that is dropped in the middle of an answer is of no use to whoever gets it next.
#[derive(Debug)]
struct OneAtOnce {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// When the one under way was begun.
    begun: Arc<AtomicI64>,
}

/// None is under way.
const IDLE: i64 = i64::MAX;

impl Default for OneAtOnce {
    fn default() -> Self {
        Self {
            turn: Arc::default(),
            begun: Arc::new(AtomicI64::new(IDLE)),
        }
    }
}

impl OneAtOnce {
    /// None where it takes too long, or where the one before hangs.
    async fn run<T: Send + 'static>(
        &self,
        now: BootMs,
        question: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let begun = self.begun.load(Ordering::Relaxed);
        if begun != IDLE && now.since(BootMs(begun)) > Ms::from(ANSWERS_WITHIN) {
            return None;
        }
        let (turn, begun) = (self.turn.clone(), self.begun.clone());
        let asking = async move {
            let turn = turn.lock_owned().await;
            begun.store(now.0, Ordering::Relaxed);
            let asking = tokio::spawn(async move {
                let answer = question.await;
                begun.store(IDLE, Ordering::Relaxed);
                drop(turn);
                answer
            });
            asking.await.ok()
        };
        tokio::time::timeout(ANSWERS_WITHIN, asking).await.ok()?
    }
}

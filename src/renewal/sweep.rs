//! The sweep: choose what is due, claim it, set attempts off. It is woken each second by
//! the scheduler, by every change, and by every attempt that ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::Instrument;

use super::attempt::AttemptRunner;
use super::background::Background;
use super::cause::RenewalCause;
use super::claiming::Claimer;
use super::measuring::RenewalHealth;
use super::permits::{Permit, Permits};
use super::realms::RealmCache;
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::traces;
use crate::realm::store as realm_store;
use crate::token::claim::Claimed;
use crate::token::due;
use crate::token::lease::ClaimCondition;
use crate::upstream::Upstream;

/// By the scheduler.
const SWEPT_EVERY: Ms = Ms::from_secs(1);
/// Between two sweeps: what ends meanwhile is followed by one.
const PAUSE: Duration = Duration::from_millis(15);

/// Why a sweep did not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSwept {
    /// The log says why.
    Failed,
    /// The server stops.
    Stopping,
}

/// What a sweep claims, and the permits for it.
#[derive(Default)]
struct Chosen {
    ids: Vec<SecretId>,
    permits: BTreeMap<RealmId, Vec<Permit>>,
}

/// What a [`Sweeper`] can touch.
pub(super) struct SweeperParts {
    pub database: Database,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub metrics: Arc<Metrics>,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub permits: Permits,
    pub claims: Arc<Claimer>,
    pub attempts: Arc<AttemptRunner>,
    pub health: Arc<RenewalHealth>,
    pub background: Background,
}

/// Sweeps: chooses what is due, has it claimed, and sets attempts off.
pub(super) struct Sweeper {
    parts: SweeperParts,
    /// By the boot clock; negative before the first sweep.
    last_sweep: AtomicI64,
}

impl Sweeper {
    pub(super) fn new(parts: SweeperParts) -> Self {
        Self {
            parts,
            last_sweep: AtomicI64::new(-1),
        }
    }

    /// Sweeping begins: what metrics say of the last sweep counts from now.
    pub(super) fn begin(&self) {
        self.parts.health.swept(self.parts.clock.boot());
    }

    /// Sweeps once, as a task that is waited for when the server stops.
    pub(super) async fn sweep_once(self: &Arc<Self>) -> Result<(), NotSwept> {
        if self.parts.background.is_stopping() {
            return Err(NotSwept::Stopping);
        }
        let sweeper = self.clone();
        let sweep = async move {
            let swept = match sweeper.sweep().await {
                Ok(()) => {
                    sweeper.parts.health.swept(sweeper.parts.clock.boot());
                    sweeper.parts.database.answered();
                    Ok(())
                }
                Err(error) => {
                    sweeper.parts.database.failed(&error, "the sweep");
                    Err(NotSwept::Failed)
                }
            };
            sweeper.note_sweep();
            swept
        };
        let swept = self.parts.background.spawn(sweep).await;
        tokio::time::sleep(PAUSE).await;
        // One that panicked failed, too.
        swept.unwrap_or(Err(NotSwept::Failed))
    }

    async fn sweep(&self) -> Result<(), DbError> {
        match self.parts.claims.clocks_agree().await {
            // It was said, and is said again as long as it lasts.
            Err(DbError::ClockApart(_)) => return Ok(()),
            other => other?,
        }
        self.sweep_abandoned().await?;
        let chosen = self.choose().await?;
        if chosen.is_empty() {
            return Ok(());
        }
        let attempts = chosen.values().map(|chosen| chosen.ids.len()).sum();
        let claiming = async {
            for (timeout, chosen) in chosen {
                self.claim_chosen(timeout, chosen).await?;
            }
            Ok::<(), DbError>(())
        };
        claiming.instrument(traces::sweep(attempts)).await
    }

    async fn sweep_abandoned(&self) -> Result<(), DbError> {
        let suspects = self.parts.claims.suspects(None).await?;
        let claims = &self.parts.claims;
        for suspect in claims.abandoned(&suspects) {
            let timeout = claims.timeout(&suspect).await?;
            // Set off one by one: what is taken over here nobody else will look after.
            if let Some(claimed) = claims.take_over(&suspect, timeout).await? {
                self.set_off(claimed, None);
            }
        }
        // Whoever takes over should be in time for what a provider accepts a little longer.
        if let Some(wait) = self
            .parts
            .claims
            .next_abandoned(&suspects)
            .filter(|wait| *wait < SWEPT_EVERY)
        {
            self.parts.background.wake_after(wait.as_duration());
        }
        Ok(())
    }

    /// Chooses only what has a free permit, so that a claim is also the intent to send.
    async fn choose(&self) -> Result<BTreeMap<Ms, Chosen>, DbError> {
        let (reader, now) = (self.parts.database.reader(), self.parts.clock.now());
        let realms =
            due::due_among(reader, &realm_store::open_ids(reader, now).await?, now).await?;
        if realms.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut rows = realm_store::find_all(reader, realms.iter().map(RealmId::as_str)).await?;
        self.begin_anywhere(&mut rows);
        let mut open = Vec::new();
        for row in rows {
            let Some(realm) = self.parts.realms.readable(&row).await? else {
                continue;
            };
            let permits = self
                .parts
                .permits
                .take_free(&realm.id, self.parts.claims.realm_limit(&realm));
            if permits.is_empty() {
                self.sweep_again_at_pace(&realm.id);
            } else {
                open.push((realm, permits));
            }
        }
        let wanted: Vec<_> = open
            .iter()
            .map(|(realm, permits)| (&realm.id, permits.len() as u64))
            .collect();
        let mut due =
            due::due_in_each(reader, &wanted, now, &self.parts.claims.left_to_others()).await?;
        let mut chosen: BTreeMap<Ms, Chosen> = BTreeMap::new();
        for (realm, mut permits) in open {
            let ids = due.remove(&realm.id).unwrap_or_default();
            // What is not needed goes back.
            permits.truncate(ids.len());
            if !ids.is_empty() && !self.parts.background.is_stopping() {
                self.sweep_again_at_pace(&realm.id);
                let timeout = self.parts.upstream.timeout(&realm.source);
                let chosen = chosen.entry(timeout).or_default();
                chosen.ids.extend(ids);
                chosen.permits.insert(realm.id.clone(), permits);
            }
        }
        Ok(chosen)
    }

    /// Where permits are short, none is always the first.
    fn begin_anywhere<T>(&self, list: &mut [T]) {
        let last = i64::try_from(list.len()).unwrap_or(i64::MAX) - 1;
        let first = self.parts.randomness.between(0, last.max(0));
        list.rotate_left(usize::try_from(first).unwrap_or(0));
    }

    /// Claims at once what is given the same time.
    async fn claim_chosen(&self, timeout: Ms, mut chosen: Chosen) -> Result<(), DbError> {
        for claimed in self
            .parts
            .claims
            .claim(&ClaimCondition::Due(chosen.ids), timeout)
            .await?
        {
            let permits = chosen.permits.get_mut(&claimed.record.realm);
            let permit = permits.and_then(Vec::pop);
            self.set_off(claimed, permit);
        }
        Ok(())
    }

    /// What the pace holds back is swept when it may start.
    fn sweep_again_at_pace(&self, realm: &RealmId) {
        if let Some(wait) = self.parts.permits.paced(realm) {
            self.parts.background.wake_after(wait);
        }
    }

    /// Starts an attempt that outlives the sweep. A lease taken over has no permit: there
    /// are few, and they are late already.
    fn set_off(&self, claimed: Claimed, permit: Option<Permit>) {
        let (attempts, background) = (self.parts.attempts.clone(), self.parts.background.clone());
        let permit = permit.map(Permit::begin);
        let attempt = async move {
            attempts.attempt(claimed, RenewalCause::Scheduled).await;
            drop(permit);
            background.wake();
        };
        self.parts.background.spawn(attempt.in_current_span());
    }

    fn note_sweep(&self) {
        let boot = self.parts.clock.boot();
        self.last_sweep.store(boot.0, Ordering::Relaxed);
        self.parts.metrics.sweeps.inc();
    }

    /// When the sweep last ended, for readiness; none before the first.
    pub(super) fn last_sweep(&self) -> Option<BootMs> {
        let boot = self.last_sweep.load(Ordering::Relaxed);
        (boot >= 0).then_some(BootMs(boot))
    }
}

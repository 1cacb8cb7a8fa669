//! The sweep: choose what is due, claim it, set attempts off. It is woken each second by
//! the scheduler, by every change, and by every attempt that ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use token_server_entity::realm;

use super::Renewals;
use super::attempt::Cause;
use super::permits::Permit;
use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::database::DbError;
use crate::foundation::ids::{RealmId, SecretId};
use crate::realm::{Realm, store as realm_store};
use crate::token::due;
use crate::token::lease::{Claimed, Ground};

/// By the scheduler.
const SWEPT_EVERY: Ms = Ms::from_secs(1);
/// Between two sweeps: what ends meanwhile is followed by one.
const PAUSE: Duration = Duration::from_millis(15);

/// What a sweep claims, and the permits for it.
#[derive(Default)]
struct Chosen {
    ids: Vec<SecretId>,
    permits: BTreeMap<RealmId, Vec<Permit>>,
}

impl Renewals {
    /// Sweeps at once, and then whenever woken, until the server stops.
    pub fn start_sweeping(&self) {
        let renewals = self.clone();
        self.health.swept(self.clock.boot());
        self.wake.notify_one();
        self.tasks
            .spawn(async move { renewals.sweep_when_woken().await });
    }

    async fn sweep_when_woken(&self) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.wake.notified() => {}
            }
            match self.sweep().await {
                Ok(()) => {
                    self.health.swept(self.clock.boot());
                    self.database.answered();
                }
                Err(error) => self.database.failed(&error, "the sweep"),
            }
            self.note_sweep();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn sweep(&self) -> Result<(), DbError> {
        match self.clocks_agree().await {
            // It was said, and is said again as long as it lasts.
            Err(DbError::ClockApart(_)) => return Ok(()),
            other => other?,
        }
        self.sweep_abandoned().await?;
        for (timeout, chosen) in self.choose().await? {
            self.claim_chosen(timeout, chosen).await?;
        }
        Ok(())
    }

    async fn sweep_abandoned(&self) -> Result<(), DbError> {
        let suspects = self.suspects().await?;
        for suspect in self.abandoned(&suspects) {
            // Set off one by one: what is taken over here nobody else will look after.
            if let Some(claimed) = self.take_over(&suspect).await? {
                self.set_off(claimed, None);
            }
        }
        // Whoever takes over should be in time for what a provider accepts a little longer.
        if let Some(wait) = self
            .next_abandoned(&suspects)
            .filter(|wait| *wait < SWEPT_EVERY)
        {
            self.wake_after(wait.as_duration());
        }
        Ok(())
    }

    /// Chooses only what has a free permit, so that a claim is also the intent to send.
    async fn choose(&self) -> Result<BTreeMap<Ms, Chosen>, DbError> {
        let (reader, now) = (self.database.reader(), self.clock.now());
        let realms =
            due::due_among(reader, &realm_store::open_ids(reader, now).await?, now).await?;
        if realms.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut rows = realm_store::find_all(reader, realms.iter().map(RealmId::as_str)).await?;
        self.begin_anywhere(&mut rows);
        let mut open = Vec::new();
        for row in rows {
            let Some(realm) = self.readable(&row) else {
                continue;
            };
            let permits = self.permits.take_free(&realm.id, self.realm_limit(&realm));
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
        let mut due = due::due_in_each(reader, &wanted, now, &self.left_to_others()).await?;
        let mut chosen: BTreeMap<Ms, Chosen> = BTreeMap::new();
        for (realm, mut permits) in open {
            let ids = due.remove(&realm.id).unwrap_or_default();
            // What is not needed goes back.
            permits.truncate(ids.len());
            if !ids.is_empty() && !self.stopping.is_cancelled() {
                self.sweep_again_at_pace(&realm.id);
                let timeout = self.upstream.timeout(&realm.source);
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
        let first = self.randomness.between(0, last.max(0));
        list.rotate_left(usize::try_from(first).unwrap_or(0));
    }

    /// Claims at once what is given the same time.
    async fn claim_chosen(&self, timeout: Ms, mut chosen: Chosen) -> Result<(), DbError> {
        for claimed in self.claim(&Ground::Due(chosen.ids), timeout).await? {
            let permits = chosen.permits.get_mut(&claimed.record.realm);
            let permit = permits.and_then(Vec::pop);
            self.set_off(claimed, permit);
        }
        Ok(())
    }

    /// What the pace holds back is swept when it may start.
    fn sweep_again_at_pace(&self, realm: &RealmId) {
        if let Some(wait) = self.permits.paced(realm) {
            self.wake_after(wait);
        }
    }

    fn wake_after(&self, wait: Duration) {
        let renewals = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = renewals.stopping.cancelled() => {}
                () = tokio::time::sleep(wait) => renewals.wake.notify_one(),
            }
        });
    }

    /// Starts an attempt that outlives the sweep. A lease taken over has no permit: there
    /// are few, and they are late already.
    fn set_off(&self, claimed: Claimed, permit: Option<Permit>) {
        let renewals = self.clone();
        let permit = permit.map(Permit::begin);
        self.tasks.spawn(async move {
            renewals.attempt(claimed, Cause::Scheduled).await;
            drop(permit);
            renewals.wake.notify_one();
        });
    }

    /// A realm that this server can read; another is left to newer servers.
    pub(super) async fn load_realm(&self, id: &RealmId) -> Result<Option<Arc<Realm>>, DbError> {
        let row = self
            .database
            .patiently(|reader| realm_store::find(reader, id))
            .await?;
        Ok(row.and_then(|row| self.readable(&row)))
    }

    fn readable(&self, row: &realm::Model) -> Option<Arc<Realm>> {
        match self.read_realm(row) {
            Ok(realm) => Some(realm),
            Err(error) => {
                tracing::error!(%error, "a realm is left alone");
                None
            }
        }
    }

    fn note_sweep(&self) {
        let boot = self.clock.boot();
        self.last_sweep.store(boot.0, Ordering::Relaxed);
        self.metrics.sweeps.inc();
    }

    /// When the sweep last ended, for readiness; none before the first.
    pub fn last_sweep(&self) -> Option<BootMs> {
        let boot = self.last_sweep.load(Ordering::Relaxed);
        (boot >= 0).then_some(BootMs(boot))
    }
}

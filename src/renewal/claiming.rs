//! Claiming: first in the database, and only then in the world.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::realms::RealmCache;
use super::settings::LEASE_SLACK;
use super::skew::ClockCheck;
use super::watch::FenceWatch;
use crate::foundation::clock::{BootMs, Deadline, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{AttemptId, ClaimId, RealmId, ReplicaId, SecretId};
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::realm::Realm;
use crate::token::claim::{Claim, Claimed};
use crate::token::lease::{self, ClaimCondition};
use crate::token::lost;
use crate::token::suspect::{self, Suspect};
use crate::upstream::Upstream;

/// How long a row sealed with an unknown key is left alone.
const LEFT_ALONE: Ms = Ms::from_secs(60);
/// Leases looked at in one sweep.
const SUSPECTS_MAX: u64 = 1000;

/// What a [`Claimer`] can touch.
pub(super) struct ClaimerParts {
    pub database: Database,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub replica: ReplicaId,
    pub metrics: Arc<Metrics>,
    pub clocks: ClockCheck,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub realm_concurrency: usize,
}

/// Claims tokens, and takes over leases whose holder went silent.
pub(crate) struct Claimer {
    parts: ClaimerParts,
    watch: Mutex<FenceWatch>,
    /// Rows sealed with a key of another replica, and when they were found so.
    left_to_others: Mutex<HashMap<SecretId, BootMs>>,
}

impl Claimer {
    pub(super) fn new(parts: ClaimerParts) -> Self {
        Self {
            parts,
            watch: Mutex::default(),
            left_to_others: Mutex::default(),
        }
    }

    /// Whether a clock that others agree with says what time it is.
    pub(super) async fn clocks_agree(&self) -> Result<(), DbError> {
        self.parts.clocks.agree().await
    }

    /// Claims what still meets its condition. Acts on nothing before COMMIT succeeded; where
    /// nobody knows whether it did, looks the claim up.
    pub(crate) async fn claim(
        &self,
        condition: &ClaimCondition,
        timeout: Ms,
    ) -> Result<Vec<Claimed>, DbError> {
        self.parts.clocks.agree().await?;
        let (now, machine) = (self.parts.clock.now(), self.parts.clock.machine());
        let lease = Ms(timeout.0 + LEASE_SLACK.0);
        let claim = &Claim {
            owner: self.parts.replica.clone(),
            id: ClaimId::new(self.parts.randomness.id()),
            now,
            until: now.plus(lease),
            lease: Deadline::after(machine, lease),
        };
        let claimed = self
            .parts
            .database
            .write(|transaction, _| {
                Box::pin(async move { Ok(lease::claim(transaction, condition, claim).await?) })
            })
            .await;
        match claimed {
            Err(DbError::OutcomeUnknown(_)) => {
                Ok(lease::claimed_by(self.parts.database.causal(), condition, claim).await?)
            }
            known => known,
        }
    }

    /// How many attempts may run at once in a realm.
    pub(crate) fn realm_limit(&self, realm: &Realm) -> usize {
        realm
            .source
            .policy()
            .concurrency
            .unwrap_or(self.parts.realm_concurrency)
    }

    /// Leases that are held, or were by whoever will not give them back; of all realms or of one.
    pub(super) async fn suspects(&self, realm: Option<&RealmId>) -> Result<Vec<Suspect>, DbError> {
        Ok(suspect::held(self.parts.database.reader(), realm, SUSPECTS_MAX).await?)
    }

    /// Those that have run out by the wall clock, and whose holder was watched long enough to
    /// be taken over.
    pub(super) fn abandoned(&self, suspects: &[Suspect]) -> Vec<Suspect> {
        let now = self.parts.clock.boot();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched = watch.observe(suspects, now);
        watched.retain(|suspect| suspect.has_run_out(self.parts.clock.now()));
        watched
    }

    /// How long until another of them will be.
    pub(super) fn next_abandoned(&self, suspects: &[Suspect]) -> Option<Ms> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.next(suspects, self.parts.clock.boot())
    }

    /// How long an attempt here may take; the holder's may have been another.
    pub(super) async fn timeout(&self, suspect: &Suspect) -> Result<Ms, DbError> {
        let realm = self.parts.realms.load(&suspect.realm).await?;
        Ok(realm.map_or(Ms(suspect.lease.0 - LEASE_SLACK.0), |realm| {
            self.parts.upstream.timeout(&realm.source)
        }))
    }

    /// Takes over a lease, unless its holder came back or another replica was first.
    pub(super) async fn take_over(
        &self,
        suspect: &Suspect,
        timeout: Ms,
    ) -> Result<Option<Claimed>, DbError> {
        let condition = ClaimCondition::Abandoned(suspect.id, suspect.fence);
        let taken = self.claim(&condition, timeout).await?.pop();
        if let Some(claimed) = &taken {
            self.parts.metrics.lease_steals.inc();
            tracing::warn!(
                name: "lease.taken_over",
                realm = %claimed.record.realm,
                key = %claimed.record.key,
                "took over a lease whose holder went silent"
            );
        }
        Ok(taken)
    }

    /// A restarted replica releases what its earlier process held, and one that stops what
    /// it still holds, but for what it will bring when it starts again. Nobody waits for it any
    /// longer.
    pub(super) async fn release_own_leases(&self, unkept: &[AttemptId]) -> Result<usize, DbError> {
        let replica = &self.parts.replica;
        let now = self.parts.clock.now();
        self.parts
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    lost::nothing_comes_from(transaction, replica, unkept, now).await?;
                    Ok(lease::release_all_of(transaction, replica, unkept, now).await?)
                })
            })
            .await
    }

    /// Leaves a row to the servers that have its sealing key. Answers whether it is the only one
    /// that is left to others for now.
    pub(super) fn leave_to_others(&self, id: SecretId) -> bool {
        let first = self.left_to_others().is_empty();
        self.left_to_others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, self.parts.clock.boot());
        first
    }

    /// The rows that are left to other replicas for now.
    pub(super) fn left_to_others(&self) -> Vec<SecretId> {
        let mut left = self
            .left_to_others
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.parts.clock.boot();
        left.retain(|_, since| now.since(*since) < LEFT_ALONE);
        left.keys().copied().collect()
    }
}

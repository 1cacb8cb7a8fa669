//! Claiming: first in the database, and only then in the world.

use std::sync::PoisonError;

use super::attempt::Attempted;
use super::{LEASE_SLACK, Renewals};
use crate::foundation::clock::{Ms, Timeline};
use crate::foundation::database::DbError;
use crate::foundation::ids::{ClaimId, SecretId};
use crate::foundation::sealing::OpenError;
use crate::realm::Realm;
use crate::token::lease::{self, Claim, Claimed, Ground};
use crate::token::suspect::{self, Suspect};
use crate::token::{Wait, Waiting, lost};

/// How long a row sealed with an unknown key is left alone.
const LEFT_ALONE: Ms = Ms::from_secs(60);
/// Leases looked at in one sweep.
const SUSPECTS_MAX: u64 = 1000;

impl Renewals {
    /// Claims what still meets its ground. Acts on nothing before COMMIT succeeded; where
    /// nobody knows whether it did, looks the claim up.
    pub(super) async fn claim(
        &self,
        ground: &Ground,
        timeout: Ms,
    ) -> Result<Vec<Claimed>, DbError> {
        self.clocks_agree().await?;
        let now = self.clock.now();
        let claim = &Claim {
            owner: self.replica.clone(),
            id: ClaimId::new(self.randomness.id()),
            now,
            until: now.plus(timeout).plus(LEASE_SLACK),
        };
        let claimed = self
            .database
            .write(|transaction, _| Box::pin(lease::claim(transaction, ground, claim)))
            .await;
        match claimed {
            Err(DbError::OutcomeUnknown(_)) => {
                Ok(lease::claimed_by(self.database.causal(), ground, &claim.id).await?)
            }
            known => known,
        }
    }

    /// How many attempts may run at once in a realm.
    pub(super) fn realm_limit(&self, realm: &Realm) -> usize {
        realm
            .source
            .policy()
            .concurrency
            .unwrap_or(self.settings.realm_concurrency)
    }

    /// Leases that are held, or were by whoever will not give them back.
    pub(super) async fn suspects(&self) -> Result<Vec<Suspect>, DbError> {
        Ok(suspect::held(self.database.reader(), SUSPECTS_MAX).await?)
    }

    /// Those that have run out by the wall clock, and whose holder was watched long enough to
    /// be taken over.
    pub(super) fn abandoned(&self, suspects: &[Suspect]) -> Vec<Suspect> {
        let now = self.clock.boot();
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched = watch.observe(suspects, now);
        watched.retain(|suspect| suspect.has_run_out(self.clock.now()));
        watched
    }

    /// How long until another of them will be.
    pub(super) fn next_abandoned(&self, suspects: &[Suspect]) -> Option<Ms> {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.next(suspects, self.clock.boot())
    }

    /// Takes over a lease, unless its holder came back or another replica was first.
    pub(super) async fn take_over(&self, suspect: &Suspect) -> Result<Option<Claimed>, DbError> {
        let ground = Ground::Abandoned(suspect.id, suspect.fence);
        let attempt_time = Ms(suspect.lease.0 - LEASE_SLACK.0);
        let taken = self.claim(&ground, attempt_time).await?.pop();
        if let Some(claimed) = &taken {
            self.metrics.lease_steals.inc();
            tracing::warn!(
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
    pub async fn release_own_leases(&self) -> Result<usize, DbError> {
        let (replica, unkept) = (&self.replica, &self.unkept());
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    lost::nothing_comes_from(transaction, replica, unkept, now).await?;
                    lease::release_all_of(transaction, replica, unkept, now).await
                })
            })
            .await
    }

    /// Leaves a row to the servers that have its sealing key. It stays due, and says what it
    /// waits for; the log names the first of each minute.
    pub(super) async fn leave_to_others(&self, claimed: &Claimed, error: OpenError) -> Attempted {
        let record = &claimed.record;
        if self.left_to_others().is_empty() {
            tracing::warn!(
                %error,
                "a token is left to servers that have its sealing key: put that key back into sealing.keys"
            );
        } else {
            tracing::debug!(%error, "a token is left to servers that have its sealing key");
        }
        self.left_to_others
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.secret_id, self.clock.boot());
        let waiting = Waiting {
            why: format!("a server that has the sealing key: {error}"),
            until: Wait::OtherServer(record.renew_at.unwrap_or(self.clock.now())),
        };
        match self.store_waiting(claimed, waiting).await {
            Attempted::Waiting(_) => Attempted::Sealed(error),
            other => other,
        }
    }

    /// The rows that are left to other replicas for now.
    pub(super) fn left_to_others(&self) -> Vec<SecretId> {
        let mut left = self
            .left_to_others
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        left.retain(|_, since| now.since(*since) < LEFT_ALONE);
        left.keys().copied().collect()
    }
}

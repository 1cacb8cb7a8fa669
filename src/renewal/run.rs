//! One run through all that is due, to the end: the scheduled container job, and cloud
//! timers.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::Instrument;

use super::attempt::AttemptRunner;
use super::background::Background;
use super::cause::RenewalCause;
use super::claiming::Claimer;
use super::outcome::Attempted;
use super::permits::{Permit, Permits};
use super::realms::RealmCache;
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::realm::failure::{Failure, FailureClass};
use crate::realm::{Realm, store as realm_store};
use crate::token::claim::Claimed;
use crate::token::lease::ClaimCondition;
use crate::token::{TokenRecord, due};
use crate::upstream::Upstream;

/// Failures that a summary names; beyond, it counts.
const NAMED_FAILURES_MAX: usize = 100;
/// The longest chain of tokens derived from each other that one run goes through.
const ROUNDS_MAX: usize = 8;

/// The action of a run in the audit.
pub const RUN: &str = "renewal.run";

/// What a run covers.
#[derive(Clone, Debug, Default)]
pub struct RunScope {
    /// One realm only.
    pub realm: Option<RealmId>,
    /// Due or not.
    pub all: bool,
    /// First wait for leases that a killed process left over, and take them over. For a
    /// process without a sweep, which does that in a server.
    pub recover: bool,
    /// No attempt begins later; those that the sweep beside it has under way are waited for until
    /// then, too. None: it goes on until nothing is due.
    pub timeout: Option<Ms>,
}

impl RunScope {
    /// What the audit says that it covers.
    pub fn target(&self) -> String {
        match &self.realm {
            Some(realm) => realm.to_string(),
            None => "(all realms)".to_owned(),
        }
    }
}

/// What the audit says of what came of a run.
pub fn came_of(run: &Result<RunSummary, DbError>) -> String {
    match run {
        Ok(summary) => format!("{} renewed, {} failed", summary.renewed, summary.failed),
        Err(_) => "the database failed".to_owned(),
    }
}

#[derive(Clone, Debug)]
pub struct NamedFailure {
    pub realm: RealmId,
    pub key: KeyName,
    pub class: FailureClass,
    pub detail: String,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct RunSummary {
    pub renewed: u64,
    pub failed: u64,
    /// What something else must come before, and that did not come.
    pub waiting: u64,
    /// Results that were void because something changed meanwhile, or could not be stored.
    pub discarded: u64,
    /// Due still, since the time was up.
    pub left: u64,
    pub failures: Vec<NamedFailure>,
    pub duration: Ms,
    /// Attempts that ended in waiting, and those that ended otherwise.
    waited: HashSet<SecretId>,
    attempted: HashSet<SecretId>,
}

/// Told of a run as it goes.
pub trait Progress: Sync {
    /// So many more are to be attempted.
    fn found(&self, tokens: u64);
    fn attempted(&self, realm: &RealmId, key: &KeyName, renewed: bool);
}

impl Progress for () {
    fn found(&self, _: u64) {}
    fn attempted(&self, _: &RealmId, _: &KeyName, _: bool) {}
}

/// What a [`Runner`] can touch.
pub(super) struct RunnerParts {
    pub database: Database,
    pub clock: SharedClock,
    pub upstream: Arc<Upstream>,
    pub realms: Arc<RealmCache>,
    pub permits: Permits,
    pub claims: Arc<Claimer>,
    pub attempts: Arc<AttemptRunner>,
    pub background: Background,
}

/// Goes through all that is due.
pub(super) struct Runner {
    parts: RunnerParts,
}

impl Runner {
    pub(super) fn new(parts: RunnerParts) -> Self {
        Self { parts }
    }

    /// Attempts everything in scope once. Where the database fails for one realm, the
    /// others are finished before that is said.
    pub(super) async fn run(
        &self,
        scope: &RunScope,
        progress: &dyn Progress,
    ) -> Result<RunSummary, DbError> {
        let begun = self.parts.clock.boot();
        let mut summary = RunSummary::default();
        if scope.recover {
            self.recover(progress, &mut summary).await?;
        }
        let until = scope.timeout.map(|timeout| begun.plus(timeout));
        let mut broken = None;
        // What waits for its parent is due again once that is stored.
        for round in 0..ROUNDS_MAX {
            let again = RunScope {
                all: scope.all && round == 0,
                ..scope.clone()
            };
            let before = summary.attempts();
            let realms = self.realms_in(&again).await?;
            let mut running: FuturesUnordered<_> = realms
                .iter()
                .map(|realm| self.run_realm(realm, again.all, until, progress))
                .collect();
            while let Some((of_realm, ended)) = running.next().await {
                summary.add(of_realm);
                broken = broken.or(ended.err());
            }
            let is_done = summary.still_waiting() == 0 || summary.attempts() == before;
            if is_done || self.is_over(until) {
                break;
            }
        }
        if let Some(until) = until {
            self.wait_for_the_sweep(until).await;
            let realms = self.realms_in(scope).await?;
            let (reader, now) = (self.parts.database.reader(), self.parts.clock.now());
            summary.left = due::count(reader, &realms, now).await?;
        }
        summary.waiting = summary.still_waiting();
        summary.duration = self.parts.clock.boot().since(begun);
        broken.map_or(Ok(summary), Err)
    }

    fn is_over(&self, until: Option<BootMs>) -> bool {
        until.is_some_and(|until| self.parts.clock.boot() >= until)
    }

    /// Waits for attempts that somebody else has set off in this process.
    async fn wait_for_the_sweep(&self, until: BootMs) {
        let left = until.since(self.parts.clock.boot()).as_duration();
        let _ = tokio::time::timeout(left, self.parts.permits.all_given_back()).await;
    }

    /// Watches leases that have run out for as long as they were given for.
    async fn recover(
        &self,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        let (suspects, now) = (self.parts.claims.suspects().await?, self.parts.clock.now());
        self.parts.claims.abandoned(&suspects);
        let run_out = suspects.iter().filter(|suspect| suspect.has_run_out(now));
        let Some(longest) = run_out.map(|suspect| suspect.lease).max() else {
            return Ok(());
        };
        tokio::time::sleep(longest.as_duration()).await;
        let suspects = self.parts.claims.suspects().await?;
        for suspect in self.parts.claims.abandoned(&suspects) {
            if let Some(claimed) = self.parts.claims.take_over(&suspect).await? {
                let realm = claimed.record.realm.clone();
                let permit = self.parts.permits.take_one(&realm, usize::MAX).await;
                self.attempt_all(vec![(claimed, permit)], progress, summary)
                    .await;
            }
        }
        Ok(())
    }

    async fn realms_in(&self, scope: &RunScope) -> Result<Vec<RealmId>, DbError> {
        let reader = self.parts.database.reader();
        match &scope.realm {
            Some(realm) => Ok(vec![realm.clone()]),
            None if scope.all => Ok(realm_store::all_ids(reader).await?),
            None => {
                let now = self.parts.clock.now();
                let open = realm_store::open_ids(reader, now).await?;
                Ok(due::due_among(reader, &open, now).await?)
            }
        }
    }

    async fn run_realm(
        &self,
        id: &RealmId,
        all: bool,
        until: Option<BootMs>,
        progress: &dyn Progress,
    ) -> (RunSummary, Result<(), DbError>) {
        let mut summary = RunSummary::default();
        let ended = self
            .run_batches(id, all, until, progress, &mut summary)
            .await;
        (summary, ended)
    }

    async fn run_batches(
        &self,
        id: &RealmId,
        all: bool,
        until: Option<BootMs>,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        // What stays due although it was attempted, and what another replica claims.
        let mut passed_over = self.parts.claims.left_to_others();
        let mut after = SecretId(i64::MIN);
        // Read anew for each batch: a rate limit met meanwhile holds.
        while let Some(realm) = self.open_realm(id).await? {
            let permits = self.take_permits(&realm).await;
            if self.is_over(until) {
                return Ok(());
            }
            let (reader, limit) = (self.parts.database.reader(), permits.len() as u64);
            let ids = if all {
                due::renewable_in(reader, id, after, &passed_over, limit).await?
            } else {
                due::due_in(reader, id, self.parts.clock.now(), &passed_over, limit).await?
            };
            let Some(last) = ids.iter().max() else {
                return Ok(());
            };
            after = *last;
            let timeout = self.parts.upstream.timeout(&realm.source);
            let condition = if all {
                ClaimCondition::Unconditional(ids.clone())
            } else {
                ClaimCondition::Due(ids.clone())
            };
            let claimed = self.parts.claims.claim(&condition, timeout).await?;
            progress.found(claimed.len() as u64);
            passed_over.extend(ids.into_iter().filter(|id| {
                !claimed
                    .iter()
                    .any(|claimed| claimed.record.secret_id == *id)
            }));
            let permitted = claimed.into_iter().zip(permits).collect();
            passed_over.extend(self.attempt_all(permitted, progress, summary).await);
        }
        Ok(())
    }

    /// A realm that may be asked now.
    async fn open_realm(&self, id: &RealmId) -> Result<Option<Arc<Realm>>, DbError> {
        let now = self.parts.clock.now();
        let realm = self.parts.realms.load(id).await?;
        Ok(realm.filter(|realm| realm.blocked_until.is_none_or(|until| until <= now)))
    }

    /// One permit at least, and what else is free: only as much is claimed.
    async fn take_permits(&self, realm: &Realm) -> Vec<Permit> {
        let limit = self.parts.claims.realm_limit(realm);
        let mut permits = vec![self.parts.permits.take_one(&realm.id, limit).await];
        permits.extend(self.parts.permits.take_free(&realm.id, limit));
        permits
    }

    /// Makes attempts that outlive whoever asked for the run; answers those whose result
    /// was void.
    async fn attempt_all(
        &self,
        claimed: Vec<(Claimed, Permit)>,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Vec<SecretId> {
        let mut running: FuturesUnordered<_> = claimed
            .into_iter()
            .map(|(claimed, permit)| {
                let permit = permit.begin();
                let (attempts, record) = (self.parts.attempts.clone(), claimed.record.clone());
                let attempt = async move {
                    let attempted = attempts.attempt(claimed, RenewalCause::Run).await;
                    drop(permit);
                    attempted
                };
                let attempt = self.parts.background.spawn(attempt.in_current_span());
                async move { (record, attempt.await) }
            })
            .collect();
        let mut void = Vec::new();
        while let Some((record, attempted)) = running.next().await {
            // An attempt that panicked stored nothing.
            let attempted = attempted.unwrap_or(Attempted::Unstored);
            let renewed = matches!(attempted, Attempted::Stored(_));
            progress.attempted(&record.realm, &record.key, renewed);
            // These stay due.
            if matches!(
                attempted,
                Attempted::Sealed(_) | Attempted::Discarded | Attempted::Unstored
            ) {
                void.push(record.secret_id);
            }
            summary.count(record, attempted);
        }
        void
    }
}

impl RunSummary {
    fn count(&mut self, record: TokenRecord, outcome: Attempted) {
        if let Attempted::Waiting(_) = &outcome {
            self.waited.insert(record.secret_id);
        } else {
            self.attempted.insert(record.secret_id);
        }
        match outcome {
            Attempted::Stored(_) => self.renewed += 1,
            Attempted::Waiting(_) | Attempted::Spent(_) => {}
            Attempted::Discarded | Attempted::Unstored => self.discarded += 1,
            Attempted::Sealed(error) => self.fail(record, Failure::internal(error.to_string())),
            Attempted::Failed { failure, .. } => self.fail(record, failure),
        }
    }

    fn fail(&mut self, record: TokenRecord, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < NAMED_FAILURES_MAX {
            self.failures.push(NamedFailure {
                realm: record.realm,
                key: record.key,
                class: failure.class,
                detail: failure.detail,
            });
        }
    }

    fn still_waiting(&self) -> u64 {
        self.waited.difference(&self.attempted).count() as u64
    }

    fn attempts(&self) -> u64 {
        self.renewed + self.failed + self.discarded
    }

    fn add(&mut self, other: Self) {
        self.renewed += other.renewed;
        self.failed += other.failed;
        self.discarded += other.discarded;
        self.waited.extend(other.waited);
        self.attempted.extend(other.attempted);
        self.failures.extend(other.failures);
        self.failures.truncate(NAMED_FAILURES_MAX);
    }
}

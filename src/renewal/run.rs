//! One run through all that is due, to the end: the scheduled container job, and cloud
//! timers.

mod left;
mod locked_rows;
mod others;
mod scope;
mod summary;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tracing::Instrument;

use super::attempt::AttemptRunner;
use super::background::Background;
use super::cause::RenewalCause;
use super::claiming::Claimer;
use super::late::LateAnswers;
use super::outcome::Attempted;
use super::permits::{Permit, Permits};
use super::realms::RealmCache;
use super::settings::FOR_THE_ANSWER;
use crate::foundation::clock::{EpochMs, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::realm::{Realm, store as realm_store};
use crate::token::claim::Claimed;
use crate::token::due::{self, Wanted};
use crate::token::lease::ClaimCondition;
use crate::upstream::Upstream;
use left::{Left, LeftCounter};
use locked_rows::LockedRows;
pub use scope::{Reach, RunBy, RunScope};
pub use summary::{NamedFailure, RunSummary, came_of};

/// The longest chain of tokens derived from each other that one run goes through.
const ROUNDS_MAX: usize = 8;
/// Between two looks at leases that others hold.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// The action of a run in the audit.
pub const RUN: &str = "renewal.run";

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
    pub late: Arc<LateAnswers>,
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
        let (begun_boot, begun) = (self.parts.clock.boot(), self.parts.clock.now());
        let mut summary = RunSummary::default();
        let mut wanted = HashSet::new();
        if scope.by != RunBy::Call {
            wanted = self.left().wanted(scope, begun).await?;
            // The watch begins now: what a killed process left is taken over the sooner.
            self.held(scope).await?;
        }
        // What they gave back is due, and so may be what waited for theirs.
        let rest = RunScope {
            reach: Reach::Due,
            ..scope.clone()
        };
        let mut ended = self.rounds(scope, begun, progress, &mut summary).await;
        let mut looked_again = false;
        while ended.is_ok() {
            if scope.by != RunBy::Call {
                let waited = self.wait_for_others(scope, progress, &mut summary).await;
                ended = match waited {
                    Ok(true) => self.rounds(&rest, begun, progress, &mut summary).await,
                    other => other.map(|_| ()),
                };
            }
            if ended.is_err() {
                break;
            }
            let left = self.look_back(scope, begun, &wanted, &mut summary).await?;
            if scope.stop.is_cancelled() {
                break;
            }
            match left {
                // A claim that was not committed when others were looked for is seen now.
                Left::Held => tokio::select! {
                    () = scope.stop.cancelled() => {}
                    () = tokio::time::sleep(LOOKS_EVERY) => {}
                },
                Left::Free if !looked_again => {
                    looked_again = true;
                    ended = self.rounds(&rest, begun, progress, &mut summary).await;
                }
                Left::Free | Left::Nothing => break,
            }
        }
        self.await_late(scope, &summary).await;
        summary.duration = self.parts.clock.boot().since(begun_boot);
        ended.map(|()| summary.with_others())
    }

    fn left(&self) -> LeftCounter<'_> {
        LeftCounter {
            database: &self.parts.database,
            clock: &self.parts.clock,
            realms: &self.parts.realms,
            upstream: &self.parts.upstream,
        }
    }

    /// What the attempts of a call may still bring is stored before it is answered.
    async fn await_late(&self, scope: &RunScope, summary: &RunSummary) {
        if let RunBy::TimedCall { ends } = scope.by {
            let until = ends.less(FOR_THE_ANSWER);
            self.parts.late.these_end(&summary.late, until).await;
        }
    }

    /// Counts what is left.
    async fn look_back(
        &self,
        scope: &RunScope,
        begun: EpochMs,
        wanted: &HashSet<SecretId>,
        summary: &mut RunSummary,
    ) -> Result<Left, DbError> {
        if scope.by == RunBy::Call {
            return Ok(Left::Nothing);
        }
        self.await_late(scope, summary).await;
        let counter = self.left();
        let left = counter.count_left(scope, begun, wanted, summary).await?;
        if scope.by == RunBy::Job {
            counter.count_attention(scope, summary).await?;
        }
        Ok(left)
    }

    async fn rounds(
        &self,
        scope: &RunScope,
        begun: EpochMs,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        let mut broken = None;
        for round in 0..ROUNDS_MAX {
            let (before, wanted) = (summary.attempts(), &scope.wanted(round, begun));
            let realms = self.realms_in(scope, wanted).await?;
            let mut running: FuturesUnordered<_> = realms
                .iter()
                .map(|realm| self.run_realm(realm, wanted, scope, progress))
                .collect();
            while let Some((of_realm, ended)) = running.next().await {
                summary.add(of_realm);
                broken = broken.or(ended.err());
            }
            // A parent is passed over while a child makes it due: its row is locked.
            let stands_still = round > 0 && summary.attempts() == before;
            if stands_still || summary.still_waiting() == 0 || scope.stop.is_cancelled() {
                break;
            }
        }
        broken.map_or(Ok(()), Err)
    }

    async fn realms_in(
        &self,
        scope: &RunScope,
        wanted: &[Option<Wanted>],
    ) -> Result<Vec<RealmId>, DbError> {
        let reader = self.parts.database.reader();
        if let Some(realm) = &scope.realm {
            return Ok(vec![realm.clone()]);
        }
        let now = self.parts.clock.now();
        let mut by = now;
        for wanted in wanted.iter().flatten() {
            match wanted.by() {
                Some(later) => by = by.max(later),
                None => return Ok(realm_store::all_ids(reader).await?),
            }
        }
        let open = realm_store::open_ids(reader, now).await?;
        Ok(due::due_among(reader, &open, by).await?)
    }

    async fn run_realm(
        &self,
        id: &RealmId,
        wanted: &[Option<Wanted>],
        scope: &RunScope,
        progress: &dyn Progress,
    ) -> (RunSummary, Result<(), DbError>) {
        let mut summary = RunSummary::default();
        for wanted in wanted {
            let ended = self
                .run_batches(id, *wanted, scope, progress, &mut summary)
                .await;
            if ended.is_err() {
                return (summary, ended);
            }
        }
        (summary, Ok(()))
    }

    /// Claims and attempts what is wanted, or where nothing is named, what is due by now, longest
    /// due first.
    async fn run_batches(
        &self,
        id: &RealmId,
        wanted: Option<Wanted>,
        scope: &RunScope,
        progress: &dyn Progress,
        summary: &mut RunSummary,
    ) -> Result<(), DbError> {
        // What stays due although it was attempted, and what another replica claims.
        let mut passed_over = self.parts.claims.left_to_others();
        let mut after = SecretId(i64::MIN);
        let mut locked = LockedRows::default();
        // Read anew for each batch: a rate limit met meanwhile holds.
        while let Some(realm) = self.open_realm(id).await? {
            let permits = tokio::select! {
                biased;
                () = scope.stop.cancelled() => return Ok(()),
                permits = self.take_permits(&realm) => permits,
            };
            let timeout = self.parts.upstream.timeout(&realm.source);
            if !scope.can_end(self.parts.clock.machine(), timeout) {
                return Ok(());
            }
            let (reader, limit) = (self.parts.database.reader(), permits.len() as u64);
            let now = self.parts.clock.now();
            let ids = match (locked.looked_at(), wanted) {
                (Some(ids), _) => {
                    let wanted = wanted.unwrap_or(Wanted::DueAt(now));
                    due::still_free(reader, ids, wanted, limit).await?
                }
                (None, Some(wanted)) => {
                    due::free_and_wanted_in(reader, id, wanted, after, &passed_over, limit).await?
                }
                (None, None) => due::due_in(reader, id, now, &passed_over, limit).await?,
            };
            let Some(last) = ids.iter().max() else {
                drop(permits);
                if locked.next_look(&scope.stop).await {
                    continue;
                }
                return Ok(());
            };
            after = after.max(*last);
            let condition = match wanted {
                Some(wanted) => ClaimCondition::Wanted(ids.clone(), wanted),
                None => ClaimCondition::Due(ids.clone()),
            };
            let claimed = self.parts.claims.claim(&condition, timeout).await?;
            progress.found(claimed.len() as u64);
            let missed = locked.note(&ids, &claimed);
            passed_over.extend(missed);
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
    /// was discarded.
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
                let number = claimed.attempt.clone();
                let attempt = async move {
                    let attempted = attempts.attempt(claimed, RenewalCause::Run).await;
                    drop(permit);
                    attempted
                };
                let attempt = self.parts.background.spawn(attempt.in_current_span());
                async move { (record, number, attempt.await) }
            })
            .collect();
        let mut discarded = Vec::new();
        while let Some((record, number, attempted)) = running.next().await {
            let late = Some(number).filter(|number| self.parts.late.awaits(number));
            summary.late.extend(late);
            // An attempt that panicked stored nothing.
            let attempted = attempted.unwrap_or(Attempted::Unstored);
            let renewed = matches!(attempted, Attempted::Stored(_));
            progress.attempted(&record.realm, &record.key, renewed);
            // These stay due.
            if matches!(
                attempted,
                Attempted::Sealed(_) | Attempted::Discarded | Attempted::Unstored
            ) {
                discarded.push(record.secret_id);
            }
            summary.count(record, attempted);
        }
        discarded
    }
}

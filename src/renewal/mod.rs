//! Renewal: what is due is claimed, fetched and stored; a reader who finds nothing waits
//! for one fetch, however many readers there are.

mod attempt;
mod candidates;
mod claiming;
mod damage;
pub mod decide;
mod flight;
pub mod history;
mod inputs;
mod late;
mod measuring;
mod pace;
mod permits;
mod quota;
pub mod read;
mod realms;
mod refresh;
mod refusal;
mod run;
mod sealed_check;
mod skew;
mod spool;
mod storing;
mod sweep;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::database::Database;
use crate::foundation::ids::{AttemptId, ReplicaId, SecretId};
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::memory::Memory;
use crate::realm::expression::Expressions;
use crate::upstream::Upstream;
use damage::Told;
use flight::Flights;
use late::Awaited;
use measuring::Health;
use permits::Permits;
use quota::Quotas;
use realms::Realms;
pub use run::{Progress, RunScope, RunSummary};
pub use sealed_check::SealedFindings;
use skew::Skew;
pub use spool::Spool;
use storing::Batch;
use watch::FenceWatch;

/// Added to an attempt's timeout: the time to store its result.
const LEASE_SLACK: Ms = Ms::from_secs(5);
/// An attempt that begins later after its claim has no time to store what it obtains, and whoever
/// takes over might send soon after it.
const BEGINS_WITHIN: Ms = Ms(LEASE_SLACK.0 / 2);

/// A server that stops does not give back unused places in quotas for longer.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// Limits of renewal.
#[derive(Clone, Debug)]
pub struct RenewalSettings {
    /// Attempts at once in this process.
    pub concurrency: usize,
    /// Attempts at once in one realm, in this process, unless the realm says otherwise.
    pub realm_concurrency: usize,
    /// Attempts that start in one realm in a second, in this process.
    pub realm_rate: u32,
    /// Between two flushes of one secret, unless the realm says otherwise.
    pub min_flush_interval: Ms,
    /// Readers treat a stored token with less left as expired.
    pub min_ttl: Ms,
    /// How long a reader waits for a fetch.
    pub max_wait: Ms,
    pub backoff: decide::Backoff,
    /// Forced requests for one secret in a day, where the realm has no quota for them.
    pub forced_per_day: i64,
    /// Failures in a row that the webhook is told of; none: there is no webhook.
    pub failing_after: Option<i64>,
    /// How far this replica's clock may be from the database's; zero: any.
    pub max_skew: Ms,
}

/// Everything renewal needs, shared by the sweep, the readers and the job.
#[derive(Clone)]
pub struct Renewals(Arc<Inner>);

#[doc(hidden)]
pub struct Inner {
    database: Database,
    ring: Arc<KeyRing>,
    upstream: Arc<Upstream>,
    expressions: Expressions,
    realms: Realms,
    clock: SharedClock,
    randomness: Randomness,
    replica: ReplicaId,
    metrics: Arc<Metrics>,
    settings: RenewalSettings,
    /// None where the data directory cannot be written to.
    spool: Option<Spool>,
    /// Attempts whose result is not in the database yet, and is brought later.
    unkept: Mutex<HashSet<AttemptId>>,
    awaited: Awaited,
    skew: Skew,
    quotas: Quotas,
    permits: Permits,
    flights: Flights,
    /// Renewals under way that readers wait for, without asking for one.
    watches: Flights,
    batch: Batch,
    watch: Mutex<FenceWatch>,
    /// Rows sealed with a key of another replica, and when they were found so.
    left_to_others: Mutex<HashMap<SecretId, BootMs>>,
    /// Damaged values that were told of.
    told: Told,
    wake: Arc<Notify>,
    memory: Memory,
    health: Health,
    /// By the boot clock; negative before the first sweep.
    last_sweep: AtomicI64,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl std::ops::Deref for Renewals {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What renewal is made of.
pub struct Parts {
    pub database: Database,
    pub ring: Arc<KeyRing>,
    pub upstream: Arc<Upstream>,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub replica: ReplicaId,
    pub metrics: Arc<Metrics>,
    pub settings: RenewalSettings,
    pub spool: Option<Spool>,
    pub wake: Arc<Notify>,
    pub memory: Memory,
}

impl Renewals {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            health: Health::new(parts.clock.boot()),
            permits: Permits::new(
                parts.settings.concurrency,
                parts.settings.realm_rate,
                parts.clock.clone(),
            ),
            database: parts.database,
            ring: parts.ring,
            upstream: parts.upstream,
            expressions: Expressions::new(),
            realms: Realms::default(),
            clock: parts.clock,
            randomness: parts.randomness,
            replica: parts.replica,
            metrics: parts.metrics,
            settings: parts.settings,
            spool: parts.spool,
            unkept: Mutex::default(),
            awaited: Awaited::default(),
            skew: Skew::default(),
            quotas: Quotas::default(),
            flights: Flights::default(),
            watches: Flights::default(),
            batch: Batch::default(),
            watch: Mutex::default(),
            left_to_others: Mutex::default(),
            told: Told::default(),
            wake: parts.wake,
            memory: parts.memory,
            last_sweep: AtomicI64::new(-1),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }

    /// Starts no new attempt, waits for those under way, at most `grace`, and gives back
    /// the leases of those that did not end in time.
    pub async fn stop(&self, grace: Ms) {
        self.stopping.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(grace.as_duration(), self.tasks.wait()).await;
        if finished.is_err() {
            tracing::warn!(
                unfinished = self.tasks.len(),
                "attempts did not end within the grace time"
            );
        }
        if let Err(error) = self.release_own_leases().await {
            tracing::warn!(%error, "leases could not be given back; they run out by themselves");
        }
        let giving_back = self.quotas.give_back(&self.database);
        if tokio::time::timeout(GIVING_BACK, giving_back)
            .await
            .is_err()
        {
            tracing::warn!("unused places in quotas stay taken until their windows pass");
        }
    }

    /// The end of a run: waits for answers that may hold the only good refresh token.
    pub async fn end(&self) {
        self.stop(self.upstream.late_answer()).await;
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(std::io::Error::other(error)),
    }
}

//! Renewal: what is due is claimed, fetched and stored. Here its parts are put together; what
//! each can touch is what its `Parts` name.

mod attempt;
mod background;
mod candidates;
pub(crate) mod cause;
mod claiming;
pub(crate) mod damage;
pub mod decide;
mod fetching;
pub mod history;
mod inputs;
mod late;
mod measuring;
pub(crate) mod outcome;
pub mod overview;
mod pace;
pub(crate) mod permits;
pub(crate) mod quota;
mod realms;
mod refresh;
mod replay;
mod run;
mod sealed_check;
mod settings;
mod skew;
mod spool;
mod storing;
mod sweep;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::ReplicaId;
use crate::foundation::metrics::Metrics;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::KeyRing;
use crate::memory::Memory;
use crate::upstream::Upstream;
pub(crate) use attempt::AttemptRunner;
use attempt::AttemptRunnerParts;
pub(crate) use background::Background;
use candidates::{PairKeeper, PairKeeperParts};
pub(crate) use claiming::Claimer;
use claiming::ClaimerParts;
pub(crate) use damage::DamageDetector;
use fetching::Fetcher;
use inputs::{InputReader, InputReaderParts};
pub(crate) use late::LateAnswers;
use late::LateAnswersParts;
use measuring::{Measurer, MeasurerParts, RenewalHealth};
pub(crate) use permits::Permits;
pub(crate) use quota::Quotas;
pub(crate) use realms::RealmCache;
use replay::SpoolReplay;
pub use run::{NamedFailure, Progress, RUN, Reach, RunBy, RunScope, RunSummary, came_of};
use run::{Runner, RunnerParts};
pub use sealed_check::{PAGE_ROWS as SEALED_PAGE_ROWS, SealedFindings};
use sealed_check::{SealedCheck, SealedCheckParts};
pub(crate) use settings::{FOR_THE_ANSWER, can_end};
pub use settings::{RenewalSettings, RenewalTrigger};
use skew::ClockCheck;
pub use spool::Spool;
use storing::{ResultStore, ResultStoreParts, ResultWriter, ResultWriterParts, StoreLimits};
pub use sweep::NotSwept;
use sweep::{Sweeper, SweeperParts};

/// A server that stops does not give back unused places in quotas for longer.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// What renewal does for the rooms above it.
#[derive(Clone)]
pub struct Renewals {
    pub(crate) realms: Arc<RealmCache>,
    pub(crate) damage: Arc<DamageDetector>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) permits: Permits,
    pub(crate) claims: Arc<Claimer>,
    pub(crate) attempts: Arc<AttemptRunner>,
    pub(crate) background: Background,
    pairs: Arc<PairKeeper>,
    replay: Arc<SpoolReplay>,
    sweeper: Arc<Sweeper>,
    runner: Arc<Runner>,
    sealed_check: Arc<SealedCheck>,
    measurer: Arc<Measurer>,
    pub(crate) late: Arc<LateAnswers>,
    trigger: RenewalTrigger,
    late_answer: Ms,
    concurrency: u64,
}

/// What renewal is made of.
pub struct RenewalsParts {
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
    pub fn new(parts: RenewalsParts) -> Self {
        let RenewalsParts {
            database,
            ring,
            upstream,
            clock,
            randomness,
            replica,
            metrics,
            settings,
            spool,
            wake,
            memory,
        } = parts;
        let background = Background::new(wake);
        let damage = Arc::new(DamageDetector::new(
            database.clone(),
            ring.clone(),
            metrics.clone(),
        ));
        let realms = Arc::new(RealmCache::new(
            database.clone(),
            ring.clone(),
            damage.clone(),
        ));
        let quotas = Arc::new(Quotas::new(
            database.clone(),
            clock.clone(),
            metrics.clone(),
            settings.forced_per_day,
        ));
        let permits = Permits::new(settings.concurrency, settings.realm_rate, clock.clone());
        let clocks = ClockCheck::new(
            database.clone(),
            clock.clone(),
            metrics.clone(),
            settings.max_skew,
        );
        let claims = Arc::new(Claimer::new(ClaimerParts {
            database: database.clone(),
            clock: clock.clone(),
            randomness: randomness.clone(),
            replica: replica.clone(),
            metrics: metrics.clone(),
            clocks,
            upstream: upstream.clone(),
            realms: realms.clone(),
            realm_concurrency: settings.realm_concurrency,
        }));
        let pairs = Arc::new(PairKeeper::new(PairKeeperParts {
            database: database.clone(),
            clock: clock.clone(),
            ring: ring.clone(),
            randomness: randomness.clone(),
            replica: replica.clone(),
            memory: memory.clone(),
            spool,
            background: background.clone(),
        }));
        let writer = ResultWriter::new(ResultWriterParts {
            database: database.clone(),
            clock: clock.clone(),
            ring: ring.clone(),
            randomness: randomness.clone(),
            metrics: metrics.clone(),
            pairs: pairs.clone(),
            background: background.clone(),
        });
        let results = Arc::new(ResultStore::new(ResultStoreParts {
            database: database.clone(),
            clock: clock.clone(),
            randomness: randomness.clone(),
            replica,
            ring: ring.clone(),
            memory: memory.clone(),
            upstream: upstream.clone(),
            pairs: pairs.clone(),
            background: background.clone(),
            limits: StoreLimits {
                backoff: settings.backoff,
                failing_after: settings.failing_after,
                min_flush_interval: settings.min_flush_interval,
            },
            writer,
        }));
        let inputs = Arc::new(InputReader::new(InputReaderParts {
            database: database.clone(),
            clock: clock.clone(),
            ring: ring.clone(),
            upstream: upstream.clone(),
            realms: realms.clone(),
            damage: damage.clone(),
            background: background.clone(),
            max_skew: settings.max_skew,
        }));
        let late = Arc::new(LateAnswers::new(LateAnswersParts {
            database: database.clone(),
            clock: clock.clone(),
            upstream: upstream.clone(),
            claims: claims.clone(),
            pairs: pairs.clone(),
            results: results.clone(),
            background: background.clone(),
            at_most: settings.concurrency,
        }));
        let fetcher = Fetcher::new(
            database.clone(),
            clock.clone(),
            inputs.clone(),
            late.clone(),
        );
        let attempts = Arc::new(AttemptRunner::new(AttemptRunnerParts {
            clock: clock.clone(),
            metrics: metrics.clone(),
            ring: ring.clone(),
            upstream: upstream.clone(),
            realms: realms.clone(),
            damage: damage.clone(),
            quotas: quotas.clone(),
            claims: claims.clone(),
            inputs: inputs.clone(),
            results,
            late: late.clone(),
            fetcher,
        }));
        let health = Arc::new(RenewalHealth::new(clock.boot()));
        Self {
            replay: Arc::new(SpoolReplay::new(
                database.clone(),
                ring.clone(),
                damage.clone(),
                pairs.clone(),
            )),
            sweeper: Arc::new(Sweeper::new(SweeperParts {
                database: database.clone(),
                clock: clock.clone(),
                randomness: randomness.clone(),
                metrics: metrics.clone(),
                upstream: upstream.clone(),
                realms: realms.clone(),
                permits: permits.clone(),
                claims: claims.clone(),
                attempts: attempts.clone(),
                health: health.clone(),
                background: background.clone(),
            })),
            runner: Arc::new(Runner::new(RunnerParts {
                database: database.clone(),
                clock: clock.clone(),
                upstream: upstream.clone(),
                realms: realms.clone(),
                permits: permits.clone(),
                claims: claims.clone(),
                attempts: attempts.clone(),
                late: late.clone(),
                background: background.clone(),
            })),
            sealed_check: Arc::new(SealedCheck::new(SealedCheckParts {
                database: database.clone(),
                clock: clock.clone(),
                randomness,
                ring,
                realms: realms.clone(),
                damage: damage.clone(),
                inputs,
                background: background.clone(),
                failing_after: settings.failing_after,
            })),
            measurer: Arc::new(Measurer::new(MeasurerParts {
                database,
                clock,
                metrics,
                memory,
                quotas: quotas.clone(),
                health,
                trigger: settings.trigger,
            })),
            trigger: settings.trigger,
            late,
            late_answer: upstream.late_answer(),
            concurrency: settings.concurrency as u64,
            realms,
            damage,
            quotas,
            permits,
            claims,
            attempts,
            background,
            pairs,
        }
    }

    /// Sweeping begins: what metrics say of the last sweep counts from now.
    pub fn begin_sweeping(&self) {
        self.sweeper.begin();
    }

    /// What has tokens renewed in this process.
    pub fn trigger(&self) -> RenewalTrigger {
        self.trigger
    }

    /// Claims what is due, and sets attempts off.
    pub async fn sweep(&self) -> Result<(), NotSwept> {
        self.sweeper.sweep_once().await
    }

    /// Attempts at once in this process.
    pub fn concurrency(&self) -> u64 {
        self.concurrency
    }

    /// When the sweep last ended, for readiness; none before the first.
    pub fn last_sweep(&self) -> Option<BootMs> {
        self.sweeper.last_sweep()
    }

    /// Attempts everything in scope once. Where the database fails for one realm, the
    /// others are finished before that is said.
    pub async fn run(
        &self,
        scope: &RunScope,
        progress: &dyn Progress,
    ) -> Result<RunSummary, DbError> {
        self.runner.run(scope, progress).await
    }

    /// Opens everything that is sealed for a secret, page by page.
    ///
    /// # Errors
    /// Where the database cannot be read. What could not be written is logged, and is found
    /// again the next time.
    pub async fn check_sealed(&self) -> Result<SealedFindings, DbError> {
        self.sealed_check.check().await
    }

    /// Sets the metrics that are not counted where something happens. Waits for the database
    /// only so long: what this process knows by itself is shown without it.
    pub async fn measure(&self) {
        self.measurer.measure().await;
    }

    /// Brings what an earlier process left in the spool; answers how much there was. Before
    /// its leases are given back: whoever claims then finds the newest refresh token. What
    /// the database does not take now is brought in the background, and its lease is kept.
    pub async fn replay_spool(&self) -> usize {
        self.replay.replay().await
    }

    /// Seals the spool anew once another key seals.
    pub async fn reseal_spool(&self) -> std::io::Result<()> {
        self.pairs.reseal_spool().await
    }

    /// A restarted replica releases what its earlier process held, and one that stops what
    /// it still holds, but for what it will bring when it starts again. Nobody waits for it any
    /// longer.
    pub async fn release_own_leases(&self) -> Result<usize, DbError> {
        self.claims.release_own_leases(&self.pairs.unkept()).await
    }

    /// Starts no new attempt, waits for those under way, at most `grace`, and gives back
    /// the leases of those that did not end in time.
    pub async fn stop(&self, grace: Ms) {
        self.background.stop(grace).await;
        if let Err(error) = self.release_own_leases().await {
            tracing::warn!(
                name: "lease.release_failed",
                %error, "leases could not be given back; they run out by themselves"
            );
        }
        let giving_back = self.quotas.give_back_blocks();
        let given_back = tokio::time::timeout(GIVING_BACK, giving_back).await;
        if given_back.is_err() {
            tracing::warn!(
                name: "quota.kept",
                "unused places in quotas stay taken until their windows pass"
            );
        }
    }

    /// The end of a run: waits for answers that may hold the only good refresh token.
    pub async fn end(&self) {
        self.stop(self.late_answer).await;
    }
}

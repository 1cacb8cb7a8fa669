//! Says, while the process lives, which sealing keys it has, so that others seal with none that it
//! lacks; and has it seal with a newer key once all others have that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::ReplicaId;
use crate::foundation::metrics::Metrics;
use crate::foundation::published_rings::leave;
use crate::foundation::sealing::KeyRing;
use crate::foundation::sealing_choice::{self, Choice, Published, WaitingKey};

/// Three times in the time after which it has gone.
const SAID_EVERY: Duration = Duration::from_secs(10);
/// A server that ends does not wait for longer: it has gone soon enough.
const LEAVING_MAX: Duration = Duration::from_secs(2);
const DOING: &str = "saying which sealing keys this server has";

pub(super) struct RingPresenceParts {
    pub(super) database: Database,
    pub(super) ring: Arc<KeyRing>,
    pub(super) replica: ReplicaId,
    pub(super) clock: SharedClock,
    pub(super) metrics: Arc<Metrics>,
}

/// Goes on until it is closed or dropped.
pub struct RingPresence {
    shared: Arc<Shared>,
    closing: CancellationToken,
    /// Ends it where nobody closes it.
    _dropped: DropGuard,
    task: TaskTracker,
}

struct Shared {
    parts: RingPresenceParts,
    /// The key that waits, as the log was told.
    told: Mutex<Option<WaitingKey>>,
}

impl RingPresence {
    /// Goes on from what was published already.
    pub(super) fn start(parts: RingPresenceParts, choice: &Choice) -> Self {
        let shared = Arc::new(Shared {
            parts,
            told: Mutex::default(),
        });
        shared.tell(choice);
        let closing = CancellationToken::new();
        let task = TaskTracker::new();
        task.spawn(run(shared.clone(), closing.clone()));
        Self {
            shared,
            _dropped: closing.clone().drop_guard(),
            closing,
            task,
        }
    }

    /// Says what this server has, and looks what it is to seal with.
    pub async fn pass(&self) -> Result<(), DbError> {
        self.shared.pass().await
    }

    /// Says that this server has gone.
    pub async fn close(&self) {
        self.closing.cancel();
        self.task.close();
        self.task.wait().await;
        let parts = &self.shared.parts;
        let leaving = leave(
            &parts.database,
            &parts.ring,
            &parts.replica,
            parts.clock.now(),
        );
        if let Ok(Err(error)) = tokio::time::timeout(LEAVING_MAX, leaving).await {
            tracing::debug!(%error, "others learn in half a minute that this server has gone");
        }
    }
}

impl Shared {
    async fn pass(&self) -> Result<(), DbError> {
        let parts = &self.parts;
        let now = parts.clock.now();
        let published =
            sealing_choice::publish(&parts.database, &parts.ring, &parts.replica, now).await?;
        match published {
            Published::Seals(choice) => {
                if parts.ring.sealing_id() != choice.seals {
                    parts.ring.seal_with(&choice.seals);
                    tracing::info!(
                        name: "sealing.key_changed",
                        key = choice.seals,
                        "this server seals with another key: all that run have it"
                    );
                }
                self.tell(&choice);
            }
            Published::NothingInCommon(theirs) => tracing::error!(
                name: "sealing.no_key_in_common",
                keys = theirs.join(", "),
                "this server has none of the sealing keys that others seal with: put them into sealing.keys"
            ),
        }
        Ok(())
    }

    fn tell(&self, choice: &Choice) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = &self.parts.metrics.sealing_key_waits;
        waits.set(i64::from(choice.waiting.is_some()));
        if *told == choice.waiting {
            return;
        }
        match &choice.waiting {
            Some(WaitingKey { key_id, lacking }) => tracing::warn!(
                name: "sealing.newer_key_waits",
                key = key_id,
                sealing = choice.seals,
                lacking = sealing_choice::shown(lacking),
                "a newer sealing key waits: servers that run lack it; put it into sealing.keys there"
            ),
            None => tracing::info!(
                name: "sealing.newer_key_waits_no_more",
                key = choice.seals,
                "no newer sealing key waits any more"
            ),
        }
        told.clone_from(&choice.waiting);
    }
}

async fn run(shared: Arc<Shared>, closing: CancellationToken) {
    let mut pace = tokio::time::interval(SAID_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was published at the start counts.
    pace.reset();
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = pace.tick() => {}
            () = shared.parts.ring.seals_with_another() => {}
        }
        let passed = tokio::select! {
            () = closing.cancelled() => return,
            passed = shared.pass() => passed,
        };
        match passed {
            Ok(()) => {}
            Err(error) => shared.parts.database.failed(&error, DOING),
        }
    }
}

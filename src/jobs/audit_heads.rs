//! Records where the other servers' chains of the audit end, and what entries there are in no chain.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::job::{EVERY_SECOND, Job, PassOutcome, Trigger};
use crate::access::audit::{EarlierNoter, HEADS_MAX, HeadSigner, Signed};
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::database::Database;

/// From the start of one record to that of the next.
const RECORDED_EVERY: Ms = Ms::from_secs(60);

pub struct AuditHeads {
    signer: HeadSigner,
    noter: EarlierNoter,
    database: Database,
    clock: SharedClock,
    begun: Mutex<BootMs>,
    wake: Arc<Notify>,
}

impl AuditHeads {
    /// The first record is a minute after the start.
    pub fn new(
        signer: HeadSigner,
        noter: EarlierNoter,
        database: Database,
        clock: SharedClock,
    ) -> Self {
        Self {
            begun: Mutex::new(clock.boot()),
            signer,
            noter,
            database,
            clock,
            wake: Arc::default(),
        }
    }

    fn is_due(&self) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        let due = now.since(*begun) >= RECORDED_EVERY;
        if due {
            *begun = now;
        }
        due
    }
}

#[async_trait]
impl Job for AuditHeads {
    fn name(&self) -> &'static str {
        "audit_heads"
    }

    /// It knows by itself when it is due.
    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: EVERY_SECOND.to_owned(),
            wake: self.wake.clone(),
        }
    }

    /// Chains recorded at once.
    fn limit(&self) -> u64 {
        HEADS_MAX as u64
    }

    async fn pass(&self) -> PassOutcome {
        if !self.is_due() {
            return PassOutcome::Idle;
        }
        if let Err(error) = self.noter.note().await {
            let doing = "noting the entries of the audit in no chain";
            self.database.failed(&error, doing);
            return PassOutcome::Failed;
        }
        match self.signer.sign().await {
            Ok(Signed::Nothing) => PassOutcome::Idle,
            Ok(Signed::Heads(_)) => PassOutcome::Done,
            Err(error) => {
                let doing = "recording where chains of the audit end";
                self.database.failed(&error, doing);
                PassOutcome::Failed
            }
        }
    }
}

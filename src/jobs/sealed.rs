//! Seals the spool anew once another key seals, and looks, now and then, for stored values that were
//! damaged.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::job::{EVERY_SECOND, Job, PassOutcome, Trigger};
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::renewal::{Renewals, SEALED_PAGE_ROWS};

pub struct SealedCheckJob {
    renewals: Renewals,
    clock: SharedClock,
    /// From the start of one look to that of the next; zero: none.
    every: Ms,
    begun: Mutex<BootMs>,
    wake: Arc<Notify>,
}

impl SealedCheckJob {
    /// The first look is `every` after the start: a server that starts has other things to do.
    pub fn new(renewals: Renewals, clock: SharedClock, every: Ms) -> Self {
        Self {
            begun: Mutex::new(clock.boot()),
            renewals,
            clock,
            every,
            wake: Arc::default(),
        }
    }

    fn is_due(&self) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.boot();
        let due = self.every > Ms::ZERO && now.since(*begun) >= self.every;
        if due {
            *begun = now;
        }
        due
    }
}

#[async_trait]
impl Job for SealedCheckJob {
    fn name(&self) -> &'static str {
        "sealed_check"
    }

    /// It knows by itself when it is due.
    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: EVERY_SECOND.to_owned(),
            wake: self.wake.clone(),
        }
    }

    /// Secrets read at once.
    fn limit(&self) -> u64 {
        SEALED_PAGE_ROWS
    }

    async fn pass(&self) -> PassOutcome {
        // It has told why.
        let respooled = self.renewals.reseal_spool().await;
        if !self.is_due() {
            return respooled.map_or(PassOutcome::Failed, |()| PassOutcome::Idle);
        }
        match self.renewals.check_sealed().await {
            Ok(found) if found.is_empty() => PassOutcome::Done,
            Ok(found) => {
                tracing::warn!(
                    name: "damage.unopened",
                    secrets = found.secrets,
                    damaged_values = found.damaged_values,
                    unknown_keys = found.unknown_keys,
                    made_due = found.made_due,
                    need_attention = found.need_attention,
                    "stored values cannot be opened"
                );
                PassOutcome::Done
            }
            Err(error) => {
                tracing::error!(
                    name: "damage.not_checked",
                    %error, "what is sealed could not be looked at"
                );
                PassOutcome::Failed
            }
        }
    }
}

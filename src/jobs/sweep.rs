//! Renews what is due.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::job::{EVERY_SECOND, Job, PassOutcome, Trigger};
use crate::renewal::{NotSwept, Renewals};

pub struct Sweep {
    renewals: Renewals,
    wake: Arc<Notify>,
}

impl Sweep {
    /// The first sweep is made at once. `wake` is notified of every change, and by every attempt
    /// that ends.
    pub fn new(renewals: Renewals, wake: Arc<Notify>) -> Self {
        renewals.begin_sweeping();
        wake.notify_one();
        Self { renewals, wake }
    }
}

#[async_trait]
impl Job for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: EVERY_SECOND.to_owned(),
            wake: self.wake.clone(),
        }
    }

    /// Attempts under way.
    fn limit(&self) -> u64 {
        self.renewals.concurrency()
    }

    async fn pass(&self) -> PassOutcome {
        match self.renewals.sweep().await {
            Ok(()) => PassOutcome::Done,
            Err(NotSwept::Failed) => PassOutcome::Failed,
            Err(NotSwept::Stopping) => PassOutcome::Idle,
        }
    }
}

//! Tells the webhook.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::job::{EVERY_SECOND, Job, PassOutcome, Trigger};
use crate::webhook::delivery_worker::{DeliveryWorker, PASS_EVENTS};

pub struct Delivery {
    delivery_worker: Arc<DeliveryWorker>,
    wake: Arc<Notify>,
}

impl Delivery {
    pub fn new(delivery_worker: Arc<DeliveryWorker>) -> Self {
        Self {
            delivery_worker,
            wake: Arc::default(),
        }
    }
}

#[async_trait]
impl Job for Delivery {
    fn name(&self) -> &'static str {
        "delivery"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: EVERY_SECOND.to_owned(),
            wake: self.wake.clone(),
        }
    }

    /// Events read at once.
    fn limit(&self) -> u64 {
        PASS_EVENTS
    }

    async fn pass(&self) -> PassOutcome {
        match self.delivery_worker.deliver_due().await {
            Ok(()) => PassOutcome::Done,
            Err(error) => {
                let database = &self.delivery_worker.database;
                database.failed(&error, "sending events to the webhook");
                PassOutcome::Failed
            }
        }
    }
}

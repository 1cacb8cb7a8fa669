//! Takes a new certificate of this server once its files have changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::job::{Job, PassOutcome, Trigger};
use crate::foundation::clock::SharedClock;
use crate::foundation::metrics::Metrics;
use crate::foundation::seldom::Seldom;
use crate::foundation::server_tls::{Reloaded, ServerTls};

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(2);

pub struct Certificates {
    tls: Arc<ServerTls>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    refused: Mutex<Seldom>,
}

impl Certificates {
    pub fn new(tls: Arc<ServerTls>, clock: SharedClock, metrics: Arc<Metrics>) -> Self {
        Self {
            tls,
            clock,
            metrics,
            refused: Mutex::default(),
        }
    }

    /// Looks since it was last told, where it is to be told again.
    fn looks(&self) -> Option<u64> {
        let refused = self.refused.lock();
        let now = self.clock.boot();
        refused.unwrap_or_else(PoisonError::into_inner).count(now)
    }
}

#[async_trait]
impl Job for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Every(EVERY)
    }

    /// Pairs of a certificate and its key.
    fn limit(&self) -> u64 {
        1
    }

    async fn pass(&self) -> PassOutcome {
        let tls = self.tls.clone();
        // Files may be on a disk that does not answer.
        let reloaded = tokio::task::spawn_blocking(move || tls.reload()).await;
        match reloaded {
            Ok(Reloaded::Unchanged) => PassOutcome::Idle,
            Ok(Reloaded::Changed) => {
                self.metrics.certificate_ends(self.tls.ends());
                tracing::info!(
                    name: "tls.certificate_renewed",
                    "the server's certificate was read anew: new connections get it"
                );
                PassOutcome::Done
            }
            Ok(Reloaded::Kept(fault)) => {
                if let Some(looks) = self.looks() {
                    tracing::warn!(
                        name: "tls.certificate_unusable",
                        %fault,
                        looks,
                        "the files of the server's certificate have changed and cannot be used; the one before stays in use"
                    );
                }
                PassOutcome::Failed
            }
            Err(_ended) => PassOutcome::Failed,
        }
    }
}

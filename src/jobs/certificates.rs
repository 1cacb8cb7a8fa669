//! Takes a new certificate of this server once its files have changed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::job::{Job, PassOutcome, Trigger};
use crate::foundation::server_tls::{Reloaded, ServerTls};

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(2);

pub struct Certificates {
    tls: Arc<ServerTls>,
}

impl Certificates {
    pub fn new(tls: Arc<ServerTls>) -> Self {
        Self { tls }
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
                tracing::info!("the server's certificate was read anew: new connections get it");
                PassOutcome::Done
            }
            Ok(Reloaded::Kept(fault)) => {
                tracing::warn!(
                    %fault,
                    "the files of the server's certificate have changed and cannot be used; the one before stays in use"
                );
                PassOutcome::Failed
            }
            Err(_ended) => PassOutcome::Failed,
        }
    }
}

//! Deletes what is older than it is kept, in small pieces.

use std::sync::Arc;

use sea_orm::DbErr;
use tokio::sync::Notify;

use crate::access::audit;
use crate::foundation::clock::{Ms, SharedClock, Timeline};
use crate::foundation::database::Database;
use crate::renewal::history;

/// Rows deleted at once: a small piece holds no lock for long.
const PIECE_ROWS: u64 = 1000;

#[derive(Clone, Debug)]
pub struct MaintenanceSettings {
    /// Six fields, seconds first; UTC.
    pub schedule: String,
    /// How long attempts are kept.
    pub history: Ms,
    /// How long audit entries are kept.
    pub audit: Ms,
}

pub struct Maintenance {
    pub database: Database,
    pub clock: SharedClock,
    pub settings: MaintenanceSettings,
}

/// What one pass deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub renewals: u64,
    pub audit_entries: u64,
}

impl Maintenance {
    /// Works whenever woken; ends by being dropped.
    pub async fn work_when_woken(&self, wake: &Arc<Notify>) {
        loop {
            wake.notified().await;
            match self.prune().await {
                Ok(pruned) => tracing::info!(
                    renewals = pruned.renewals,
                    audit_entries = pruned.audit_entries,
                    "old history deleted"
                ),
                Err(error) => tracing::error!(%error, "old history could not be deleted"),
            }
        }
    }

    pub async fn prune(&self) -> Result<Pruned, DbErr> {
        let now = self.clock.now();
        let writer = self.database.writer();
        let mut pruned = Pruned::default();
        loop {
            let before = now.minus(self.settings.history);
            let piece = history::prune(writer, before, PIECE_ROWS).await?;
            pruned.renewals += piece;
            if piece < PIECE_ROWS {
                break;
            }
        }
        loop {
            let before = now.minus(self.settings.audit);
            let piece = audit::prune(writer, before, PIECE_ROWS).await?;
            pruned.audit_entries += piece;
            if piece < PIECE_ROWS {
                break;
            }
        }
        Ok(pruned)
    }
}

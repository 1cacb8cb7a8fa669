//! Deletes what is older than it is kept, in small pieces.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::job::{Job, PassOutcome, Trigger};
use crate::access::audit::{self, AuditLog};
use crate::foundation::clock::{Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError, delete_in_pieces};
use crate::renewal::history;
use crate::token::retired;

/// Rows deleted at once: a small piece holds no lock for long.
const PIECE_ROWS: u64 = 1000;

#[derive(Clone, Debug)]
pub struct MaintenanceSettings {
    /// Six fields, seconds first; UTC.
    pub schedule: String,
    /// How long attempts are kept.
    pub history: Ms,
    /// How long audit entries are kept, and the generations of deleted secrets.
    pub audit: Ms,
    /// How often stored values are looked at; zero: never.
    pub check_sealed_every: Ms,
}

pub struct Maintenance {
    database: Database,
    log: AuditLog,
    clock: SharedClock,
    settings: MaintenanceSettings,
    wake: Arc<Notify>,
}

/// What one pass deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub renewals: u64,
    pub audit_entries: u64,
    pub retired: u64,
}

impl Maintenance {
    pub fn new(
        database: Database,
        log: AuditLog,
        clock: SharedClock,
        settings: MaintenanceSettings,
    ) -> Self {
        Self {
            database,
            log,
            clock,
            settings,
            wake: Arc::default(),
        }
    }

    pub async fn prune(&self) -> Result<Pruned, DbError> {
        let now = self.clock.now();
        let database = &self.database;
        let mut pruned = Pruned::default();
        let (history, audit) = (
            now.minus(self.settings.history),
            now.minus(self.settings.audit),
        );
        pruned.renewals = delete_in_pieces(PIECE_ROWS, || {
            database.write_alone(|writer| history::prune(writer, history, PIECE_ROWS))
        })
        .await?;
        let (before, log) = (audit, &self.log);
        pruned.audit_entries = audit::prune(database, log, before, now, PIECE_ROWS).await?;
        pruned.retired = delete_in_pieces(PIECE_ROWS, || {
            database.write_alone(|writer| retired::prune(writer, before, PIECE_ROWS))
        })
        .await?;
        Ok(pruned)
    }
}

#[async_trait]
impl Job for Maintenance {
    fn name(&self) -> &'static str {
        "maintenance"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: self.settings.schedule.clone(),
            wake: self.wake.clone(),
        }
    }

    fn limit(&self) -> u64 {
        PIECE_ROWS
    }

    async fn pass(&self) -> PassOutcome {
        match self.prune().await {
            Ok(pruned) => {
                tracing::info!(
                    name: "maintenance.pruned",
                    renewals = pruned.renewals,
                    audit_entries = pruned.audit_entries,
                    retired = pruned.retired,
                    "old history deleted"
                );
                PassOutcome::Done
            }
            Err(error) => {
                self.database.failed(&error, "deleting old history");
                PassOutcome::Failed
            }
        }
    }
}

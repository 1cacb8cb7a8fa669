//! Copies the audit elsewhere. A server copies its own chain, and after a minute the chains of
//! servers and commands that have not: each entry reaches a sink at least once, whatever ends.

mod file;
mod sink;
mod syslog;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use sea_orm::DbErr;

use super::job::{EVERY_SECOND, Job, PassOutcome, Trigger};
use crate::access::audit::{AuditLog, Behind, advance, behind, next};
use crate::foundation::clock::{BootMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::{Metrics, SinkLabels};
use crate::upstream::Upstream;
pub use sink::{AuditSink, HttpsSink};
use sink::{SinkFailure, deliver};
pub use syslog::{SyslogAddress, SyslogAddressError};

/// Entries that a sink is given at once.
const BATCH_ENTRIES: u64 = 200;
/// An entry that its own server has not copied for so long is copied by others.
const LEFT_ALONE: Ms = Ms::from_secs(60);
/// Before the second try; doubled with each.
const RETRY_BASE: Ms = Ms::from_secs(1);
const RETRY_MAX: Ms = Ms::from_secs(60);

pub struct AuditSinks {
    parts: AuditSinksParts,
    /// For each sink.
    tries: Vec<Mutex<Tries>>,
    wake: Arc<Notify>,
}

/// What copying is made of.
pub struct AuditSinksParts {
    pub database: Database,
    pub log: AuditLog,
    pub upstream: Arc<Upstream>,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub sinks: Vec<AuditSink>,
}

#[derive(Clone, Copy, Default)]
struct Tries {
    failed: u32,
    /// None: at once.
    again: Option<BootMs>,
}

/// Why copying to a sink went no further.
#[derive(Debug, thiserror::Error)]
enum CopyFailure {
    #[error(transparent)]
    Sink(#[from] SinkFailure),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl AuditSinks {
    pub fn new(parts: AuditSinksParts) -> Self {
        Self {
            tries: parts.sinks.iter().map(|_| Mutex::default()).collect(),
            parts,
            wake: Arc::default(),
        }
    }

    /// Copies what a sink lacks.
    async fn copy(&self, sink: &AuditSink) -> Result<(), CopyFailure> {
        let AuditSinksParts {
            database,
            log,
            upstream,
            clock,
            metrics,
            ..
        } = &self.parts;
        let name = sink.name();
        let lacks = behind(database.reader(), name).await;
        let lacks = lacks.map_err(DbError::from)?;
        let labels = SinkLabels { sink: name };
        let all: i64 = lacks.iter().map(Behind::count).sum();
        let gauge = metrics.audit_sink_behind.get_or_create_owned(&labels);
        gauge.set(all);
        let old = clock.now().minus(LEFT_ALONE);
        for mut chain in lacks {
            let is_own = log.is_own(&chain.replica);
            while chain.count() > 0 {
                let entries = next(database.reader(), &chain, BATCH_ENTRIES).await;
                let mut entries = entries.map_err(DbError::from)?;
                let ours = entries.iter().take_while(|row| is_own || row.at <= old);
                entries.truncate(ours.count());
                let Some(last) = entries.last().and_then(|row| row.seq) else {
                    break;
                };
                deliver(sink, &entries, upstream).await?;
                let before = chain.taken;
                let advanced = {
                    let (database, chain) = (database, &chain);
                    database
                        .write_alone(|writer| {
                            let mut chain = chain.clone();
                            async move {
                                let advanced = advance(writer, name, &mut chain, last).await?;
                                Ok::<_, DbErr>((advanced, chain))
                            }
                        })
                        .await
                };
                let (advanced, now) = advanced?;
                if !advanced {
                    // Another server copies this one.
                    break;
                }
                chain = now;
                gauge.dec_by(last - before);
            }
        }
        Ok(())
    }

    /// Tries one sink, unless it is to be left alone for a while.
    async fn pass_of(&self, sink: &AuditSink, tries: &Mutex<Tries>) -> PassOutcome {
        let now = self.parts.clock.boot();
        let before = *tries.lock().unwrap_or_else(PoisonError::into_inner);
        if before.again.is_some_and(|again| now < again) {
            return PassOutcome::Idle;
        }
        let copied = self.copy(sink).await;
        let outcome = match &copied {
            Ok(()) => PassOutcome::Done,
            Err(_) => PassOutcome::Failed,
        };
        let after = match copied {
            Ok(()) => Tries::default(),
            Err(CopyFailure::Database(error)) => {
                let database = &self.parts.database;
                database.failed(&error, "reading the audit for a sink");
                before
            }
            Err(CopyFailure::Sink(failure)) => {
                let labels = SinkLabels { sink: sink.name() };
                let failures = &self.parts.metrics.audit_sink_failures;
                failures.get_or_create(&labels).inc();
                let wait = RETRY_BASE.0 << before.failed.min(6);
                let wait = Ms(wait.min(RETRY_MAX.0));
                tracing::warn!(
                    name: "audit.sink_failed",
                    sink = sink.name(),
                    detail = %failure,
                    next_try_ms = wait.0,
                    "a sink did not take entries of the audit"
                );
                Tries {
                    failed: before.failed.saturating_add(1),
                    again: Some(now.plus(wait)),
                }
            }
        };
        *tries.lock().unwrap_or_else(PoisonError::into_inner) = after;
        outcome
    }
}

#[async_trait]
impl Job for AuditSinks {
    fn name(&self) -> &'static str {
        "audit_sinks"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Schedule {
            schedule: EVERY_SECOND.to_owned(),
            wake: self.wake.clone(),
        }
    }

    /// Entries given at once.
    fn limit(&self) -> u64 {
        BATCH_ENTRIES
    }

    async fn pass(&self) -> PassOutcome {
        let mut outcome = PassOutcome::Idle;
        for (sink, tries) in self.parts.sinks.iter().zip(&self.tries) {
            outcome = match (outcome, self.pass_of(sink, tries).await) {
                (PassOutcome::Failed, _) | (_, PassOutcome::Failed) => PassOutcome::Failed,
                (PassOutcome::Idle, now) => now,
                (before, _) => before,
            };
        }
        outcome
    }
}

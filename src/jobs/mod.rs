//! The scheduler. Its jobs only wake the tasks that own the work, so that an overlapping,
//! late or doubled tick does no harm: correctness never rests on the scheduler.

pub mod maintenance;
pub mod sealed;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::job::JobLocked;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Each second, in UTC.
const EVERY_SECOND: &str = "* * * * * *";

/// Why the jobs cannot start.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error("is not six fields of cron, seconds first")]
    Unreadable,
    #[error("never comes")]
    Never,
    #[error("cannot be watched: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// What the jobs wake.
#[derive(Clone, Debug)]
pub struct Wakes {
    pub sweep: Arc<Notify>,
    /// Where there is a webhook.
    pub courier: Arc<Notify>,
    pub maintenance: Arc<Notify>,
    /// It knows by itself when it is due.
    pub sealed_check: Arc<Notify>,
}

/// Whether a schedule can be read.
pub fn check_schedule(schedule: &str) -> Result<(), JobsError> {
    job(schedule, &Arc::default()).map(|_| ())
}

/// The running scheduler.
pub struct Jobs(JobScheduler);

impl Jobs {
    pub async fn start(wakes: &Wakes, maintenance: &str) -> Result<Self, JobsError> {
        let mut scheduler = JobScheduler::new().await?;
        wake_on(&mut scheduler, EVERY_SECOND, &wakes.sweep).await?;
        wake_on(&mut scheduler, EVERY_SECOND, &wakes.courier).await?;
        wake_on(&mut scheduler, maintenance, &wakes.maintenance).await?;
        wake_on(&mut scheduler, EVERY_SECOND, &wakes.sealed_check).await?;
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    pub async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop");
        }
    }
}

async fn wake_on(
    scheduler: &mut JobScheduler,
    schedule: &str,
    task: &Arc<Notify>,
) -> Result<(), JobsError> {
    let id = scheduler.add(job(schedule, task)?).await?;
    // An expression without a next tick is accepted, and vanishes.
    match scheduler.next_tick_for_job(id).await? {
        Some(_) => Ok(()),
        None => Err(JobsError::Never),
    }
}

fn job(schedule: &str, task: &Arc<Notify>) -> Result<JobLocked, JobsError> {
    let task = task.clone();
    Job::new_async(schedule, move |_, _| {
        let task = task.clone();
        Box::pin(async move { task.notify_one() })
    })
    .map_err(|_| JobsError::Unreadable)
}

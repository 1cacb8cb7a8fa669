//! Background jobs: one small type for each, started and stopped as one list. The scheduler only
//! wakes the tasks that own the work, so that an overlapping, late or doubled tick does no harm:
//! correctness never rests on the scheduler.

pub mod audit_heads;
pub mod audit_sinks;
pub mod certificates;
pub mod delivery;
pub mod follow;
pub mod job;
pub mod maintenance;
pub mod news;
pub mod sealed;
pub mod sweep;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_cron_scheduler::job::JobLocked;
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use job::{Job, LastOutcome, PassOutcome, Trigger};

/// What is wrong with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("is not six fields of cron, seconds first")]
    Unreadable,
    #[error("never comes")]
    Never,
    #[error("cannot be watched: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// Why the jobs cannot start.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    #[error("{job}.schedule {error}")]
    Schedule {
        job: &'static str,
        error: ScheduleError,
    },
    #[error("the scheduler of the jobs does not start: {0}")]
    Scheduler(#[from] JobSchedulerError),
}

/// Whether a schedule can be read.
pub fn check_schedule(schedule: &str) -> Result<(), ScheduleError> {
    tick(schedule, &Arc::default()).map(|_| ())
}

struct Started {
    name: &'static str,
    last: LastOutcome,
    task: JoinHandle<()>,
}

/// The running jobs.
pub struct Jobs {
    scheduler: JobScheduler,
    started: Vec<Started>,
    stopping: CancellationToken,
}

impl Jobs {
    pub async fn start(list: Vec<Arc<dyn Job>>) -> Result<Self, JobsError> {
        let mut scheduler = JobScheduler::new().await?;
        for job in &list {
            if let Trigger::Schedule { schedule, wake } = job.trigger() {
                let woken = wake_on(&mut scheduler, &schedule, &wake).await;
                woken.map_err(|error| JobsError::Schedule {
                    job: job.name(),
                    error,
                })?;
            }
        }
        scheduler.start().await?;
        let stopping = CancellationToken::new();
        let started = list.into_iter().map(|job| {
            let last = LastOutcome::default();
            tracing::debug!(
                job = job.name(),
                limit = job.limit(),
                timeout_s = job.timeout().map(|longest| longest.as_secs()),
                "a job is started"
            );
            Started {
                name: job.name(),
                last: last.clone(),
                task: tokio::spawn(job::run(job, last, stopping.clone())),
            }
        });
        Ok(Self {
            scheduler,
            started: started.collect(),
            stopping: stopping.clone(),
        })
    }

    /// The name of each job, and how its last pass ended.
    pub fn last_outcomes(&self) -> Vec<(&'static str, PassOutcome)> {
        let started = self.started.iter();
        started.map(|job| (job.name, job.last.get())).collect()
    }

    /// No new pass begins; those under way go on.
    pub async fn begin_none(&mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(name: "job.scheduler_not_stopped", %error, "the scheduler did not stop");
        }
        self.stopping.cancel();
    }

    /// Ends the passes under way where they wait.
    pub fn stop(self) {
        for (job, outcome) in self.last_outcomes() {
            tracing::debug!(job, outcome = outcome.as_str(), "a job is stopped");
        }
        for job in self.started {
            job.task.abort();
        }
    }
}

async fn wake_on(
    scheduler: &mut JobScheduler,
    schedule: &str,
    task: &Arc<Notify>,
) -> Result<(), ScheduleError> {
    let id = scheduler.add(tick(schedule, task)?).await?;
    // An expression without a next tick is accepted, and vanishes.
    match scheduler.next_tick_for_job(id).await? {
        Some(_) => Ok(()),
        None => Err(ScheduleError::Never),
    }
}

fn tick(schedule: &str, task: &Arc<Notify>) -> Result<JobLocked, ScheduleError> {
    let task = task.clone();
    tokio_cron_scheduler::Job::new_async(schedule, move |_, _| {
        let task = task.clone();
        Box::pin(async move { task.notify_one() })
    })
    .map_err(|_| ScheduleError::Unreadable)
}

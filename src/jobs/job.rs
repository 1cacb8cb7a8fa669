//! What a background job is: its name, what starts a pass, what bounds it, how the last one ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use strum::VariantArray;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Each second, in UTC.
pub const EVERY_SECOND: &str = "* * * * * *";

/// What starts a pass.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A schedule of cron, with six fields, seconds first, in UTC; and whoever notifies.
    Schedule { schedule: String, wake: Arc<Notify> },
    /// So long after the pass before it began, or at once where that took longer.
    Every(Duration),
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum PassOutcome {
    /// None has ended yet.
    Never,
    Done,
    /// Nothing was due.
    Idle,
    /// The log says why.
    Failed,
    TimedOut,
}

impl PassOutcome {
    const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Done => "done",
            Self::Idle => "idle",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Work in the background, pass by pass. A pass does no harm when it is dropped, made twice, late,
/// or on two replicas at once.
#[async_trait]
pub trait Job: Send + Sync + 'static {
    /// As the log names it.
    fn name(&self) -> &'static str;

    fn trigger(&self) -> Trigger;

    /// How much a pass takes on at once: rows, events, attempts. For the log: the pass itself keeps
    /// to it.
    fn limit(&self) -> u64;

    /// A pass that takes longer is given up. None: each of its steps has a limit of its own.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Tells of a pass that was given up.
    fn gave_up(&self) {
        tracing::warn!(
            name: "job.timed_out",
            job = self.name(),
            "a pass of a job took too long, and was given up"
        );
    }

    /// Makes one pass. What fails is logged here.
    async fn pass(&self) -> PassOutcome;
}

/// How the last pass of a job ended.
#[derive(Clone, Debug, Default)]
pub struct LastOutcome(Arc<AtomicU8>);

impl LastOutcome {
    pub fn get(&self) -> PassOutcome {
        let value = self.0.load(Ordering::Relaxed);
        let known = PassOutcome::ALL.iter().find(|known| **known as u8 == value);
        known.copied().unwrap_or(PassOutcome::Never)
    }

    fn set(&self, outcome: PassOutcome) {
        self.0.store(outcome as u8, Ordering::Relaxed);
    }
}

/// Makes passes of a job, one after the other, until `stopping`.
pub async fn run(job: Arc<dyn Job>, last: LastOutcome, stopping: CancellationToken) {
    let mut ticks = Ticks::of(job.trigger());
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = ticks.next() => {}
        }
        let outcome = match job.timeout() {
            None => pass_of(&*job).await,
            Some(longest) => match tokio::time::timeout(longest, pass_of(&*job)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => {
                    job.gave_up();
                    PassOutcome::TimedOut
                }
            },
        };
        if last.get() != outcome {
            tracing::debug!(
                job = job.name(),
                outcome = outcome.as_str(),
                "a job ended otherwise than the last time"
            );
            last.set(outcome);
        }
    }
}

/// Makes one pass. One that panics has failed, as the log says, and the next is made all the same.
async fn pass_of(job: &dyn Job) -> PassOutcome {
    let pass = AssertUnwindSafe(job.pass()).catch_unwind();
    pass.await.unwrap_or(PassOutcome::Failed)
}

enum Ticks {
    Woken(Arc<Notify>),
    Paced(Interval),
}

impl Ticks {
    fn of(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Schedule { wake, .. } => Self::Woken(wake),
            Trigger::Every(pause) => {
                let mut pace = tokio::time::interval(pause);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Self::Paced(pace)
            }
        }
    }

    async fn next(&mut self) {
        match self {
            Self::Woken(wake) => wake.notified().await,
            Self::Paced(pace) => {
                pace.tick().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Its passes end one after the other as they are listed, or panic where none is; then they hang.
    struct Listed {
        wake: Arc<Notify>,
        ends: Vec<Option<PassOutcome>>,
        begun: AtomicUsize,
    }

    #[async_trait]
    impl Job for Listed {
        fn name(&self) -> &'static str {
            "listed"
        }

        fn trigger(&self) -> Trigger {
            Trigger::Schedule {
                schedule: EVERY_SECOND.to_owned(),
                wake: self.wake.clone(),
            }
        }

        fn limit(&self) -> u64 {
            1
        }

        fn timeout(&self) -> Option<Duration> {
            Some(Duration::from_millis(10))
        }

        async fn pass(&self) -> PassOutcome {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            match self.ends.get(number) {
                Some(outcome) => outcome.expect("an end is listed"),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn a_job_goes_on_after_a_pass_that_panicked_or_hung_and_is_known_by_how_its_last_one_ended()
     {
        let wake = Arc::new(Notify::new());
        let job = Arc::new(Listed {
            wake: wake.clone(),
            ends: vec![Some(PassOutcome::Done), None, Some(PassOutcome::Idle)],
            begun: AtomicUsize::new(0),
        });
        let (last, stopping) = (LastOutcome::default(), CancellationToken::new());
        let running = tokio::spawn(run(job, last.clone(), stopping.clone()));
        assert_eq!(last.get(), PassOutcome::Never);
        for expected in [
            PassOutcome::Done,
            PassOutcome::Failed,
            PassOutcome::Idle,
            PassOutcome::TimedOut,
        ] {
            wake.notify_one();
            while last.get() != expected {
                tokio::task::yield_now().await;
            }
        }
        stopping.cancel();
        running.await.unwrap();
    }
}

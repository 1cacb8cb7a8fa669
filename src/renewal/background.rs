//! Tasks that outlive whoever started them, until the server stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::foundation::clock::Ms;

/// Where tasks are started, and what wakes the sweep.
#[derive(Clone)]
pub(crate) struct Background {
    wake: Arc<Notify>,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Background {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self {
            wake,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Starts a task that is waited for when the server stops.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Wakes the sweep.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Wakes the sweep after a while, unless the server stops first.
    pub(super) fn wake_after(&self, wait: Duration) {
        let background = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = background.stopped() => {}
                () = tokio::time::sleep(wait) => background.wake(),
            }
        });
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Ends when the server stops.
    pub(super) async fn stopped(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits for the tasks under way, at most `grace`.
    pub(super) async fn stop(&self, grace: Ms) {
        self.stopping.cancel();
        self.tasks.close();
        let finished = tokio::time::timeout(grace.as_duration(), self.tasks.wait()).await;
        if finished.is_err() {
            tracing::warn!(
                name: "renewal.unfinished",
                unfinished = self.tasks.len(),
                "attempts did not end within the grace time"
            );
        }
    }
}

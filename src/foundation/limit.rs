//! Time limits.

use std::pin::pin;
use std::time::Duration;

/// When time is up, what has arrived is still read.
const LATE: Duration = Duration::from_millis(200);

/// Waits for so long, and a moment more: where the process stood still, time is up although
/// nobody has waited, and what is waited for may have come long ago.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match tokio::time::timeout(limit, &mut future).await {
        Ok(done) => Some(done),
        Err(_elapsed) => tokio::time::timeout(LATE, future).await.ok(),
    }
}

/// Into how many parts [`while_running`] cuts its limit.
const PARTS: u32 = 8;

/// Waits for so long, of the time in which the process runs: one that was stopped, or got no
/// processor, has waited for an eighth of the limit at most, whatever the clock says.
pub async fn while_running<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 1..PARTS {
        if let Ok(done) = tokio::time::timeout(limit / PARTS, &mut future).await {
            return Some(done);
        }
    }
    within(limit / PARTS, future).await
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::foundation::clock::{Clock, Ms, SystemClock};

    const LIMIT: Duration = Duration::from_millis(1600);

    /// The only thread does nothing else, as if the process were stopped.
    fn stand_still(length: Duration) {
        let begun = SystemClock.boot();
        while SystemClock.boot().since(begun) < Ms::from(length) {
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn who_stood_still_has_not_waited_meanwhile() {
        let answer = async {
            sleep(Duration::from_millis(1)).await;
            stand_still(LIMIT * 2);
            sleep(LIMIT / 2).await;
        };
        assert!(while_running(LIMIT, answer).await.is_some());
    }

    #[tokio::test]
    async fn who_runs_waits_for_the_limit_and_not_for_ever() {
        assert!(while_running(LIMIT, sleep(LIMIT / 2)).await.is_some());
        assert!(
            while_running(LIMIT, std::future::pending::<()>())
                .await
                .is_none()
        );
    }
}

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

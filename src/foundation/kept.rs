//! What takes its time to read: it is read by one at a time, and kept for a while, longer where reading
//! takes longer, so that it costs a small part of the time however often it is asked for.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::clock::{BootMs, Ms, SharedClock};

/// What was read is kept for so long at least…
const KEPT_FOR: Ms = Ms::from_secs(2);
/// … and so many times as long as reading took…
const READING_PART: i64 = 20;
/// … but no longer than this.
const KEPT_FOR_AT_MOST: Ms = Ms::from_secs(5 * 60);

/// A value that is read now and then.
pub struct Kept<T> {
    clock: SharedClock,
    /// With the moment after which it is read again.
    last: Mutex<Option<(Arc<T>, BootMs)>>,
}

impl<T> Kept<T> {
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            last: Mutex::default(),
        }
    }

    /// The value that was read last, or what `read` reads now.
    ///
    /// # Errors
    /// Those of `read`; nothing is kept then.
    pub async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut last = self.last.lock().await;
        let begun = self.clock.boot();
        if let Some((value, until)) = last.as_ref()
            && begun < *until
        {
            return Ok(value.clone());
        }
        let value = Arc::new(read.await?);
        let ended = self.clock.boot();
        let kept_for = Ms(READING_PART.saturating_mul(ended.since(begun).0));
        let kept_for = kept_for.clamp(KEPT_FOR, KEPT_FOR_AT_MOST);
        *last = Some((value.clone(), ended.plus(kept_for)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::foundation::clock::{EpochMs, ManualClock};

    #[tokio::test]
    async fn what_takes_long_to_read_is_kept_for_longer() {
        let clock = Arc::new(ManualClock::at(EpochMs(0)));
        let kept = Kept::new(clock.clone() as SharedClock);
        let get = async |value: i64, takes: Ms| {
            let read = async {
                clock.advance(takes);
                Ok::<_, Infallible>(value)
            };
            let Ok(got) = kept.get(read).await;
            *got
        };
        assert_eq!(get(1, Ms(10)).await, 1);
        clock.advance(Ms(1999));
        assert_eq!(get(2, Ms(10)).await, 1);
        clock.advance(Ms(1));
        // A second: for twenty.
        assert_eq!(get(3, Ms(1000)).await, 3);
        clock.advance(Ms(19_999));
        assert_eq!(get(4, Ms(0)).await, 3);
        clock.advance(Ms(1));
        assert_eq!(get(5, Ms::from_secs(1000)).await, 5);
        clock.advance(Ms(300_000));
        assert_eq!(get(6, Ms(0)).await, 6);
    }
}

//! How many calls a second somebody may make, counted in one atomic: the generic cell rate
//! algorithm (ITU-T I.371), which is a token bucket that nobody has to fill.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::clock::{BootMs, Ms};

const SECOND_NS: i64 = 1_000_000_000;
const MS_NS: i64 = 1_000_000;

/// The largest rate that can be asked for, in calls a second.
pub const RATE_MAX: u32 = 1_000_000;

/// Calls a second, and how many may come at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { per_second, burst }
    }

    /// With as many at once as may come in a second.
    pub fn even(per_second: NonZeroU32) -> Self {
        Self::new(per_second, per_second)
    }

    pub fn per_second(self) -> NonZeroU32 {
        self.per_second
    }

    /// Nanoseconds from one call to the next.
    fn interval(self) -> i64 {
        SECOND_NS / i64::from(self.per_second.get())
    }

    /// How far ahead of an even pace a caller may be, in nanoseconds.
    fn tolerance(self) -> i64 {
        self.interval().saturating_mul(self.burst.get().into())
    }
}

/// What one caller has left of its rate.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    /// When all of the burst is there again, in nanoseconds of the boot clock.
    full_at: AtomicI64,
}

impl Bucket {
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: AtomicI64::new(i64::MIN),
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// Where it is one too many, and is not counted: how long to wait for the next.
    pub fn take(&self, now: BootMs) -> Result<(), Ms> {
        let now = nanoseconds(now);
        let next = |full_at: i64| {
            let next = full_at.max(now).saturating_add(self.rate.interval());
            (next.saturating_sub(now) <= self.rate.tolerance()).then_some(next)
        };
        match self.full_at.fetch_update(Relaxed, Relaxed, next) {
            Ok(_) => Ok(()),
            Err(full_at) => Err(self.wait_at(full_at, now)),
        }
    }

    /// Takes back a call that was counted.
    pub fn give_back(&self) {
        self.full_at.fetch_sub(self.rate.interval(), Relaxed);
    }

    /// Counts a call that was made already, also where it was one too many: those after it wait
    /// for it, but never longer than for a second burst.
    pub fn charge(&self, now: BootMs) {
        let now = nanoseconds(now);
        let most = now.saturating_add(self.rate.tolerance().saturating_mul(2));
        let next = |full_at: i64| {
            let next = full_at.max(now).saturating_add(self.rate.interval());
            Some(next.min(most))
        };
        // It always has a next.
        let _ = self.full_at.fetch_update(Relaxed, Relaxed, next);
    }

    fn wait_at(&self, full_at: i64, now: i64) -> Ms {
        let next = full_at.max(now).saturating_add(self.rate.interval());
        let early = next
            .saturating_sub(now)
            .saturating_sub(self.rate.tolerance());
        Ms(early.max(0).saturating_add(MS_NS - 1).div_euclid(MS_NS))
    }
}

fn nanoseconds(at: BootMs) -> i64 {
    at.0.saturating_mul(MS_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let number = |number| NonZeroU32::new(number).unwrap();
        Rate::new(number(per_second), number(burst))
    }

    const NOW: BootMs = BootMs(5_000);

    fn after(ms: i64) -> BootMs {
        NOW.plus(Ms(ms))
    }

    #[test]
    fn a_burst_may_come_at_once_and_then_so_many_a_second() {
        let bucket = Bucket::new(rate(50, 200));
        let taken = (0..1000).filter(|_| bucket.take(NOW).is_ok()).count();
        assert_eq!(taken, 200);
        assert_eq!(bucket.take(NOW), Err(Ms(20)));
        assert_eq!(bucket.take(after(19)), Err(Ms(1)));
        assert_eq!(bucket.take(after(20)), Ok(()));
        let taken = (1..=1000)
            .filter(|ms| bucket.take(after(20 + ms)).is_ok())
            .count();
        assert_eq!(taken, 50);
        // After a pause there is a burst, and no more than one.
        let taken = (0..1000).filter(|_| bucket.take(after(3_600_000)).is_ok());
        assert_eq!(taken.count(), 200);
    }

    #[test]
    fn each_rate_is_kept_however_large_it_is() {
        for per_second in [1, 3, 7, 999, 10_000, RATE_MAX] {
            let bucket = Bucket::new(Rate::even(NonZeroU32::new(per_second).unwrap()));
            let taken = |now| {
                (0..=per_second)
                    .filter(|_| bucket.take(now).is_ok())
                    .count()
            };
            assert_eq!(taken(NOW), per_second as usize, "{per_second}");
            assert_eq!(taken(after(1000)), per_second as usize, "{per_second}");
        }
    }

    #[test]
    fn what_is_charged_afterwards_is_waited_for_and_never_long() {
        let bucket = Bucket::new(rate(10, 5));
        for _ in 0..5 {
            bucket.charge(NOW);
        }
        assert_eq!(bucket.take(NOW), Err(Ms(100)));
        for _ in 0..1000 {
            bucket.charge(NOW);
        }
        // Two bursts at most: one is paid off before the next call.
        assert_eq!(bucket.take(NOW), Err(Ms(600)));
        assert_eq!(bucket.take(after(600)), Ok(()));
    }

    #[test]
    fn a_call_that_is_given_back_leaves_what_there_was() {
        let bucket = Bucket::new(rate(10, 5));
        for _ in 0..1000 {
            assert_eq!(bucket.take(NOW), Ok(()));
            bucket.give_back();
        }
        let taken = (0..10).filter(|_| bucket.take(NOW).is_ok()).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn callers_at_once_take_no_more_than_there_is() {
        let bucket = Bucket::new(rate(1, 1000));
        let taken = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let one = i64::from(bucket.take(NOW).is_ok());
                        taken.fetch_add(one, Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    }
}

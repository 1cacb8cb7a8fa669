//! Time as a parameter. Wall-clock time says when a token expires; boot time, which
//! runs through suspend and never steps, says how long something took. Where a machine may be
//! paused, its boot clock may stand still meanwhile: what must not be late goes by both.

pub mod steady;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
pub use token_server_entity::EpochMs;

/// A length of time in milliseconds; negative where one point lies before the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ms(pub i64);

impl Ms {
    pub const ZERO: Ms = Ms(0);

    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// As whole seconds, rounded up: a `Retry-After` must not be too early.
    pub fn as_secs_ceil(self) -> i64 {
        self.0.saturating_add(999).div_euclid(1000)
    }

    /// As whole seconds, rounded down: a lifetime must not be said to be longer than it is.
    pub fn as_secs_floor(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Negative lengths become zero.
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for Ms {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Arithmetic on points in time; saturates at the ends of time.
pub trait Timeline: Sized {
    fn plus(self, length: Ms) -> Self;
    fn minus(self, length: Ms) -> Self;
    /// How far this point lies after `earlier`.
    fn since(self, earlier: Self) -> Ms;
    /// RFC 3339 in UTC with milliseconds; years have four digits there, so the last is 9999.
    fn to_rfc3339(self) -> String;
}

/// The end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

impl Timeline for EpochMs {
    fn plus(self, length: Ms) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    fn minus(self, length: Ms) -> Self {
        Self(self.0.saturating_sub(length.0))
    }

    fn since(self, earlier: Self) -> Ms {
        Ms(self.0.saturating_sub(earlier.0))
    }

    fn to_rfc3339(self) -> String {
        DateTime::from_timestamp_millis(self.0.min(LAST_MS))
            .unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)
            .to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Milliseconds since the machine was started, suspend included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootMs(pub i64);

impl BootMs {
    pub fn plus(self, length: Ms) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    pub fn since(self, earlier: Self) -> Ms {
        Ms(self.0.saturating_sub(earlier.0))
    }
}

/// What both clocks say at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub wall: EpochMs,
    pub boot: BootMs,
}

impl Moment {
    /// How much time has passed since then: what the clock says that says more. One of them may have
    /// stood still, and the wall clock may have been set back.
    pub fn since(self, earlier: Self) -> Ms {
        let by_boot = self.boot.since(earlier.boot);
        by_boot.max(self.wall.since(earlier.wall))
    }
}

/// A limit of time by both clocks: it is over when either says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    begun: Moment,
    length: Ms,
}

impl Deadline {
    /// `begun` is a moment of the machine's clocks ([`Clock::machine`]).
    pub fn after(begun: Moment, length: Ms) -> Self {
        Self { begun, length }
    }

    /// The same, over so much earlier.
    pub fn less(self, earlier: Ms) -> Self {
        Self {
            length: Ms(self.length.0.saturating_sub(earlier.0)),
            ..self
        }
    }

    /// Zero or negative once it is over.
    pub fn left(self, now: Moment) -> Ms {
        Ms(self.length.0.saturating_sub(now.since(self.begun).0))
    }

    pub fn is_over(self, now: Moment) -> bool {
        self.left(now) <= Ms::ZERO
    }

    /// Whether it is over by the wall clock only: that was set, or the machine was paused.
    pub fn is_cut_short(self, now: Moment) -> bool {
        self.is_over(now) && now.boot.since(self.begun.boot) < self.length
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> EpochMs;
    fn boot(&self) -> BootMs;

    fn moment(&self) -> Moment {
        Moment {
            wall: self.now(),
            boot: self.boot(),
        }
    }

    /// What the machine's own clocks say, whatever is believed: for how much time has passed.
    fn machine(&self) -> Moment {
        self.moment()
    }

    /// How far the machine's wall clock was set away from what is believed.
    fn step(&self) -> Ms {
        Ms::ZERO
    }

    /// How far the machine's wall clock was followed into the future without anybody to confirm that
    /// so much time has passed.
    fn unconfirmed(&self) -> Ms {
        Ms::ZERO
    }

    /// Others say, too, that so much time has passed.
    fn confirm(&self, _: Ms) {}

    /// Others say that it has not: the machine's wall clock was set.
    fn take_back(&self, _: Ms) {}

    /// Believe the wall clock again: it was set to what others say, too.
    fn trust_wall(&self) {}
}

pub type SharedClock = Arc<dyn Clock>;

/// The machine's clocks: `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
#[derive(Debug)]
pub struct SystemClock;

impl SystemClock {
    fn read(id: rustix::time::ClockId) -> i64 {
        let time = rustix::time::clock_gettime(id);
        time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}

impl Clock for SystemClock {
    fn now(&self) -> EpochMs {
        EpochMs(Self::read(rustix::time::ClockId::Realtime))
    }

    fn boot(&self) -> BootMs {
        BootMs(Self::read(rustix::time::ClockId::Boottime))
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
    boot: AtomicI64,
}

impl ManualClock {
    pub fn at(now: EpochMs) -> Self {
        Self {
            now: AtomicI64::new(now.0),
            boot: AtomicI64::new(0),
        }
    }

    pub fn advance(&self, length: Ms) {
        self.now.fetch_add(length.0, Ordering::SeqCst);
        self.boot.fetch_add(length.0, Ordering::SeqCst);
    }

    /// Sets the wall clock, as a human or a time server does.
    pub fn step_wall(&self, length: Ms) {
        self.now.fetch_add(length.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> EpochMs {
        EpochMs(self.now.load(Ordering::SeqCst))
    }

    fn boot(&self) -> BootMs {
        BootMs(self.boot.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_one_of_rfc_3339_however_far_it_is() {
        for (at, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
            (LAST_MS + 1, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(EpochMs(at).to_rfc3339(), date);
        }
    }

    fn at(wall: i64, boot: i64) -> Moment {
        Moment {
            wall: EpochMs(wall),
            boot: BootMs(boot),
        }
    }

    #[test]
    fn a_limit_is_over_when_either_clock_says_so_and_a_clock_set_back_prolongs_nothing() {
        let limit = Deadline::after(at(5000, 100), Ms(1000));
        for (now, left, cut_short) in [
            (at(5400, 500), 600, false),
            (at(6000, 1100), 0, false),
            // The machine was paused, or its wall clock set.
            (at(6000, 101), 0, true),
            (at(5400, 1100), 0, false),
            (at(1000, 500), 600, false),
            (at(1000, 1100), 0, false),
        ] {
            assert_eq!(limit.left(now), Ms(left), "{now:?}");
            assert_eq!(limit.is_over(now), left == 0, "{now:?}");
            assert_eq!(limit.is_cut_short(now), cut_short, "{now:?}");
        }
    }
}

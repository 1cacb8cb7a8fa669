//! Time as a parameter. Wall-clock time says when a token expires; boot time, which
//! runs through suspend and never steps, says how long something took.

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
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub wall: EpochMs,
    pub boot: BootMs,
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

    /// How far the machine's wall clock was set away from what is believed.
    fn step(&self) -> Ms {
        Ms::ZERO
    }

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

/// Goes on evenly when somebody sets the wall clock: a step would make tokens that have
/// expired look valid, or all of them look expired. Small corrections are followed.
#[derive(Debug)]
pub struct SteadyClock {
    source: SharedClock,
    followed: Ms,
    /// A step of the wall clock into the future is followed: a machine that is paused has a boot
    /// clock that stands still, and its wall clock is set when it goes on.
    may_be_paused: bool,
    /// What the wall clock is believed to be, at boot.
    believed: AtomicI64,
}

impl SteadyClock {
    pub fn new(source: SharedClock, followed: Ms) -> Self {
        let believed = AtomicI64::new(Self::wall_at_boot(source.as_ref()));
        Self {
            source,
            followed,
            may_be_paused: false,
            believed,
        }
    }

    /// Of a machine that may be paused: it follows steps into the future.
    #[must_use]
    pub fn of_a_machine_that_may_be_paused(mut self) -> Self {
        self.may_be_paused = true;
        self
    }

    /// Whether the wall clock is not followed where it is so far ahead of what is believed.
    fn is_step(&self, ahead: Ms) -> bool {
        let followed = self.may_be_paused && ahead > Ms::ZERO;
        ahead.0.abs() > self.followed.0 && !followed
    }

    fn wall_at_boot(source: &dyn Clock) -> i64 {
        source.now().0 - source.boot().0
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> EpochMs {
        self.moment().wall
    }

    // For every read of a token: it asks each clock once.
    fn moment(&self) -> Moment {
        let (wall, boot) = (self.source.now(), self.source.boot());
        let believed = EpochMs(self.believed.load(Ordering::Relaxed) + boot.0);
        if wall == believed || self.is_step(wall.since(believed)) {
            let wall = believed;
            return Moment { wall, boot };
        }
        self.believed.store(wall.0 - boot.0, Ordering::Relaxed);
        Moment { wall, boot }
    }

    fn boot(&self) -> BootMs {
        self.source.boot()
    }

    fn step(&self) -> Ms {
        let wall = Self::wall_at_boot(self.source.as_ref());
        let step = Ms(wall - self.believed.load(Ordering::Relaxed));
        if self.is_step(step) { step } else { Ms::ZERO }
    }

    fn trust_wall(&self) {
        let wall = Self::wall_at_boot(self.source.as_ref());
        self.believed.store(wall, Ordering::Relaxed);
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

    fn clocks() -> (Arc<ManualClock>, SteadyClock) {
        let manual = Arc::new(ManualClock::at(EpochMs(1_000_000_000)));
        let steady = SteadyClock::new(manual.clone(), Ms::from_secs(2));
        (manual, steady)
    }

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

    #[test]
    fn a_wall_clock_that_is_set_is_not_followed_and_time_goes_on() {
        for hour in [3_600_000, -3_600_000] {
            let (manual, steady) = clocks();
            manual.advance(Ms(500));
            manual.step_wall(Ms(hour));
            manual.advance(Ms(500));
            assert_eq!(steady.now(), EpochMs(1_000_001_000));
            assert_eq!(steady.step(), Ms(hour));
            manual.step_wall(Ms(-hour));
            assert_eq!(
                (steady.now(), steady.step()),
                (EpochMs(1_000_001_000), Ms::ZERO)
            );
        }
    }

    #[test]
    fn a_machine_that_may_be_paused_follows_its_wall_clock_into_the_future_only() {
        let (manual, steady) = clocks();
        let steady = steady.of_a_machine_that_may_be_paused();
        manual.step_wall(Ms(3_600_000));
        assert_eq!(
            (steady.now(), steady.step()),
            (EpochMs(1_003_600_000), Ms::ZERO)
        );
        manual.step_wall(Ms(-3_600_000));
        assert_eq!(
            (steady.now(), steady.step()),
            (EpochMs(1_003_600_000), Ms(-3_600_000))
        );
    }

    #[test]
    fn small_corrections_are_followed_and_a_wall_clock_that_others_confirm_is_trusted() {
        let (manual, steady) = clocks();
        manual.step_wall(Ms(-1500));
        assert_eq!(steady.now(), EpochMs(999_998_500));
        manual.step_wall(Ms(7_200_000));
        steady.trust_wall();
        assert_eq!(
            (steady.now(), steady.step()),
            (EpochMs(1_007_198_500), Ms::ZERO)
        );
    }
}

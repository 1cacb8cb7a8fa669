//! The clock that tokens live by, on a machine whose wall clock may be set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{BootMs, Clock, EpochMs, Moment, Ms, SharedClock, Timeline};

/// Goes on evenly when somebody sets the wall clock: a step would make tokens that have
/// expired look valid, or all of them look expired. Small corrections are followed.
#[derive(Debug)]
pub struct SteadyClock {
    source: SharedClock,
    followed: Ms,
    /// A machine that is paused has a boot clock that stands still, and its wall clock is set when it
    /// goes on: what that is ahead then is followed, until others say that it was set.
    may_be_paused: bool,
    /// What the wall clock is believed to be, at boot.
    believed: AtomicI64,
    /// How far the machine's wall clock is known to be set away from that, where it may be paused.
    set_by: AtomicI64,
    /// How much of what is believed was followed and is not confirmed.
    unconfirmed: AtomicI64,
    /// Held by who changes them together.
    changing: Mutex<()>,
}

impl SteadyClock {
    pub fn new(source: SharedClock, followed: Ms) -> Self {
        let believed = AtomicI64::new(wall_at_boot(source.moment()));
        Self {
            source,
            followed,
            may_be_paused: false,
            believed,
            set_by: AtomicI64::new(0),
            unconfirmed: AtomicI64::new(0),
            changing: Mutex::default(),
        }
    }

    /// Of a machine that may be paused: it follows steps into the future.
    #[must_use]
    pub fn of_a_machine_that_may_be_paused(mut self) -> Self {
        self.may_be_paused = true;
        self
    }

    fn is_small(&self, ahead: i64) -> bool {
        ahead.abs() <= self.followed.0
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a wall clock that was set, or a pause, into account.
    fn turn(&self) {
        let _changing = self.changing();
        let wall = wall_at_boot(self.source.moment());
        let ahead = wall - self.believed.load(Ordering::Relaxed);
        let set_by = self.set_by.load(Ordering::Relaxed);
        // Since it was last looked at.
        let moved = ahead - set_by;
        if self.is_small(ahead) {
            self.set_by.store(0, Ordering::Relaxed);
            self.believed.store(wall, Ordering::Relaxed);
        } else if self.is_small(moved) {
            self.believed.store(wall - set_by, Ordering::Relaxed);
        } else if moved > 0 {
            self.unconfirmed.fetch_add(moved, Ordering::Relaxed);
            self.believed.store(wall - set_by, Ordering::Relaxed);
        } else {
            self.set_by.store(ahead, Ordering::Relaxed);
        }
    }
}

/// How far the wall clock is ahead of the boot clock.
fn wall_at_boot(now: Moment) -> i64 {
    now.wall.0.saturating_sub(now.boot.0)
}

impl Clock for SteadyClock {
    fn now(&self) -> EpochMs {
        self.moment().wall
    }

    // For every read of a token: it asks each clock once.
    fn moment(&self) -> Moment {
        let now = self.source.moment();
        let believed = |boot: BootMs| {
            let wall = EpochMs(self.believed.load(Ordering::Relaxed) + boot.0);
            Moment { wall, boot }
        };
        let was = believed(now.boot);
        let ahead = now.wall.since(was.wall).0;
        if ahead == 0 || (ahead == self.set_by.load(Ordering::Relaxed) && self.may_be_paused) {
            return was;
        }
        if self.may_be_paused {
            self.turn();
            return believed(now.boot);
        }
        if self.is_small(ahead) {
            self.believed.store(wall_at_boot(now), Ordering::Relaxed);
            return now;
        }
        was
    }

    fn boot(&self) -> BootMs {
        self.source.boot()
    }

    fn machine(&self) -> Moment {
        self.source.machine()
    }

    fn step(&self) -> Ms {
        let (now, machine) = (self.moment(), self.source.moment());
        let step = wall_at_boot(machine) - wall_at_boot(now);
        if self.is_small(step) {
            Ms::ZERO
        } else {
            Ms(step)
        }
    }

    fn unconfirmed(&self) -> Ms {
        self.moment();
        Ms(self.unconfirmed.load(Ordering::Relaxed))
    }

    // Of several who compared at once, one is enough.
    fn confirm(&self, passed: Ms) {
        let _changing = self.changing();
        if self.unconfirmed.load(Ordering::Relaxed) < passed.0 {
            return;
        }
        self.unconfirmed.fetch_sub(passed.0, Ordering::Relaxed);
    }

    fn take_back(&self, passed: Ms) {
        let _changing = self.changing();
        if self.unconfirmed.load(Ordering::Relaxed) < passed.0 {
            return;
        }
        self.unconfirmed.fetch_sub(passed.0, Ordering::Relaxed);
        self.set_by.fetch_add(passed.0, Ordering::Relaxed);
        self.believed.fetch_sub(passed.0, Ordering::Relaxed);
    }

    fn trust_wall(&self) {
        let _changing = self.changing();
        let wall = wall_at_boot(self.source.moment());
        self.believed.store(wall, Ordering::Relaxed);
        self.set_by.store(0, Ordering::Relaxed);
        self.unconfirmed.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::foundation::clock::ManualClock;

    const HOUR: Ms = Ms::from_secs(3600);
    const START: EpochMs = EpochMs(1_000_000_000);

    fn clocks() -> (Arc<ManualClock>, SteadyClock) {
        let manual = Arc::new(ManualClock::at(START));
        let steady = SteadyClock::new(manual.clone(), Ms::from_secs(2));
        (manual, steady)
    }

    /// What it says after the start, and how far the machine's clock was set.
    fn says(steady: &SteadyClock) -> (Ms, Ms) {
        (steady.now().since(START), steady.step())
    }

    #[test]
    fn a_wall_clock_that_is_set_is_not_followed_and_time_goes_on() {
        for hour in [HOUR, Ms(-HOUR.0)] {
            let (manual, steady) = clocks();
            manual.advance(Ms(500));
            manual.step_wall(hour);
            manual.advance(Ms(500));
            assert_eq!(says(&steady), (Ms(1000), hour));
            assert_eq!(steady.machine().wall.since(START), Ms(1000 + hour.0));
            manual.step_wall(Ms(-hour.0));
            assert_eq!(says(&steady), (Ms(1000), Ms::ZERO));
        }
    }

    #[test]
    fn a_machine_that_may_be_paused_follows_its_wall_clock_into_the_future_only() {
        let (manual, steady) = clocks();
        let steady = steady.of_a_machine_that_may_be_paused();
        manual.step_wall(HOUR);
        assert_eq!(says(&steady), (HOUR, Ms::ZERO));
        assert_eq!(steady.unconfirmed(), HOUR);
        steady.confirm(HOUR);
        assert_eq!(steady.unconfirmed(), Ms::ZERO);
        manual.step_wall(Ms(-HOUR.0));
        assert_eq!(says(&steady), (HOUR, Ms(-HOUR.0)));
        assert_eq!(steady.unconfirmed(), Ms::ZERO);
    }

    #[test]
    fn a_pause_is_seen_although_the_wall_clock_was_set_back_before() {
        let (manual, steady) = clocks();
        let steady = steady.of_a_machine_that_may_be_paused();
        manual.step_wall(Ms(-HOUR.0));
        assert_eq!(says(&steady), (Ms::ZERO, Ms(-HOUR.0)));
        manual.step_wall(Ms::from_secs(600));
        assert_eq!(says(&steady), (Ms::from_secs(600), Ms(-HOUR.0)));
        // Set right: it is no pause.
        manual.step_wall(HOUR);
        assert_eq!(says(&steady), (Ms::from_secs(600), Ms::ZERO));
    }

    #[test]
    fn what_was_followed_and_others_do_not_say_is_taken_back_and_later_pauses_are_seen() {
        let (manual, steady) = clocks();
        let steady = steady.of_a_machine_that_may_be_paused();
        manual.step_wall(HOUR);
        assert_eq!(says(&steady), (HOUR, Ms::ZERO));
        steady.take_back(HOUR);
        assert_eq!(says(&steady), (Ms::ZERO, HOUR));
        assert_eq!(steady.unconfirmed(), Ms::ZERO);
        manual.advance(Ms(500));
        assert_eq!(says(&steady), (Ms(500), HOUR));
        manual.step_wall(Ms::from_secs(600));
        assert_eq!(says(&steady), (Ms(600_500), HOUR));
        assert_eq!(steady.unconfirmed(), Ms::from_secs(600));
        manual.step_wall(Ms(-HOUR.0));
        assert_eq!(says(&steady), (Ms(600_500), Ms::ZERO));
    }

    #[test]
    fn small_corrections_are_followed_and_a_wall_clock_that_others_confirm_is_trusted() {
        let (manual, steady) = clocks();
        manual.step_wall(Ms(-1500));
        assert_eq!(says(&steady), (Ms(-1500), Ms::ZERO));
        manual.step_wall(Ms(7_200_000));
        steady.trust_wall();
        assert_eq!(says(&steady), (Ms(7_198_500), Ms::ZERO));
    }
}

//! Whether this process stood still. A platform of functions freezes it between two requests: no
//! timer runs and no feed is followed meanwhile, and other instances renew tokens. What was
//! remembered before is compared with the database once, by every read, before it is served.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::foundation::clock::{BootMs, EpochMs, Moment, Ms, Timeline};

/// A process that was not seen at work for longer was frozen. One that runs follows the feed four
/// times a second; one that waits that long for the database may be taken for frozen, which costs a
/// look at the database.
const FROZEN_FOR: Ms = Ms::from_secs(1);

/// When this process was last seen at work, and when it was last thawed.
///
/// A process that is stopped, or a machine that is suspended, is told by the boot clock. A virtual
/// machine that is paused has a boot clock that stood still, too: it is told by the wall clock.
#[derive(Debug)]
pub(super) struct Thaw {
    seen_boot: AtomicI64,
    seen_wall: AtomicI64,
    thawed_at: AtomicI64,
}

impl Thaw {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            seen_boot: AtomicI64::new(now.boot.0),
            seen_wall: AtomicI64::new(now.wall.0),
            thawed_at: AtomicI64::new(i64::MIN),
        }
    }

    /// The process is at work now. Answers when it was last thawed: what was read of the database
    /// until then is old.
    pub(super) fn at_work(&self, now: Moment) -> BootMs {
        let seen_boot = BootMs(self.seen_boot.load(Ordering::Acquire));
        let seen_wall = EpochMs(self.seen_wall.load(Ordering::Acquire));
        if now.boot.since(seen_boot).max(now.wall.since(seen_wall)) > FROZEN_FOR {
            // First, so that whoever sees it at work sees that it was thawed, too.
            self.thawed_at.fetch_max(now.boot.0, Ordering::AcqRel);
        }
        self.seen_boot.fetch_max(now.boot.0, Ordering::AcqRel);
        self.seen_wall.fetch_max(now.wall.0, Ordering::AcqRel);
        BootMs(self.thawed_at.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, boot: i64) -> Moment {
        Moment {
            wall: EpochMs(wall),
            boot: BootMs(boot),
        }
    }

    const NEVER: BootMs = BootMs(i64::MIN);

    #[test]
    fn a_process_that_is_seen_at_work_each_second_was_not_frozen() {
        let thaw = Thaw::new(at(1_000_000, 5000));
        for second in 1..100 {
            let now = at(1_000_000 + 1000 * second, 5000 + 1000 * second);
            assert_eq!(thaw.at_work(now), NEVER);
        }
    }

    #[test]
    fn a_process_that_was_stopped_and_a_machine_that_was_paused_are_thawed_once() {
        for thawed in [at(4_600_000, 3_605_000), at(4_600_000, 5001)] {
            let thaw = Thaw::new(at(1_000_000, 5000));
            assert_eq!(thaw.at_work(thawed), thawed.boot);
            let later = at(thawed.wall.0 + 900, thawed.boot.0 + 900);
            assert_eq!(thaw.at_work(later), thawed.boot);
        }
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_no_freeze() {
        let thaw = Thaw::new(at(1_000_000, 5000));
        assert_eq!(thaw.at_work(at(400_000, 5100)), NEVER);
        assert_eq!(thaw.at_work(at(400_100, 5200)), NEVER);
    }
}

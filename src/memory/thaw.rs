//! Whether this process stood still. A platform of functions freezes it between two requests: no
//! timer runs and no feed is followed meanwhile, and other instances renew tokens. What was
//! remembered before is compared with the database once, by every read, before it is served.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::foundation::clock::{BootMs, Moment, Ms};

/// A process that stood still for longer in all, since it last looked at the database, was frozen.
/// One that runs follows the feed four times a second; one that waits that long for the database may
/// be taken for frozen, which costs a look at the database.
const FROZEN_FOR: Ms = Ms::from_secs(1);

/// When this process was last seen at work, and when it was last thawed.
///
/// A process that is stopped, or a machine that is suspended, is told by the boot clock. A virtual
/// machine that is paused has a boot clock that stood still, too: it is told by how far the wall
/// clock went ahead of that, in all pauses since the database was last looked at.
#[derive(Debug)]
pub(super) struct Thaw {
    seen_boot: AtomicI64,
    /// How far the wall clock was ahead of the boot clock when the database was last looked at, or
    /// less where it was set back since.
    ahead: AtomicI64,
    thawed_at: AtomicI64,
}

fn ahead(now: Moment) -> i64 {
    now.wall.0.saturating_sub(now.boot.0)
}

impl Thaw {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            seen_boot: AtomicI64::new(now.boot.0),
            ahead: AtomicI64::new(ahead(now)),
            thawed_at: AtomicI64::new(i64::MIN),
        }
    }

    /// The process is at work now, by the machine's clocks. Answers when it was last thawed: what was
    /// read of the database until then is old.
    pub(super) fn at_work(&self, now: Moment) -> BootMs {
        let stopped = now.boot.0 - self.seen_boot.load(Ordering::Acquire);
        let before = self.ahead.fetch_min(ahead(now), Ordering::AcqRel);
        let paused = ahead(now).saturating_sub(before).max(0);
        if stopped.saturating_add(paused) > FROZEN_FOR.0 {
            // First, so that whoever sees it at work sees that it was thawed, too.
            self.thawed_at.fetch_max(now.boot.0, Ordering::AcqRel);
            self.ahead.store(ahead(now), Ordering::Release);
        }
        self.seen_boot.fetch_max(now.boot.0, Ordering::AcqRel);
        BootMs(self.thawed_at.load(Ordering::Acquire))
    }

    /// The database was looked at for all that is remembered, from then on: what passed before is in
    /// what was read.
    pub(super) fn looked(&self, begun: Moment) {
        self.ahead.store(ahead(begun), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::clock::EpochMs;

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
    fn a_wall_clock_that_is_set_back_is_no_freeze_and_hides_none() {
        let thaw = Thaw::new(at(1_000_000, 5000));
        assert_eq!(thaw.at_work(at(400_000, 5100)), NEVER);
        assert_eq!(thaw.at_work(at(400_100, 5200)), NEVER);
        // Paused for ten minutes, and it is still earlier than at the start.
        assert_eq!(thaw.at_work(at(999_000, 5300)), BootMs(5300));
    }

    #[test]
    fn pauses_of_less_than_a_second_add_up_until_the_database_was_looked_at() {
        let paused = |times: i64| at(1_000_000 + 410 * times, 5000 + 10 * times);
        let thaw = Thaw::new(paused(0));
        for times in 1..=2 {
            assert_eq!(thaw.at_work(paused(times)), NEVER);
        }
        assert_eq!(thaw.at_work(paused(3)), paused(3).boot);
        // It is told once.
        assert_eq!(thaw.at_work(paused(4)), paused(3).boot);
        thaw.looked(paused(4));
        for times in 5..=6 {
            assert_eq!(thaw.at_work(paused(times)), paused(3).boot);
        }
        assert_eq!(thaw.at_work(paused(7)), paused(7).boot);
    }

    #[test]
    fn a_pause_while_the_database_was_looked_at_counts() {
        let thaw = Thaw::new(at(1_000_000, 5000));
        assert_eq!(thaw.at_work(at(1_000_800, 5010)), NEVER);
        thaw.looked(at(1_000_000, 5000));
        assert_eq!(thaw.at_work(at(1_001_600, 5020)), BootMs(5020));
    }
}

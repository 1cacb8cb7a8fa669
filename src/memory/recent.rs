//! What was changed of late: nobody may remember what they read before that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::ids::SecretId;

/// Whoever has read for longer remembers nothing.
const READING_MAX: Ms = Ms::from_secs(10);
/// So many changes are noted before those that are too old are forgotten.
const NOTED_MIN: usize = 1000;

/// A moment in the order of changes.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    change: u64,
    at: BootMs,
}

#[derive(Debug, Default)]
struct Noted {
    last: u64,
    changes: HashMap<SecretId, (u64, BootMs)>,
    /// The map is looked through when it holds more.
    full: usize,
}

#[derive(Debug, Default)]
pub struct Recent(Mutex<Noted>);

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self, at: BootMs) -> Since {
        Since {
            change: self.lock().last,
            at,
        }
    }

    /// Notes a change and does what follows from it, before anybody else remembers anything.
    pub fn changed(&self, id: SecretId, now: BootMs, then: impl FnOnce()) {
        let mut noted = self.lock();
        noted.last += 1;
        let change = (noted.last, now);
        noted.changes.insert(id, change);
        if noted.changes.len() > noted.full.max(NOTED_MIN) {
            noted
                .changes
                .retain(|_, (_, at)| now.since(*at) <= READING_MAX);
            noted.full = 2 * noted.changes.len();
        }
        then();
    }

    /// Does it unless that token was changed since; answers whether.
    pub fn unless_changed(
        &self,
        id: SecretId,
        since: Since,
        now: BootMs,
        then: impl FnOnce(),
    ) -> bool {
        let noted = self.lock();
        let changed = noted
            .changes
            .get(&id)
            .is_some_and(|(change, _)| *change > since.change);
        let unchanged = !changed && now.since(since.at) < READING_MAX;
        if unchanged {
            then();
        }
        unchanged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered() {
        let recent = Recent::default();
        let (changed, other) = (SecretId(1), SecretId(2));
        let remembers = |id, since, now| {
            let mut done = false;
            let unchanged = recent.unless_changed(id, since, now, || done = true);
            assert_eq!(done, unchanged);
            done
        };
        let before = recent.now(BootMs(0));
        assert!(remembers(changed, before, BootMs(0)));
        recent.changed(changed, BootMs(1), || ());
        assert!(!remembers(changed, before, BootMs(2)));
        assert!(remembers(other, before, BootMs(2)));
        assert!(remembers(changed, recent.now(BootMs(3)), BootMs(4)));
    }

    #[test]
    fn changes_are_noted_as_long_as_anybody_may_read_and_no_longer() {
        let recent = Recent::default();
        let before = recent.now(BootMs(0));
        let noted = |now: i64, from: i64| {
            for id in from..from + 2000 {
                recent.changed(SecretId(id), BootMs(now), || ());
            }
            recent.lock().changes.len()
        };
        assert_eq!(noted(0, 0), 2000);
        assert!(noted(READING_MAX.0 + 1, 10_000) <= 4000);
        assert!(noted(READING_MAX.0 + 2, 20_000) <= 6000);
        let late = BootMs(READING_MAX.0 + 2);
        let unchanged = recent.unless_changed(SecretId(1), before, late, || ());
        assert!(!unchanged, "it was read too long ago");
    }
}

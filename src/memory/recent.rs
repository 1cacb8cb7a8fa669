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
        noted.note(id, now);
        then();
    }

    /// The same; tells whether it was the only one since then.
    pub fn changed_since(&self, id: SecretId, since: Since, now: BootMs, then: impl FnOnce(bool)) {
        let mut noted = self.lock();
        let only = noted.is_unchanged(id, since, now);
        noted.note(id, now);
        then(only);
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
        let unchanged = noted.is_unchanged(id, since, now);
        if unchanged {
            then();
        }
        unchanged
    }
}

impl Noted {
    fn note(&mut self, id: SecretId, now: BootMs) {
        self.last += 1;
        self.changes.insert(id, (self.last, now));
        if self.changes.len() > self.full.max(NOTED_MIN) {
            self.changes
                .retain(|_, (_, at)| now.since(*at) <= READING_MAX);
            self.full = 2 * self.changes.len();
        }
    }

    fn is_unchanged(&self, id: SecretId, since: Since, now: BootMs) -> bool {
        let last = self.changes.get(&id);
        let changed = last.is_some_and(|(change, _)| *change > since.change);
        !changed && now.since(since.at) < READING_MAX
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

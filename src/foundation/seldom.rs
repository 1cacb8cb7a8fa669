//! Says of what happens often only how often it did.

use std::collections::HashMap;
use std::hash::Hash;

use super::clock::{BootMs, Ms};

/// Between two lines of the log.
const APART: Ms = Ms::from_secs(60);
/// How many things are told apart within that time.
const EACH_MAX: usize = 100;

/// Counts, and answers the count at most once a minute.
#[derive(Debug, Default)]
pub struct Seldom {
    count: u64,
    told_at: Option<BootMs>,
}

impl Seldom {
    /// Counts one more. Answers how many there were since it last answered, where it is time to
    /// say so: at the first, and then a minute after it last did. What comes in between is told
    /// with the next one.
    pub fn count(&mut self, now: BootMs) -> Option<u64> {
        self.count += 1;
        if self.was_told(now) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }

    fn was_told(&self, now: BootMs) -> bool {
        self.told_at.is_some_and(|told| now.since(told) < APART)
    }
}

/// The same of each of several things, so that one which happens often hides no other.
#[derive(Debug)]
pub struct SeldomOfEach<K> {
    each: HashMap<K, Seldom>,
    /// Those that are too many to be told apart.
    others: Seldom,
}

impl<K> Default for SeldomOfEach<K> {
    fn default() -> Self {
        Self {
            each: HashMap::new(),
            others: Seldom::default(),
        }
    }
}

impl<K: Eq + Hash> SeldomOfEach<K> {
    /// Counts one more of this thing, and answers as [`Seldom::count`] does. Where there are more than
    /// a hundred within a minute, the rest is counted together, and told with one of them.
    pub fn count(&mut self, of: K, now: BootMs) -> Option<u64> {
        if self.each.len() >= EACH_MAX && !self.each.contains_key(&of) {
            self.each.retain(|_, one| one.was_told(now));
            if self.each.len() >= EACH_MAX {
                return self.others.count(now);
            }
        }
        self.each.entry(of).or_default().count(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_by_the_minute() {
        let mut seldom = Seldom::default();
        let told: Vec<_> = [0, 1, 59_999, 60_000, 60_001, 120_000]
            .map(|now| seldom.count(BootMs(now)))
            .to_vec();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
    }

    #[test]
    fn each_thing_is_told_by_itself_until_there_are_too_many_which_are_told_together() {
        let mut seldom = SeldomOfEach::default();
        assert_eq!(seldom.count("one", BootMs(0)), Some(1));
        assert_eq!(seldom.count("one", BootMs(1)), None);
        assert_eq!(seldom.count("another", BootMs(2)), Some(1));
        assert_eq!(seldom.count("one", BootMs(60_000)), Some(2));
        let mut seldom = SeldomOfEach::default();
        for number in 0..EACH_MAX {
            assert_eq!(seldom.count(number, BootMs(0)), Some(1));
        }
        let told: Vec<_> = [
            (200, 1),
            (300, 2),
            (200, 3),
            (0, 4),
            (300, 60_001),
            (0, 60_002),
        ]
        .map(|(number, now)| seldom.count(number, BootMs(now)))
        .to_vec();
        assert_eq!(told, [Some(1), None, None, None, Some(1), Some(1)]);
        assert!(seldom.each.len() <= EACH_MAX);
    }
}

//! Where in the feed a follower is. Numbers become visible out of order: one that is missing
//! may still come, and what follows it is read again until it has, or has had its time.

use std::collections::BTreeMap;

use crate::foundation::clock::{BootMs, Ms};

/// How long a number that is missing is waited for: longer than a write transaction takes.
const MISSING_MAX: Ms = Ms::from_secs(5);

#[derive(Debug)]
pub struct Position {
    /// Everything up to here was seen, or will never come.
    low: i64,
    /// What was seen above that, and when first.
    seen: BTreeMap<i64, BootMs>,
}

impl Position {
    /// Behind what stands there already.
    pub fn after(newest: i64) -> Self {
        Self {
            low: newest,
            seen: BTreeMap::new(),
        }
    }

    /// The feed is read from behind this number.
    pub fn low(&self) -> i64 {
        self.low
    }

    /// Takes note of a number; false where it was seen before.
    pub fn see(&mut self, number: i64, now: BootMs) -> bool {
        if number <= self.low || self.seen.contains_key(&number) {
            return false;
        }
        self.seen.insert(number, now);
        true
    }

    /// Leaves behind what need not be read again.
    pub fn advance(&mut self, now: BootMs) {
        while let Some((&number, &seen)) = self.seen.first_key_value() {
            let next = number == self.low + 1;
            if !next && now.since(seen) < MISSING_MAX {
                return;
            }
            self.low = number;
            self.seen.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position_that_saw(numbers: &[i64]) -> Position {
        let mut position = Position::after(10);
        for number in numbers {
            assert!(position.see(*number, BootMs(0)));
        }
        position
    }

    #[test]
    fn numbers_in_a_row_are_left_behind_at_once() {
        let mut position = position_that_saw(&[11, 12, 13]);
        position.advance(BootMs(0));
        assert_eq!(position.low(), 13);
        assert!(!position.see(12, BootMs(1)));
    }

    #[test]
    fn a_number_that_is_missing_is_waited_for_and_then_given_up() {
        let mut position = position_that_saw(&[11, 13]);
        position.advance(BootMs(4999));
        assert_eq!(position.low(), 11);
        assert!(!position.see(13, BootMs(4999)), "it was seen before");
        assert!(position.see(12, BootMs(4999)), "it comes late");
        position.advance(BootMs(4999));
        assert_eq!(position.low(), 13);

        let mut position = position_that_saw(&[13]);
        position.advance(BootMs(5000));
        assert_eq!(position.low(), 13);
    }
}

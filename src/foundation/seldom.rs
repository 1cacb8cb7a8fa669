//! Says of what happens often only how often it did.

use super::clock::{BootMs, Ms};

/// Between two lines of the log.
const APART: Ms = Ms::from_secs(60);

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
        if self.told_at.is_some_and(|told| now.since(told) < APART) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.count))
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
}

//! Requests to one realm are spread evenly over time: arithmetic only (the generic cell
//! rate algorithm).

use std::collections::HashMap;

use crate::foundation::clock::BootMs;
use crate::foundation::ids::RealmId;

/// A burst is what is allowed in so many parts of a second.
const BURST_PARTS: i64 = 10;
/// Realms remembered; beyond, those that are idle are forgotten.
const REALMS_MAX: usize = 1000;

#[derive(Debug)]
pub struct Pace {
    /// Between two requests, in microseconds.
    interval: i64,
    /// Requests that may start at once after a pause.
    burst: i64,
    /// When the next request would be due if all came evenly, in microseconds.
    next: HashMap<RealmId, i64>,
}

impl Pace {
    pub fn new(per_second: u32) -> Self {
        let per_second = i64::from(per_second.max(1));
        Self {
            interval: 1_000_000 / per_second,
            burst: (per_second / BURST_PARTS).max(1),
            next: HashMap::new(),
        }
    }

    /// How many may start now.
    pub fn allowed(&self, realm: &RealmId, now: BootMs) -> usize {
        let ahead = self.ahead(realm, micros(now));
        let free = self.burst - (ahead + self.interval - 1) / self.interval;
        usize::try_from(free).unwrap_or(0)
    }

    /// In how many milliseconds one may start; zero: now.
    pub fn wait_ms(&self, realm: &RealmId, now: BootMs) -> u64 {
        let wait = self.ahead(realm, micros(now)) - (self.burst - 1) * self.interval;
        u64::try_from((wait + 999) / 1000).unwrap_or(0)
    }

    /// How far what was taken reaches beyond now, in microseconds. Nobody takes more than a
    /// burst ahead: what lies further comes from a clock that has gone back.
    fn ahead(&self, realm: &RealmId, now: i64) -> i64 {
        let Some(next) = self.next.get(realm) else {
            return 0;
        };
        match next.saturating_sub(now) {
            ahead if ahead > self.burst.saturating_mul(self.interval) => 0,
            ahead => ahead.max(0),
        }
    }

    pub fn take(&mut self, realm: &RealmId, count: usize, now: BootMs) {
        let now = micros(now);
        if self.next.len() >= REALMS_MAX {
            self.next.retain(|_, next| *next > now);
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let next = now
            .saturating_add(self.ahead(realm, now))
            .saturating_add(count.saturating_mul(self.interval));
        self.next.insert(realm.clone(), next);
    }

    /// One that was taken did not start.
    pub fn give_back(&mut self, realm: &RealmId) {
        if let Some(next) = self.next.get_mut(realm) {
            *next -= self.interval;
        }
    }
}

fn micros(at: BootMs) -> i64 {
    at.0.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm() -> RealmId {
        RealmId::new("r").unwrap()
    }

    #[test]
    fn no_second_holds_more_than_the_rate_and_one_burst() {
        let (mut pace, realm) = (Pace::new(50), realm());
        let mut started: Vec<i64> = Vec::new();
        for millisecond in 0..5000 {
            let now = BootMs(millisecond);
            let allowed = pace.allowed(&realm, now);
            pace.take(&realm, allowed, now);
            started.extend(std::iter::repeat_n(millisecond, allowed));
        }
        for begin in 0..4000 {
            let second = begin..begin + 1000;
            let count = started.iter().filter(|at| second.contains(*at)).count();
            assert!((45..=56).contains(&count), "{count} from {begin}");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_may_start() {
        let (mut pace, realm) = (Pace::new(20), realm());
        pace.take(&realm, 2, BootMs(0));
        let wait = pace.wait_ms(&realm, BootMs(0));
        assert_eq!(pace.allowed(&realm, BootMs(0)), 0);
        let after = |ms: u64| BootMs(i64::try_from(ms).unwrap());
        assert_eq!(pace.allowed(&realm, after(wait - 1)), 0);
        assert_eq!(pace.allowed(&realm, after(wait)), 1);
    }

    #[test]
    fn a_clock_that_has_gone_back_holds_nothing() {
        let (mut pace, realm) = (Pace::new(20), realm());
        pace.take(&realm, 2, BootMs(3_600_000));
        assert_eq!(pace.allowed(&realm, BootMs(0)), 2);
        assert_eq!(pace.wait_ms(&realm, BootMs(0)), 0);
    }

    #[test]
    fn what_did_not_start_is_given_back() {
        let (mut pace, realm) = (Pace::new(20), realm());
        pace.take(&realm, 2, BootMs(0));
        pace.give_back(&realm);
        assert_eq!(pace.allowed(&realm, BootMs(0)), 1);
    }
}

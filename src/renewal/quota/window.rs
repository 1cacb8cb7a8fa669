//! A rolling window, in parts: arithmetic only.
//!
//! A reservation counts until the latest moment at which its request could have been sent
//! is a window ago. So no window of that length, wherever it begins, ever holds more
//! requests than were allowed: none of the provider's days, either.

use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::policy::Quota;

/// A window is remembered in so many parts.
const PARTS: i64 = 24;
/// How far two clocks may be apart.
const SKEW: Ms = Ms::from_secs(2);
/// The most requests that are reserved at once.
const BLOCK_MAX: i64 = 20;
/// A block is at most that part of the quota.
const BLOCK_PART: i64 = 200;

/// What was reserved, oldest first: the begin of a part, and how many requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaWindow(Vec<(i64, i64)>);

/// A quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// When there is a place again, if nobody takes it first.
    pub until: EpochMs,
    /// It is one of forced requests only.
    pub forced: bool,
}

impl QuotaWindow {
    pub fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    pub fn to_text(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Reserves at most `wanted` of what is below `limit`; answers how many, and the part
    /// they were taken from.
    pub fn reserve(
        &mut self,
        quota: &Quota,
        limit: i64,
        wanted: i64,
        now: EpochMs,
    ) -> Result<(i64, i64), Spent> {
        let gone = gone(quota, now);
        self.0.retain(|(begin, _)| *begin > gone);
        let free = limit - self.used(quota, now);
        if free <= 0 {
            return Err(Spent {
                until: self.frees(quota, 1 - free, now),
                forced: quota.forced,
            });
        }
        let part = part_of(quota, now);
        let taken = wanted.min(free);
        match self.0.iter_mut().find(|(begin, _)| *begin == part) {
            Some((_, count)) => *count += taken,
            None => self.0.push((part, taken)),
        }
        Ok((taken, part))
    }

    /// How many requests the window holds.
    pub fn used(&self, quota: &Quota, now: EpochMs) -> i64 {
        let gone = gone(quota, now);
        let counted = self.0.iter().filter(|(begin, _)| *begin > gone);
        counted.map(|(_, count)| count).sum()
    }

    /// Counts what was reserved elsewhere in the same parts, once.
    pub fn count_in(&mut self, other: &Self) {
        for (begin, reserved) in &other.0 {
            match self.0.iter_mut().find(|(part, _)| part == begin) {
                Some((_, here)) => *here = (*here).max(*reserved),
                None => self.0.push((*begin, *reserved)),
            }
        }
        self.0.sort_unstable();
    }

    /// Gives back what was reserved and not used.
    pub fn give_back(&mut self, part: i64, count: i64) {
        if let Some((_, reserved)) = self.0.iter_mut().find(|(begin, _)| *begin == part) {
            *reserved = (*reserved - count).max(0);
        }
    }

    /// When so many of the oldest will have left the window.
    fn frees(&self, quota: &Quota, count: i64, now: EpochMs) -> EpochMs {
        let mut left = count;
        let mut parts = self.0.clone();
        parts.sort_unstable();
        for (begin, reserved) in parts {
            left -= reserved;
            if left <= 0 {
                return EpochMs(begin).plus(counts_for(quota));
            }
        }
        now.plus(quota.window)
    }
}

/// The length of a part.
fn part(quota: &Quota) -> Ms {
    Ms((quota.window.0 / PARTS).max(1))
}

fn part_of(quota: &Quota, now: EpochMs) -> i64 {
    now.0 - now.0.rem_euclid(part(quota).0)
}

/// How long a block may be used after its part began: the rest of the part, and another.
pub fn block_ends(quota: &Quota, begin: i64) -> EpochMs {
    EpochMs(begin).plus(Ms(2 * part(quota).0))
}

/// From the begin of a part: its requests are sent until its blocks end.
fn counts_for(quota: &Quota) -> Ms {
    Ms(quota.window.0 + 2 * part(quota).0 + SKEW.0)
}

/// Parts that began then or before have left the window.
fn gone(quota: &Quota, now: EpochMs) -> i64 {
    now.0 - counts_for(quota).0
}

/// The most that is reserved at once.
pub fn block_max(quota: &Quota) -> i64 {
    (quota.limit / BLOCK_PART).clamp(1, BLOCK_MAX)
}

/// What a window's scheduled renewals own, so that flushes leave it alone: twice what they
/// need, but a quarter of the quota is for flushes whatever they need.
pub fn owned_by_schedule(quota: &Quota, secrets: i64, lifetime: Ms) -> i64 {
    // Renewed when 65 % of the life are over, at the earliest.
    let between = (lifetime.0 / 100 * 65).max(1);
    let each = quota.window.0.saturating_add(between - 1) / between;
    let needed = each.saturating_mul(secrets).saturating_mul(2);
    needed.min(quota.limit - quota.limit.div_euclid(4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::policy::QuotaScope;

    fn quota(limit: i64, window_s: i64) -> Quota {
        Quota {
            limit,
            window: Ms::from_secs(window_s),
            scope: QuotaScope::Secret,
            forced: false,
        }
    }

    #[test]
    fn no_window_of_the_length_ever_holds_more_than_the_limit() {
        let quota = quota(10, 240);
        let mut window = QuotaWindow::default();
        // Each request is sent as late as its block allows, or at once, in turns.
        let mut sent = Vec::new();
        for second in 0..3000 {
            let now = EpochMs(second * 1000);
            if let Ok((taken, part)) = window.reserve(&quota, quota.limit, 3, now) {
                let at = if second % 2 == 0 {
                    now
                } else {
                    block_ends(&quota, part)
                };
                sent.extend((0..taken).map(|_| at.0));
            }
        }
        sent.sort_unstable();
        assert!(sent.len() > 80, "{}", sent.len());
        for (index, first) in sent.iter().enumerate() {
            let within = sent[index..]
                .iter()
                .filter(|at| **at - first < quota.window.0);
            assert!(within.count() <= 10);
        }
    }

    #[test]
    fn a_spent_window_says_when_it_frees_and_frees_then() {
        let quota = quota(2, 240);
        let mut window = QuotaWindow::default();
        let now = EpochMs(1_000_000);
        assert_eq!(window.reserve(&quota, 2, 5, now).unwrap().0, 2);
        let spent = window.reserve(&quota, 2, 1, now).unwrap_err();
        assert!(
            window
                .clone()
                .reserve(&quota, 2, 1, EpochMs(spent.until.0 - 1))
                .is_err()
        );
        assert_eq!(window.reserve(&quota, 2, 1, spent.until).unwrap().0, 1);
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let quota = quota(5, 240);
        let mut window = QuotaWindow::default();
        let now = EpochMs(1_000_000);
        let (taken, part) = window.reserve(&quota, 5, 5, now).unwrap();
        window.give_back(part, taken - 1);
        assert_eq!(window.reserve(&quota, 5, 9, now).unwrap().0, 4);
    }

    #[test]
    fn flushes_leave_scheduled_renewals_twice_what_they_need_and_keep_a_quarter() {
        let day = quota(2000, 86_400);
        assert_eq!(owned_by_schedule(&day, 1, Ms::from_secs(7200)), 38);
        assert_eq!(owned_by_schedule(&day, 1000, Ms::from_secs(7200)), 1500);
        assert_eq!(
            owned_by_schedule(&quota(2, 86_400), 1, Ms::from_secs(7200)),
            1
        );
        assert_eq!(
            owned_by_schedule(&quota(1, 86_400), 1, Ms::from_secs(7200)),
            0
        );
    }

    #[test]
    fn what_was_reserved_survives_being_written_down() {
        let mut window = QuotaWindow::default();
        window.reserve(&quota(5, 60), 5, 2, EpochMs(77)).unwrap();
        assert_eq!(QuotaWindow::parse(&window.to_text()), window);
    }
}

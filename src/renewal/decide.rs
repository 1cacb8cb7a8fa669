//! What follows from an attempt's outcome: arithmetic only.

use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::randomness::Randomness;
use crate::realm::failure::{Failure, FailureClass};

/// When failed attempts are made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Exponential backoff with full jitter: the ceiling of the first wait, and of all.
    pub base: Ms,
    pub max: Ms,
    /// Where a provider limits the rate and names no time.
    pub rate_limited: Ms,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Ms,
    /// After a save: the waits before a refusal is believed. A provider takes a moment to know
    /// what was just made there.
    pub tries_after_save: Vec<Ms>,
    /// The waits between attempts while a human is needed; the last one repeats.
    pub probes: Vec<Ms>,
}

/// What is known of a token whose attempt has failed. What is counted counts this failure.
#[derive(Clone, Copy, Debug)]
pub struct FailureHistory {
    /// Failures in a row.
    pub failures: i64,
    /// Those of them, last in a row, that count as refusals, and for how long.
    pub refusals: i64,
    pub refused_for: Ms,
    /// Attempts before this one that were made while a human was needed.
    pub probes: i64,
    /// No token was obtained since secret or realm were saved.
    pub since_save: bool,
    /// When the stored token ends, and how long it lived in all.
    pub last_life: Option<(EpochMs, Ms)>,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub class: FailureClass,
    /// A human is needed; until then the provider is only probed.
    pub needs_attention: bool,
    pub next_attempt: EpochMs,
}

/// The least time between two attempts after a failure.
const FLOOR: Ms = Ms::from_secs(1);
/// Doublings beyond this are past any maximum.
const DOUBLINGS_MAX: i64 = 30;
/// A refusal without a reason is believed after so many in a row, over so long a time.
const BELIEVED_AFTER: i64 = 5;
const BELIEVED_FOR: Ms = Ms::from_secs(600);
/// Where nobody has a token, a wait is at most this part of the last one's life.
const LIFE_PART: i64 = 4;
/// Probes spread by this part of their wait.
const PROBE_PART: i64 = 10;

/// Decides what follows from a failure.
pub fn decide(
    failure: &Failure,
    trouble: &FailureHistory,
    backoff: &Backoff,
    now: EpochMs,
    randomness: &Randomness,
) -> Decision {
    let class = class_of(failure, trouble);
    let tries = match trouble.since_save && !failure.needs_human {
        true => backoff.tries_after_save.as_slice(),
        false => &[],
    };
    let try_again = usize::try_from(trouble.refusals - 1)
        .ok()
        .and_then(|tried| tries.get(tried))
        .filter(|_| trouble.probes == 0);
    let asked = failure
        .retry_after
        .map(|wait| wait.min(backoff.retry_after_max));
    let drawn = match (class, try_again) {
        (FailureClass::RateLimited, _) if asked.is_some() => Ms::ZERO,
        (FailureClass::RateLimited, _) => {
            exponential(backoff.rate_limited, trouble, backoff, randomness)
        }
        (FailureClass::Transient | FailureClass::InvalidToken, _) => {
            let wait = exponential(backoff.base, trouble, backoff, randomness);
            within_life(wait, trouble, now)
        }
        (FailureClass::Permanent | FailureClass::Internal, Some(wait)) => *wait,
        (FailureClass::Permanent | FailureClass::Internal, None) => {
            probe(trouble.probes, backoff, randomness)
        }
    };
    let wait = drawn.max(asked.unwrap_or(Ms::ZERO)).max(FLOOR);
    Decision {
        class,
        needs_attention: class.parks() && try_again.is_none(),
        next_attempt: now.plus(wait),
    }
}

/// A refusal without a reason becomes permanent where it repeats, and stays so. So does that of a
/// parent's token, for the parent has had its token renewed meanwhile.
fn class_of(failure: &Failure, trouble: &FailureHistory) -> FailureClass {
    let repeated = trouble.refusals >= BELIEVED_AFTER && trouble.refused_for >= BELIEVED_FOR;
    let believed = trouble.probes > 0 || repeated;
    match failure.class {
        FailureClass::Transient | FailureClass::InvalidToken
            if failure.counts_as_refusal() && believed =>
        {
            FailureClass::Permanent
        }
        class => class,
    }
}

fn exponential(
    base: Ms,
    trouble: &FailureHistory,
    backoff: &Backoff,
    randomness: &Randomness,
) -> Ms {
    let doublings = trouble.failures.saturating_sub(1).clamp(0, DOUBLINGS_MAX);
    let ceiling = base.0.saturating_mul(1 << doublings).min(backoff.max.0);
    Ms(randomness.between(0, ceiling))
}

/// Where the stored token ends before the next attempt, readers are without one: the shorter
/// its life was, the sooner they need the next.
fn within_life(wait: Ms, trouble: &FailureHistory, now: EpochMs) -> Ms {
    match trouble.last_life {
        Some((end, life)) if now.plus(wait) > end => wait.min(Ms(life.0 / LIFE_PART)),
        _ => wait,
    }
}

fn probe(before: i64, backoff: &Backoff, randomness: &Randomness) -> Ms {
    let last = backoff.probes.len().saturating_sub(1);
    let index = usize::try_from(before).unwrap_or(last).min(last);
    let wait = backoff.probes.get(index).copied().unwrap_or(backoff.max);
    Ms(wait.0 + randomness.between(0, wait.0 / PROBE_PART))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::failure::{MAYBE_SPENT, ProviderRefusal, REFUSED};

    const NOW: EpochMs = EpochMs(1_000_000);

    fn secs(list: &[i64]) -> Vec<Ms> {
        list.iter().map(|secs| Ms::from_secs(*secs)).collect()
    }

    fn backoff() -> Backoff {
        Backoff {
            base: Ms::from_secs(2),
            max: Ms::from_secs(300),
            rate_limited: Ms::from_secs(30),
            retry_after_max: Ms::from_secs(3600),
            tries_after_save: secs(&[2, 5, 15, 45]),
            probes: secs(&[60, 300, 900, 3600]),
        }
    }

    /// The n-th failure in a row, each of which counts as a refusal, a minute after another.
    fn nth(count: i64) -> FailureHistory {
        FailureHistory {
            failures: count,
            refusals: count,
            refused_for: Ms::from_secs(60 * (count - 1)),
            probes: 0,
            since_save: false,
            last_life: None,
        }
    }

    fn decided(failure: &Failure, trouble: FailureHistory, seed: u64) -> Decision {
        decide(
            failure,
            &trouble,
            &backoff(),
            NOW,
            &Randomness::seeded(seed),
        )
    }

    fn wait(failure: &Failure, trouble: FailureHistory, seed: u64) -> Ms {
        decided(failure, trouble, seed).next_attempt.since(NOW)
    }

    fn unreasoned() -> Failure {
        Failure {
            refusal: ProviderRefusal::Unreasoned,
            ..Failure::transient("403")
        }
    }

    #[test]
    fn transient_failures_back_off_with_full_jitter_between_a_second_and_the_maximum() {
        let failure = Failure::transient("x");
        for failures in [1, 2, 5, 100, i64::MAX] {
            let trouble = FailureHistory {
                failures,
                refusals: 0,
                ..nth(1)
            };
            let ceiling = (2000_i64 << (failures - 1).min(20)).min(300_000);
            let waits: Vec<_> = (0..500).map(|seed| wait(&failure, trouble, seed)).collect();
            assert!(waits.iter().all(|wait| (1000..=ceiling).contains(&wait.0)));
            assert!(waits.iter().any(|wait| wait.0 > ceiling / 2));
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_limit() {
        for class in [
            FailureClass::RateLimited,
            FailureClass::Transient,
            FailureClass::Permanent,
        ] {
            let asked = |secs| Failure {
                retry_after: Some(Ms::from_secs(secs)),
                ..Failure::new(class, "x")
            };
            assert!(wait(&asked(120), nth(1), 1) >= Ms::from_secs(120));
            let longest = wait(&asked(10_i64.pow(12)), nth(1), 1);
            assert_eq!(longest, Ms::from_secs(3600));
            assert!(wait(&asked(0), nth(1), 1) >= Ms::from_secs(1));
        }
    }

    #[test]
    fn where_nobody_has_a_token_a_wait_is_at_most_a_quarter_of_the_last_life() {
        let failure = Failure::transient("away");
        let of_life = |end: i64, life: i64| FailureHistory {
            failures: 50,
            refusals: 0,
            last_life: Some((NOW.plus(Ms::from_secs(end)), Ms::from_secs(life))),
            ..nth(1)
        };
        for seed in 0..200 {
            for (end, life) in [(-1, 15), (2, 15), (3, 60), (-100, 400)] {
                let wait = wait(&failure, of_life(end, life), seed);
                let in_time = wait.0 <= end * 1000;
                assert!(in_time || wait.0 <= life * 250, "{wait:?} of {life} s");
            }
            assert!(wait(&failure, of_life(-1, 2), seed) == Ms::from_secs(1));
        }
        // A token that lasts longer than any wait shortens none.
        let waits = (0..200).map(|seed| wait(&failure, of_life(301, 400), seed));
        assert!(waits.max() > Some(Ms::from_secs(250)));
    }

    #[test]
    fn a_refusal_without_a_reason_is_believed_after_five_in_a_row_over_ten_minutes() {
        let believed = |refusals, secs, probes| {
            let trouble = FailureHistory {
                refused_for: Ms::from_secs(secs),
                probes,
                ..nth(refusals)
            };
            let decision = decided(&unreasoned(), trouble, 1);
            assert_eq!(decision.needs_attention, decision.class.parks());
            decision.needs_attention
        };
        for (refusals, secs, expected) in [
            (1, 0, false),
            (4, 3600, false),
            (5, 599, false),
            (5, 600, true),
            (50, 10, false),
            (6, 700, true),
        ] {
            assert_eq!(believed(refusals, secs, 0), expected, "{refusals}, {secs}");
        }
        assert!(believed(1, 0, 3), "it is refused while a human is needed");
    }

    #[test]
    fn a_parent_whose_token_is_refused_again_and_again_needs_attention() {
        let refused = Failure::new(FailureClass::InvalidToken, "40001");
        let lasting = |refusals| FailureHistory {
            refused_for: Ms::from_secs(600),
            ..nth(refusals)
        };
        let once = decided(&refused, lasting(4), 1);
        assert!(!once.needs_attention && once.class == FailureClass::InvalidToken);
        let repeated = decided(&refused, lasting(5), 1);
        assert!(repeated.needs_attention && repeated.class == FailureClass::Permanent);
    }

    #[test]
    fn after_a_save_a_refusal_is_tried_again_four_times_before_it_needs_attention() {
        let saved = |count| FailureHistory {
            since_save: true,
            ..nth(count)
        };
        let refused = Failure::permanent("invalid_client");
        for (count, secs) in [(1, 2), (2, 5), (3, 15), (4, 45)] {
            let decision = decided(&refused, saved(count), 1);
            assert!(!decision.needs_attention);
            assert_eq!(decision.next_attempt, NOW.plus(Ms::from_secs(secs)));
        }
        assert!(decided(&refused, saved(5), 1).needs_attention);
        assert!(decided(&refused, nth(1), 1).needs_attention);
        let another = refused.clone().needs_another_refresh_token(REFUSED);
        assert!(!decided(&another, saved(1), 1).needs_attention);
        for failure in [
            Failure::internal("a template fails"),
            refused.needs_another_refresh_token(MAYBE_SPENT),
        ] {
            assert!(decided(&failure, saved(1), 1).needs_attention);
        }
    }

    #[test]
    fn what_a_human_must_mend_is_probed_after_1_5_15_and_60_minutes_and_then_hourly() {
        for failure in [
            Failure::permanent("x"),
            Failure::internal("x"),
            unreasoned(),
        ] {
            for (probes, minutes) in [(1, 5), (2, 15), (3, 60), (4, 60), (99, 60)] {
                let trouble = FailureHistory { probes, ..nth(9) };
                let (least, most) = (minutes * 60_000, minutes * 66_000);
                let wait = wait(&failure, trouble, 1);
                assert!((least..=most).contains(&wait.0), "{wait:?}");
            }
        }
        let first = wait(&Failure::permanent("x"), nth(1), 1);
        assert!((60_000..=66_000).contains(&first.0));
    }
}

//! What follows from an attempt's outcome: arithmetic only.

use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::randomness::Randomness;
use crate::realm::failure::{Failure, FailureClass};

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Ms,
    pub max: Ms,
    /// Where a provider limits the rate and names no time.
    pub rate_limited: Ms,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Ms,
    /// Between two probes of what a human must mend.
    pub probe: Ms,
}

/// The least time between two attempts after a failure.
const FLOOR: Ms = Ms::from_secs(1);
/// Doublings beyond this are past any maximum.
const DOUBLINGS_MAX: i64 = 30;

/// When the next attempt is due after the `failures`-th failure in a row.
pub fn next_attempt(
    failure: &Failure,
    failures: i64,
    backoff: &Backoff,
    now: EpochMs,
    randomness: &Randomness,
) -> EpochMs {
    let asked = failure
        .retry_after
        .map(|wait| wait.min(backoff.retry_after_max));
    let drawn = match failure.class {
        FailureClass::Transient | FailureClass::InvalidToken => {
            exponential(backoff.base, failures, backoff, randomness)
        }
        FailureClass::RateLimited if asked.is_some() => Ms::ZERO,
        FailureClass::RateLimited => {
            exponential(backoff.rate_limited, failures, backoff, randomness)
        }
        FailureClass::Permanent | FailureClass::Internal => backoff.probe,
    };
    let wait = drawn.max(asked.unwrap_or(Ms::ZERO)).max(FLOOR);
    now.plus(wait)
}

fn exponential(base: Ms, failures: i64, backoff: &Backoff, randomness: &Randomness) -> Ms {
    let doublings = failures.saturating_sub(1).clamp(0, DOUBLINGS_MAX);
    let ceiling = base.0.saturating_mul(1 << doublings).min(backoff.max.0);
    Ms(randomness.between(0, ceiling))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochMs = EpochMs(1_000_000);

    fn backoff() -> Backoff {
        Backoff {
            base: Ms::from_secs(2),
            max: Ms::from_secs(300),
            rate_limited: Ms::from_secs(30),
            retry_after_max: Ms::from_secs(3600),
            probe: Ms::from_secs(3600),
        }
    }

    fn wait(failure: &Failure, failures: i64, seed: u64) -> Ms {
        next_attempt(
            failure,
            failures,
            &backoff(),
            NOW,
            &Randomness::seeded(seed),
        )
        .since(NOW)
    }

    #[test]
    fn transient_failures_back_off_with_full_jitter_between_a_second_and_the_maximum() {
        let failure = Failure::transient("x");
        for failures in [1, 2, 5, 100, i64::MAX] {
            let ceiling = (2000_i64 << (failures - 1).min(20)).min(300_000);
            let waits: Vec<_> = (0..500)
                .map(|seed| wait(&failure, failures, seed))
                .collect();
            assert!(waits.iter().all(|wait| (1000..=ceiling).contains(&wait.0)));
            assert!(waits.iter().any(|wait| wait.0 > ceiling / 2));
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_limit() {
        for class in [FailureClass::RateLimited, FailureClass::Transient] {
            let asked = |secs| Failure {
                retry_after: Some(Ms::from_secs(secs)),
                ..Failure::new(class, "x")
            };
            assert!(wait(&asked(120), 1, 1) >= Ms::from_secs(120));
            assert_eq!(wait(&asked(10_i64.pow(12)), 1, 1), Ms::from_secs(3600));
            assert!(wait(&asked(0), 1, 1) >= Ms::from_secs(1));
        }
    }

    #[test]
    fn what_a_human_must_mend_is_probed_once_an_hour() {
        for class in [FailureClass::Permanent, FailureClass::Internal] {
            assert_eq!(wait(&Failure::new(class, "x"), 7, 1), Ms::from_secs(3600));
        }
    }
}

//! When a token ends and when it is renewed: arithmetic only. The renewal time is drawn
//! once, with the token, and never again on a read.

use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::randomness::Randomness;
use crate::realm::policy::Policy;

/// When a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    At(EpochMs),
    Never,
}

/// What `expires_in` says for a token that never expires: a year.
pub const NEVER_EXPIRES_IN: Ms = Ms::from_secs(31_536_000);

impl Expiry {
    /// How much life is left; zero or less: none.
    pub fn left(self, now: EpochMs) -> Ms {
        match self {
            Self::At(end) => end.since(now),
            Self::Never => NEVER_EXPIRES_IN,
        }
    }

    pub fn at(self) -> Option<EpochMs> {
        match self {
            Self::At(end) => Some(end),
            Self::Never => None,
        }
    }

    /// The one that counts where a provider repeated a token.
    pub fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::At(end), Self::Never) | (Self::Never, Self::At(end)) => Self::At(end),
            (Self::Never, Self::Never) => Self::Never,
        }
    }
}

/// The nearest a renewal is drawn to expiry, and the farthest from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadBand {
    pub near: Ms,
    pub far: Ms,
}

/// Percent of the lifetime.
pub const NEAR_PERCENT: i64 = 15;
const FAR_PERCENT: i64 = 35;
/// A secret's first renewal is drawn from a wider band, so that what was registered
/// together drifts apart at once.
const FIRST_FAR_PERCENT: i64 = 80;
/// Behind a near edge the realm chose.
const BEHIND_CHOSEN_PERCENT: i64 = 20;
pub const NEAR_MAX: Ms = Ms::from_secs(12 * 3600);
const FAR_MAX: Ms = Ms::from_secs(24 * 3600);

/// The least and the most that lie between two attempts for one secret.
const FLOOR_MIN: Ms = Ms::from_secs(1);
const FLOOR_MAX: Ms = Ms::from_secs(5);

fn percent(length: Ms, percent: i64) -> Ms {
    Ms(length.0 / 100 * percent + length.0 % 100 * percent / 100)
}

/// The band for a token of this lifetime.
pub fn lead_band(lifetime: Ms, policy: &Policy, first: bool) -> LeadBand {
    let lifetime = lifetime.max(Ms::ZERO);
    let half = Ms(lifetime.0 / 2);
    let wide = percent(lifetime, FIRST_FAR_PERCENT);
    let (near, far) = match policy.renew_before {
        Some(chosen) => {
            let near = chosen.min(half);
            let far = Ms(near.0 + percent(lifetime, BEHIND_CHOSEN_PERCENT).0).min(half);
            (
                near,
                if first {
                    far.max(wide.min(FAR_MAX))
                } else {
                    far
                },
            )
        }
        None => {
            let far = if first {
                wide
            } else {
                percent(lifetime, FAR_PERCENT)
            };
            (
                percent(lifetime, NEAR_PERCENT).min(NEAR_MAX),
                far.min(FAR_MAX),
            )
        }
    };
    match policy.window {
        // Asking before the window opens would only repeat the old token.
        Some(window) if far > window => LeadBand {
            near: near.min(Ms(window.0 * NEAR_PERCENT / FAR_PERCENT)),
            far: window,
        },
        _ => LeadBand { near, far },
    }
}

/// When a token is due for renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub lead: Ms,
    pub renew_at: EpochMs,
}

/// Draws when a token obtained at `requested_at` is due. Never sooner than the floor
/// after the request, whatever lifetime a provider names: no answer makes a loop.
pub fn schedule(
    requested_at: EpochMs,
    expires_at: EpochMs,
    policy: &Policy,
    first: bool,
    randomness: &Randomness,
) -> Schedule {
    let band = lead_band(expires_at.since(requested_at), policy, first);
    let lead = Ms(randomness.between(band.near.0, band.far.0));
    let earliest = requested_at.plus(attempt_floor(lead));
    Schedule {
        lead,
        renew_at: expires_at.minus(lead).max(earliest),
    }
}

/// The least time between two attempts for one secret.
pub fn attempt_floor(lead: Ms) -> Ms {
    Ms(lead.0 / 4).min(FLOOR_MAX).max(FLOOR_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: EpochMs = EpochMs(1_000_000);

    fn secs(secs: i64) -> Ms {
        Ms::from_secs(secs)
    }

    #[test]
    fn the_default_band_is_15_to_35_percent_and_at_most_12_to_24_hours() {
        let policy = Policy::default();
        assert_eq!(
            lead_band(secs(7200), &policy, false),
            LeadBand {
                near: secs(1080),
                far: secs(2520)
            }
        );
        assert_eq!(
            lead_band(secs(90 * 86_400), &policy, false),
            LeadBand {
                near: NEAR_MAX,
                far: FAR_MAX
            }
        );
    }

    #[test]
    fn the_first_renewal_is_drawn_from_a_wider_band() {
        let band = lead_band(secs(7200), &Policy::default(), true);
        assert_eq!(
            band,
            LeadBand {
                near: secs(1080),
                far: secs(5760)
            }
        );
    }

    #[test]
    fn a_chosen_near_edge_holds_and_the_far_edge_never_passes_half_the_life() {
        let policy = Policy {
            renew_before: Some(secs(600)),
            ..Policy::default()
        };
        assert_eq!(
            lead_band(secs(7200), &policy, false),
            LeadBand {
                near: secs(600),
                far: secs(2040)
            }
        );
        assert_eq!(
            lead_band(secs(1000), &policy, false),
            LeadBand {
                near: secs(500),
                far: secs(500)
            }
        );
    }

    #[test]
    fn the_band_lies_inside_the_providers_window() {
        for (window, lifetime) in [(1800, 7200), (300, 7200), (300, 400)] {
            let policy = Policy {
                window: Some(secs(window)),
                ..Policy::default()
            };
            for first in [true, false] {
                let band = lead_band(secs(lifetime), &policy, first);
                assert!(band.far <= secs(window), "{band:?}");
                assert!(band.near < band.far, "{band:?}");
            }
        }
    }

    #[test]
    fn whatever_lifetime_a_provider_names_the_next_attempt_is_at_least_a_second_away() {
        let randomness = Randomness::seeded(7);
        for lifetime in [i64::MIN / 2, -1, 0, 1, 500, 1000, 10_000, i64::MAX / 4] {
            for renew_before in [None, Some(secs(86_400))] {
                let policy = Policy {
                    renew_before,
                    ..Policy::default()
                };
                let end = START.plus(Ms(lifetime));
                for first in [true, false] {
                    let due = schedule(START, end, &policy, first, &randomness);
                    assert!(due.renew_at.since(START) >= FLOOR_MIN, "{lifetime} {due:?}");
                }
            }
        }
    }

    #[test]
    fn renewal_times_spread_over_the_whole_band() {
        let randomness = Randomness::seeded(3);
        let end = START.plus(secs(7200));
        let leads: Vec<_> = (0..2000)
            .map(|_| schedule(START, end, &Policy::default(), false, &randomness).lead)
            .collect();
        let (low, high) = (leads.iter().min().unwrap(), leads.iter().max().unwrap());
        assert!(*low >= secs(1080) && *low < secs(1100), "{low:?}");
        assert!(*high <= secs(2520) && *high > secs(2500), "{high:?}");
    }
}

//! A realm's rules of renewal, as far as they differ from the server's.

use crate::foundation::clock::Ms;
use crate::foundation::fields::Fields;

/// A day, the most a realm may ask for in seconds where no other limit holds.
const DAY_S: i64 = 86_400;
/// The longest lead a realm may ask for: thirty days.
const RENEW_BEFORE_MAX_S: i64 = 30 * DAY_S;

/// Whether asking again for a token that is still valid moves its expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// The earlier expiry counts.
    #[default]
    Keeps,
    /// The later expiry counts.
    Extends,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The latest point of renewal, as time before expiry.
    pub renew_before: Option<Ms>,
    /// Asking earlier than that before expiry returns the same token.
    pub window: Option<Ms>,
    pub repeat: Repeat,
    pub min_flush_interval: Option<Ms>,
    /// Requests to this realm at once, from one process.
    pub concurrency: Option<usize>,
    /// How long one attempt may take in all.
    pub timeout: Option<Ms>,
}

impl Policy {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let seconds = |field, low, high| fields.number(field, low, high).map(Ms::from_secs);
        let policy = Self {
            renew_before: seconds("renew_before_s", 1, RENEW_BEFORE_MAX_S),
            window: seconds("window_s", 1, RENEW_BEFORE_MAX_S),
            repeat: fields
                .one_of(
                    "repeat",
                    &[("keeps", Repeat::Keeps), ("extends", Repeat::Extends)],
                )
                .unwrap_or_default(),
            min_flush_interval: seconds("min_flush_interval_s", 0, DAY_S),
            concurrency: fields
                .number("concurrency", 1, 1000)
                .and_then(|n| usize::try_from(n).ok()),
            timeout: seconds("timeout_s", 1, 120),
        };
        if let (Some(before), Some(window)) = (policy.renew_before, policy.window)
            && before >= window
        {
            fields.fault(
                "renew_before_s",
                "must be less than window_s: the provider repeats the old token before the window",
            );
        }
        policy
    }
}

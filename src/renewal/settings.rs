//! Limits of renewal.

use super::decide::Backoff;
use crate::foundation::clock::{Deadline, Moment, Ms};

/// Added to an attempt's timeout: the time to store its result.
pub(super) const LEASE_SLACK: Ms = Ms::from_secs(5);

/// An attempt that begins later after its claim has no time to store what it obtains, and whoever
/// takes over might send soon after it.
pub(super) const BEGINS_WITHIN: Ms = Ms(LEASE_SLACK.0 / 2);

/// A request that waits is answered so long before its time is up: the answer takes some.
pub(crate) const FOR_THE_ANSWER: Ms = Ms::from_secs(1);

/// What has tokens renewed in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalTrigger {
    /// The sweep, when they are due.
    Sweep,
    /// Requests only, each within its time: between two of them the process is frozen, and an exchange
    /// that is frozen in the middle can cost a rotated refresh token.
    Requests { within: Ms },
}

impl RenewalTrigger {
    /// When what a request begins must have ended; none: it may go on after it.
    pub(crate) fn ends(self, begun: Moment) -> Option<Deadline> {
        match self {
            Self::Sweep => None,
            Self::Requests { within } => Some(Deadline::after(begun, within)),
        }
    }
}

/// Whether an attempt that may take so long, and the storing of its result, end in time.
pub(crate) fn can_end(ends: Deadline, now: Moment, timeout: Ms) -> bool {
    ends.left(now).0 >= timeout.0 + LEASE_SLACK.0
}

/// Limits of renewal.
#[derive(Clone, Debug)]
pub struct RenewalSettings {
    pub trigger: RenewalTrigger,
    /// Attempts at once in this process.
    pub concurrency: usize,
    /// Attempts at once in one realm, in this process, unless the realm says otherwise.
    pub realm_concurrency: usize,
    /// Attempts that start in one realm in a second, in this process.
    pub realm_rate: u32,
    /// Between two flushes of one secret, unless the realm says otherwise.
    pub min_flush_interval: Ms,
    /// Readers treat a stored token with less left as expired.
    pub min_ttl: Ms,
    /// How long a reader waits for a fetch.
    pub max_wait: Ms,
    pub backoff: Backoff,
    /// Forced requests for one secret in a day, where the realm has no quota for them.
    pub forced_per_day: i64,
    /// Failures in a row that the webhook is told of; none: there is no webhook.
    pub failing_after: Option<i64>,
    /// How far this replica's clock may be from the database's; zero: any.
    pub max_skew: Ms,
}

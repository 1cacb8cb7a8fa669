//! A realm's rules of renewal, as far as they differ from the server's.

use crate::foundation::clock::Ms;
use crate::foundation::fields::Fields;

/// A day, the most a realm may ask for in seconds where no other limit holds.
const DAY_S: i64 = 86_400;
/// The longest lead a realm may ask for: thirty days.
const RENEW_BEFORE_MAX_S: i64 = 30 * DAY_S;
/// Quotas of one realm.
const QUOTAS_MAX: usize = 10;

/// Whether asking again for a token that is still valid moves its expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// The earlier expiry counts.
    #[default]
    Keeps,
    /// The later expiry counts.
    Extends,
}

/// Who shares a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaScope {
    #[default]
    Secret,
    Realm,
}

/// How many requests a provider takes in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub limit: i64,
    pub window: Ms,
    pub scope: QuotaScope,
    /// Of forced requests only, or of the others only.
    pub forced: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The latest point of renewal, as time before expiry.
    pub renew_before: Option<Ms>,
    /// Asking earlier than that before expiry returns the same token.
    pub window: Option<Ms>,
    pub repeat: Repeat,
    /// How long the previous token stays valid after a new one was issued.
    pub grace: Option<Ms>,
    /// How long the provider accepts a refresh token that was used.
    pub refresh_overlap: Option<Ms>,
    /// Whether the provider ends the token before when it issues the next.
    pub revokes_previous: bool,
    pub min_flush_interval: Option<Ms>,
    pub quotas: Vec<Quota>,
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
            grace: seconds("grace_s", 0, DAY_S),
            refresh_overlap: seconds("refresh_overlap_s", 0, DAY_S),
            revokes_previous: fields.flag("revokes_previous").unwrap_or(false),
            min_flush_interval: seconds("min_flush_interval_s", 0, DAY_S),
            quotas: fields.each("quota", QUOTAS_MAX, read_quota),
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
        if policy.revokes_previous && policy.grace.is_some_and(|grace| grace > Ms::ZERO) {
            fields.fault(
                "grace_s",
                "says that the previous token stays valid; revokes_previous says that it ends",
            );
        }
        policy
    }
}

fn read_quota(quota: Fields<'_>) -> Option<Quota> {
    let limit = quota.required("limit", |quota, field| {
        quota.number(field, 1, 1_000_000_000)
    });
    let window = quota.required("window_s", |quota, field| {
        quota.number(field, 1, RENEW_BEFORE_MAX_S)
    });
    let scopes = [("secret", QuotaScope::Secret), ("realm", QuotaScope::Realm)];
    let scope = quota.one_of("scope", &scopes).unwrap_or_default();
    let forced = quota.flag("forced").unwrap_or(false);
    quota.finish();
    Some(Quota {
        limit: limit?,
        window: Ms::from_secs(window?),
        scope,
        forced,
    })
}

//! How much of providers' quotas is left, as this replica last saw them.

use std::collections::{BTreeMap, HashMap};

use super::subject::Subject;
use super::window::QuotaWindow;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::RealmId;
use crate::realm::policy::Quota;

/// As many windows are remembered.
const SEEN_MAX: usize = 10_000;

/// The windows that were last reserved in.
#[derive(Debug, Default)]
pub(super) struct LastSeen(HashMap<Subject, (Quota, QuotaWindow)>);

impl LastSeen {
    /// Remembers a window; that of forced requests is a budget of our own, and is not.
    pub fn note(&mut self, subject: &Subject, quota: &Quota, window: QuotaWindow, now: EpochMs) {
        if quota.forced {
            return;
        }
        if self.0.len() >= SEEN_MAX && !self.0.contains_key(subject) {
            // What is nearly used up is what somebody wants to know.
            self.0
                .retain(|_, (quota, window)| left(quota, window, now) < 0.5);
        }
        if self.0.len() < SEEN_MAX {
            self.0.insert(subject.clone(), (*quota, window));
        }
    }

    /// The least that is left in each realm, from 0 to 1, where its window holds any request.
    pub fn least_left(&mut self, now: EpochMs) -> BTreeMap<RealmId, f64> {
        self.0
            .retain(|_, (quota, window)| window.used(quota, now) > 0);
        let mut least: BTreeMap<RealmId, f64> = BTreeMap::new();
        for (subject, (quota, window)) in &self.0 {
            let left = left(quota, window, now);
            let of_realm = least.entry(subject.realm().clone()).or_insert(left);
            *of_realm = of_realm.min(left);
        }
        least
    }
}

#[allow(clippy::cast_precision_loss)] // A ratio, for people.
fn left(quota: &Quota, window: &QuotaWindow, now: EpochMs) -> f64 {
    let left = (quota.limit - window.used(quota, now)).max(0);
    left as f64 / quota.limit.max(1) as f64
}

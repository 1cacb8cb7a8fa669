//! Names of realms as labels. Admins make realms at will, and a label must be bounded.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// The label of the realms that have none of their own.
const OTHER: &str = "other";

/// The realms that were seen first have a label of their own, until the process ends: a label
/// that changes its meaning would look like a change of what is measured.
#[derive(Debug)]
pub struct RealmLabels {
    max: usize,
    own: RwLock<HashSet<String>>,
}

impl RealmLabels {
    /// At most `max` realms have a label of their own.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            own: RwLock::default(),
        }
    }

    pub fn of(&self, realm: &str) -> String {
        if self.has(realm) || self.take(realm) {
            realm.to_owned()
        } else {
            OTHER.to_owned()
        }
    }

    fn has(&self, realm: &str) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.contains(realm)
    }

    /// False where there are as many as there may be.
    fn take(&self, realm: &str) -> bool {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.len() < self.max {
            own.insert(realm.to_owned());
        }
        own.contains(realm)
    }
}

/// A gauge for each realm; all are set at once.
#[derive(Clone, Debug, Default)]
pub struct RealmGauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl RealmGauges {
    /// Replaces all values. Of realms that share a label the least is shown.
    pub fn set_least(&self, labels: &RealmLabels, realms: impl Iterator<Item = (String, f64)>) {
        let mut gauges: BTreeMap<String, f64> = BTreeMap::new();
        for (realm, value) in realms {
            let shown = gauges.entry(labels.of(&realm)).or_insert(value);
            *shown = shown.min(value);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }
}

impl EncodeMetric for RealmGauges {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (realm, value) in &*gauges {
            let labels = [("realm", realm.as_str())];
            encoder.encode_family(&labels)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_that_share_a_label_show_the_least_of_their_values() {
        let gauges = RealmGauges::default();
        let values = [("a", 0.5), ("b", 0.75), ("c", 0.25), ("d", 1.0)];
        let values = values.map(|(realm, value)| (realm.to_owned(), value));
        gauges.set_least(&RealmLabels::new(1), values.into_iter());
        let shown = gauges.0.lock().unwrap().clone();
        let expected = [("a".to_owned(), 0.5), ("other".to_owned(), 0.25)];
        assert_eq!(shown.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn as_many_realms_as_allowed_keep_their_names_and_the_rest_share_one() {
        let labels = RealmLabels::new(2);
        for _ in 0..2 {
            let seen = ["a", "b", "c", "a", "d"].map(|realm| labels.of(realm));
            assert_eq!(seen, ["a", "b", "other", "a", "other"]);
        }
    }
}

//! The metrics that only the database knows. They are shown as one, as they were last read, or
//! not at all: a number that nobody has read is not zero.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::realm_labels::RealmLabels;
use super::remaining::Remaining;
use super::units::{seconds, timestamp};
use crate::foundation::clock::{EpochMs, Ms};

/// What the database says of all secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// When it said so.
    pub at: EpochMs,
    /// State, whether the token is alive, and how many secrets.
    pub secrets: Vec<(&'static str, bool, i64)>,
    /// How long the renewal that is due for the longest has been due.
    pub sweep_lag: Ms,
    /// How long the tokens that are served still live.
    pub remaining: Remaining,
    pub realms: Vec<(String, MeasuredRealm)>,
}

/// What it says of the secrets of one realm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeasuredRealm {
    /// When the first of the tokens that are served ends.
    pub earliest_expiry: Option<EpochMs>,
    /// Since when a secret has had no valid token, the longest of all: of those that had one…
    pub expired_since: Option<EpochMs>,
    /// … and of those that never had.
    pub never_obtained_since: Option<EpochMs>,
    /// Tokens that are served, and whose renewal fails or is late, near their end.
    pub dying: i64,
}

impl MeasuredRealm {
    /// Two realms under one label: the worst of each.
    fn with(self, other: Self) -> Self {
        let earlier = |one: Option<EpochMs>, two: Option<EpochMs>| one.into_iter().chain(two).min();
        Self {
            earliest_expiry: earlier(self.earliest_expiry, other.earliest_expiry),
            expired_since: earlier(self.expired_since, other.expired_since),
            never_obtained_since: earlier(self.never_obtained_since, other.never_obtained_since),
            dying: self.dying + other.dying,
        }
    }
}

/// The metrics of what was last measured.
#[derive(Clone, Debug)]
pub(super) struct MeasuredMetrics {
    shown: Arc<Mutex<Option<Measured>>>,
    labels: Arc<RealmLabels>,
}

impl MeasuredMetrics {
    pub fn new(labels: Arc<RealmLabels>) -> Self {
        Self {
            shown: Arc::default(),
            labels,
        }
    }

    /// None: nothing is known.
    pub fn show(&self, measured: Option<Measured>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = measured;
    }

    fn shown(&self) -> Option<Measured> {
        let shown = self.shown.lock();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long tokens still live, where that is known.
    pub fn remaining(&self) -> Option<Remaining> {
        let shown = self.shown.lock();
        let shown = shown.unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().map(|measured| measured.remaining)
    }

    fn by_label(&self, realms: &[(String, MeasuredRealm)]) -> BTreeMap<String, MeasuredRealm> {
        let mut by_label: BTreeMap<String, MeasuredRealm> = BTreeMap::new();
        for (realm, measured) in realms {
            let shown = by_label.entry(self.labels.of(realm)).or_default();
            *shown = shown.with(*measured);
        }
        by_label
    }
}

impl Collector for MeasuredMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(measured) = self.shown() else {
            return Ok(());
        };
        let mut page = Page(&mut encoder);
        let secrets = measured.secrets.iter().map(|(state, alive, count)| {
            let token = if *alive { "alive" } else { "none" };
            ([("state", *state), ("token", token)], *count)
        });
        page.gauges(
            "secrets",
            "Secrets, by state and by whether they have a token that has not expired",
            None,
            secrets,
        )?;
        page.seconds(
            "sweep_lag",
            "How long the renewal that is due for the longest has been due; a failure, and what must be waited for, moves the date",
            seconds(measured.sweep_lag),
        )?;
        page.seconds(
            "secrets_measured_timestamp",
            "When the metrics of secrets were read from the database; where there are many secrets, not at each scrape",
            timestamp(measured.at),
        )?;
        let realms = self.by_label(&measured.realms);
        let of_realms = |what: fn(&MeasuredRealm) -> Option<EpochMs>| {
            let known = realms.iter().filter_map(move |(realm, of)| {
                let at = what(of)?;
                Some(([("realm", realm.as_str())], timestamp(at)))
            });
            known.collect::<Vec<_>>()
        };
        page.gauges(
            "token_earliest_expiry_timestamp",
            "When the next of the tokens that are served expires; without those of paused secrets",
            Some(&Unit::Seconds),
            of_realms(|of| of.earliest_expiry).into_iter(),
        )?;
        let because = |reason: &'static str, since: fn(&MeasuredRealm) -> Option<EpochMs>| {
            let since = of_realms(since).into_iter();
            since.map(move |([realm], at)| ([realm, ("reason", reason)], at))
        };
        page.gauges(
            "without_token_since_timestamp",
            "Since when a secret has had no token that is valid, the longest of all; without paused and fixed ones; absent where all have one",
            Some(&Unit::Seconds),
            because("expired", |of| of.expired_since)
                .chain(because("never_obtained", |of| of.never_obtained_since)),
        )?;
        let dying = realms.iter();
        page.gauges(
            "dying_tokens",
            "Tokens that are served, whose renewal fails, waits or is late, and that have less than 15 % of their life (12 hours at most) left",
            None,
            dying.map(|(realm, of)| ([("realm", realm.as_str())], of.dying)),
        )
    }
}

/// Where metrics are written to.
struct Page<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Page<'_, '_> {
    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let gauge = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(gauge)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        gauges: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut gauges = gauges.peekable();
        if gauges.peek().is_none() {
            return Ok(());
        }
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in gauges {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    fn page(realms_max: usize, measured: Option<Measured>) -> String {
        let metrics = MeasuredMetrics::new(Arc::new(RealmLabels::new(realms_max)));
        metrics.show(measured);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        page
    }

    fn realm(name: &str, since: i64, dying: i64) -> (String, MeasuredRealm) {
        let measured = MeasuredRealm {
            expired_since: Some(EpochMs(since)),
            dying,
            ..MeasuredRealm::default()
        };
        (name.to_owned(), measured)
    }

    #[test]
    fn realms_without_a_label_of_their_own_are_shown_together_as_the_worst_of_them() {
        let measured = Measured {
            at: EpochMs(0),
            secrets: Vec::new(),
            sweep_lag: Ms::ZERO,
            remaining: Remaining::default(),
            realms: vec![
                realm("a", 1000, 1),
                realm("b", 7500, 2),
                realm("c", 5500, 3),
            ],
        };
        let page = page(1, Some(measured));
        for line in [
            "without_token_since_timestamp_seconds{realm=\"a\",reason=\"expired\"} 1.0\n",
            "without_token_since_timestamp_seconds{realm=\"other\",reason=\"expired\"} 5.5\n",
            "dying_tokens{realm=\"a\"} 1\n",
            "dying_tokens{realm=\"other\"} 5\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
        assert!(!page.contains("never_obtained"), "{page}");
    }

    #[test]
    fn what_nobody_has_measured_is_not_shown() {
        assert_eq!(page(1, None), "# EOF\n");
    }
}

//! The metrics, from the registry: a page of metrics on which each has a series.

use std::collections::BTreeSet;

use token_server::foundation::clock::{EpochMs, Ms};
use token_server::foundation::metrics::{
    ClosedLabels, DamageLabels, DeliveryLabels, FetchLabels, LimitLabels, Measured, MeasuredRealm,
    Metrics, Remaining, RequestLabels, SinkLabels,
};

use super::markdown::{code, codes, sentence, table as table_of};
use super::read;
use crate::kit::source::{self, files_below, root};

const PREFIX: &str = "token_server_";

/// One metric, as the page describes it.
#[derive(Default)]
struct Metric {
    /// With its unit, without the ends that its kind gives to a series.
    family: String,
    kind: String,
    unit: String,
    help: String,
    /// Of its first series.
    name: String,
    labels: Vec<String>,
}

/// A page that shows every metric: one without a series is left out.
fn page() -> String {
    let metrics = Metrics::new(1);
    metrics.renewed("r", "stored", "");
    let request = RequestLabels {
        route: "/api/token".to_owned(),
        method: "GET".to_owned(),
        status: 200,
    };
    metrics.requests.get_or_create(&request).inc();
    metrics
        .connections_closed
        .get_or_create(&ClosedLabels { reason: "full" })
        .inc();
    metrics.certificate_ends(Some(EpochMs(1)));
    metrics.last_sweep.set(1.0);
    let limit = LimitLabels { limit: "key" };
    metrics.limited.get_or_create(&limit).inc();
    metrics
        .deliveries
        .get_or_create(&DeliveryLabels {
            outcome: "delivered",
        })
        .inc();
    metrics
        .jwks_fetches
        .get_or_create(&FetchLabels { outcome: "done" })
        .inc();
    let sink = SinkLabels { sink: "file" };
    metrics.audit_sink_behind.get_or_create(&sink).set(1);
    metrics.audit_sink_failures.get_or_create(&sink).inc();
    let damage = DamageLabels {
        table: "ts_token",
        column: "token",
    };
    metrics.damaged_values.get_or_create(&damage).inc();
    metrics.upstream_answered("r", Ms(1));
    metrics.quota_left([("r".to_owned(), 1.0)].into_iter());
    let realm = MeasuredRealm {
        earliest_expiry: Some(EpochMs(1)),
        expired_since: Some(EpochMs(1)),
        never_obtained_since: Some(EpochMs(1)),
        dying: 1,
    };
    metrics.measured(Some(Measured {
        at: EpochMs(1),
        secrets: vec![("active", true, 1)],
        sweep_lag: Ms::ZERO,
        remaining: Remaining::default(),
        realms: vec![("r".to_owned(), realm)],
    }));
    metrics.encode().expect("metrics can be written")
}

fn all() -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    for line in page().lines() {
        let described = line.strip_prefix("# ").and_then(|line| {
            let (what, rest) = line.split_once(' ')?;
            let (family, says) = rest.split_once(' ')?;
            Some((what, family, says.to_owned()))
        });
        if let Some((what, family, says)) = described {
            if all.last().is_none_or(|last| last.family != family) {
                let family = family.to_owned();
                all.push(Metric {
                    family,
                    ..Metric::default()
                });
            }
            let metric = all.last_mut().expect("one was pushed");
            match what {
                "HELP" => metric.help = says,
                "TYPE" => metric.kind = says,
                "UNIT" => metric.unit = says,
                other => panic!("{other} in {line}"),
            }
        } else if let Some(metric) = all.last_mut()
            && metric.name.is_empty()
            && !line.starts_with('#')
        {
            let (series, _) = line.rsplit_once(' ').expect("a series and a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            metric.name = match metric.kind.as_str() {
                "histogram" | "gaugehistogram" => metric.family.clone(),
                _ => name.to_owned(),
            };
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(name, _)| name.to_owned());
            metric.labels = labels.filter(|name| name != "le").collect();
        }
    }
    all
}

pub fn table() -> String {
    let rows = all().into_iter().map(|metric| {
        let name = code(metric.name.trim_start_matches(PREFIX));
        let kind = match metric.unit.is_empty() {
            true => metric.kind,
            false => format!("{}, {}", metric.kind, metric.unit),
        };
        [name, kind, codes(metric.labels), sentence(&metric.help)]
    });
    table_of(["metric", "kind and unit", "labels", "says"], rows)
}

#[test]
fn every_metric_that_is_registered_has_a_series_here() {
    let source = [
        read("src/foundation/metrics.rs"),
        read("src/foundation/metrics/measured.rs"),
    ]
    .concat();
    let registered: usize = [
        ".register(\n",
        ".register(\"",
        ".register_with_unit(",
        "page.gauges(",
        "page.seconds(",
        ".write_gauge_histogram(",
    ]
    .iter()
    .map(|call| source.matches(call).count())
    .sum();
    assert_eq!(all().len(), registered);
}

#[test]
fn every_metric_says_what_it_is_in_base_units() {
    for metric in all() {
        let Metric {
            family, help, unit, ..
        } = &metric;
        assert!(
            help.split(' ').count() > 2,
            "{family} is not explained: {help:?}"
        );
        assert!(!metric.kind.is_empty(), "{family} has no type");
        let last = family.rsplit('_').next().unwrap_or_default();
        match last {
            "seconds" | "bytes" | "ratio" => {
                assert_eq!(unit, last, "{family} does not name its unit")
            }
            _ => assert_eq!(unit, "", "{family} does not end in its unit"),
        }
        for other in [
            "ms",
            "milliseconds",
            "minutes",
            "hours",
            "kib",
            "mib",
            "percent",
        ] {
            assert!(
                family.split('_').all(|part| part != other),
                "{family} is in {other}"
            );
        }
    }
}

#[test]
fn metrics_that_documents_alerts_and_dashboards_name_are_there() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for metric in all() {
        let ends: &[&str] = match metric.kind.as_str() {
            "histogram" => &["bucket", "sum", "count"],
            "gaugehistogram" => &["bucket"],
            _ => &[],
        };
        known.extend(ends.iter().map(|end| format!("{}_{end}", metric.name)));
        known.insert(metric.name);
    }
    let mut papers = files_below(&root().join("docs"), &["md"]);
    papers.extend(files_below(
        &root().join("docker"),
        &["yml", "yaml", "json"],
    ));
    papers.extend(["README.md", "README.zh.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    let mut named = 0;
    for paper in papers {
        let text = source::read(&paper);
        for rest in text.split(PREFIX).skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let name = &rest[..end.unwrap_or(rest.len())];
            // The prefix alone; the console's cookie; and what a job writes to a file, which its own
            // test compares.
            if name.is_empty() || name == "session" || name.starts_with("renew_") {
                continue;
            }
            named += 1;
            let name = format!("{PREFIX}{name}");
            assert!(
                known.contains(&name),
                "{}: there is no metric {name}",
                paper.display()
            );
        }
    }
    assert!(named > 5, "the names are found: {named}");
}

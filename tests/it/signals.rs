//! What operators look at, over a server that does all it can: each metric that is documented, and
//! no other, has a sample; each query of the dashboard returns data of a real Prometheus.

mod loaded;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::kit::eventually;
use crate::kit::prometheus::Prometheus;
use crate::kit::source::{in_backticks, read, root};
use loaded::Loaded;

const PREFIX: &str = "token_server_";

fn dashboard() -> Value {
    let text = read(&root().join("docker/observability/dashboard.json"));
    serde_json::from_str(&text).expect("JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("a list")
}

/// The queries of the dashboard, as Grafana sends them, with the titles of their panels.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels(&dashboard()) {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query.replace("$job", ".+");
            let query = query.replace("$__rate_interval", "30s");
            assert!(!query.contains('$'), "{title}: {query}");
            queries.push((title.to_owned(), query));
        }
    }
    queries
}

#[test]
fn the_dashboard_is_one_page_of_panels_that_say_what_they_show() {
    let dashboard = dashboard();
    // Of Grafana 10.3; newer ones migrate it.
    assert_eq!(dashboard["schemaVersion"], 39);
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        assert!(
            ids.insert(panel["id"].as_i64().expect("a number")),
            "{panel}"
        );
        let place = |name: &str| panel["gridPos"][name].as_i64().expect("a number");
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{panel}");
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "two panels in one place: {panel}");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].is_string(), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        let targets = panel["targets"].as_array().expect("a list");
        assert!(!targets.is_empty(), "{panel}");
    }
    let rows = panels(&dashboard)
        .iter()
        .filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows
        .map(|row| row["title"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        rows,
        [
            "Health",
            "Failing realms",
            "Expiry",
            "Renewals",
            "Latencies",
            "Quotas and limits",
            "Replicas",
            "Reads"
        ]
    );
}

/// The metrics that the reference lists.
fn documented() -> BTreeSet<String> {
    let page = read(&root().join("docs/src/reference/metrics.md"));
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let names = rows.filter_map(|row| in_backticks(row).next());
    names.map(|name| format!("{PREFIX}{name}")).collect()
}

/// The metrics that have a sample on a page.
fn sampled(page: &str) -> BTreeSet<String> {
    let mut kinds = BTreeMap::new();
    let mut sampled = BTreeSet::new();
    for line in page.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (family, kind) = described.split_once(' ').expect("a name and a type");
            kinds.insert(family, kind);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            let family = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|family| {
                    kinds
                        .get(family)
                        .is_some_and(|kind| kind.ends_with("histogram"))
                });
            sampled.insert(family.unwrap_or(name).to_owned());
        }
    }
    sampled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_metric_that_is_documented_and_no_other_has_a_sample() {
    let loaded = Loaded::start().await;
    let documented = documented();
    assert!(documented.len() > 30, "the names are found: {documented:?}");
    eventually("a sample of each metric", async || {
        loaded.works().await;
        let page = loaded.client.get("/metrics").await.expect(200).text;
        let sampled = sampled(&page);
        let unknown: Vec<_> = sampled.difference(&documented).collect();
        assert!(unknown.is_empty(), "not documented: {unknown:?}");
        let missing: Vec<_> = documented.difference(&sampled).collect();
        eprintln!("without a sample: {missing:?}");
        missing.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_query_of_the_dashboard_returns_data_of_a_loaded_server() {
    let loaded = Loaded::start().await;
    let prometheus = Prometheus::start(loaded.server.address(), "https");
    let mut left = queries();
    assert!(left.len() > 25, "the queries are found: {left:?}");
    eventually("data of each query", async || {
        loaded.works().await;
        let mut without = Vec::new();
        for (title, query) in std::mem::take(&mut left) {
            let series = prometheus.series(&query).await.unwrap_or_default();
            let is_number = |series: &Value| {
                let value = series["value"][1].as_str();
                value.is_some_and(|value| value != "NaN")
            };
            if !series.iter().any(is_number) {
                without.push((title, query));
            }
        }
        left = without;
        eprintln!("without data: {left:?}");
        left.is_empty().then_some(())
    })
    .await;
}

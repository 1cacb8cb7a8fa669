//! A Prometheus that scrapes a server as operators have it do, and the rules in it.

use crate::kit::prometheus::Prometheus;
use crate::kit::{Provider, Server, TestDatabase, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_reads_every_metric_with_its_unit_and_evaluates_every_rule() {
    let (database, provider) = (TestDatabase::sqlite(), Provider::start().await);
    let server = Server::start(&database).await;
    server.client.register(&provider.url("/token")).await;
    let prometheus = Prometheus::start(server.address(), "http");
    eventually("a scrape succeeds", async || {
        let up = prometheus
            .data("query?query=token_server_database_up")
            .await?;
        (up["result"][0]["value"][1] == "1").then_some(())
    })
    .await;
    let metadata = eventually("what the metrics are", async || {
        let metadata = prometheus.data("metadata").await?;
        metadata
            .get("token_server_last_sweep_timestamp_seconds")
            .is_some()
            .then_some(metadata)
    })
    .await;
    let own = metadata.as_object().expect("an object").iter();
    for (name, of) in own.filter(|(name, _)| name.starts_with("token_server_")) {
        let in_seconds = name.ends_with("_seconds");
        assert_eq!(of[0]["unit"] == "seconds", in_seconds, "{name}: {of}");
        assert_ne!(of[0]["help"], "", "{name}: {of}");
        assert!(!name.contains("milli"), "{name}");
    }
    let rules = eventually("every rule is evaluated", async || {
        let groups = prometheus.data("rules").await?;
        let rules = groups["groups"][0]["rules"].as_array()?.clone();
        rules
            .iter()
            .all(|rule| rule["health"] != "unknown")
            .then_some(rules)
    })
    .await;
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

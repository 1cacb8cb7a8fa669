//! A Prometheus that scrapes a server as operators have it do, and the rules in it.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::database_server::free_port;
use crate::kit::promtool::{PATHS, rules};
use crate::kit::server::ADMIN_KEY;
use crate::kit::{Provider, Server, TestDatabase, eventually};

struct Prometheus {
    process: Child,
    http: reqwest::Client,
    base: String,
    _directory: TempDir,
}

impl Prometheus {
    fn start(server: &Server) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let at = |name: &str| directory.path().join(name);
        let target = server.address().to_string();
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules()],
            "scrape_configs": [{
                "job_name": "token-server",
                "authorization": {"credentials": ADMIN_KEY},
                "static_configs": [{"targets": [target]}],
            }],
        });
        std::fs::write(at("prometheus.yml"), configuration.to_string())
            .expect("the file can be written");
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new("prometheus")
            .env("PATH", PATHS)
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus starts; `make setup` brings it");
        Self {
            process,
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client can be made"),
            base: format!("http://{address}/api/v1"),
            _directory: directory,
        }
    }

    /// What a call of its API answers, where it does.
    async fn data(&self, call: &str) -> Option<Value> {
        let response = self.http.get(format!("{}/{call}", self.base)).send();
        let text = response.await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        Some(answer["data"].clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_reads_every_metric_with_its_unit_and_evaluates_every_rule() {
    let (database, provider) = (TestDatabase::sqlite(), Provider::start().await);
    let server = Server::start(&database).await;
    server.client.register(&provider.url("/token")).await;
    let prometheus = Prometheus::start(&server);
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

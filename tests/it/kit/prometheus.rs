//! A real Prometheus, on a port of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::database_server::free_port;
use super::promtool::{PATHS, rules};
use super::server::ADMIN_KEY;

/// Scrapes one server each second. It ends when dropped.
pub struct Prometheus {
    process: Child,
    http: reqwest::Client,
    base: String,
    _directory: TempDir,
}

impl Prometheus {
    /// By `http` or `https`; by the latter whoever answers is believed.
    pub fn start(server: SocketAddr, scheme: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let at = |name: &str| directory.path().join(name);
        let target = server.to_string();
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules()],
            "scrape_configs": [{
                "job_name": "token-server",
                "scheme": scheme,
                "tls_config": {"insecure_skip_verify": true},
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
    pub async fn data(&self, call: &str) -> Option<Value> {
        let response = self.http.get(format!("{}/{call}", self.base)).send();
        let text = response.await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        Some(answer["data"].clone())
    }

    /// The series of a query, as they are now.
    pub async fn series(&self, query: &str) -> Option<Vec<Value>> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.data(&format!("query?query={query}")).await?;
        answer["result"].as_array().cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

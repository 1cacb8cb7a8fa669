//! A certified OAuth server: npm `oidc-provider`, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// What client 1 has: characters that a careless Basic header would break on.
pub const AWKWARD_SECRET: &str = "secret:of client-1/100%2B+0123456789abcdef";

pub struct OauthServer {
    child: Child,
    pub issuer: String,
    http: reqwest::Client,
}

impl OauthServer {
    /// Odd clients authenticate by Basic, even ones in the body.
    pub fn start(clients: usize, access_token_ttl_s: u32) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        let mut child = Command::new(node(&folder))
            .arg(folder.join("server.mjs"))
            .env("CLIENTS", clients.to_string())
            .env("ACCESS_TOKEN_TTL_S", access_token_ttl_s.to_string())
            // It ends when its standard input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is installed; `make setup` does that");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("standard output is piped"))
            .read_line(&mut line)
            .expect("the OAuth server says where it listens");
        let said: Value = serde_json::from_str(&line).expect("it says so in JSON");
        Self {
            child,
            issuer: said["issuer"].as_str().expect("an issuer").to_owned(),
            http: reqwest::Client::builder()
                .no_proxy()
                // Node closes connections that were idle for five seconds.
                .pool_idle_timeout(std::time::Duration::from_secs(2))
                .build()
                .expect("a client can be made"),
        }
    }

    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer)
    }

    pub fn secret_of(client: usize) -> String {
        match client {
            1 => AWKWARD_SECRET.to_owned(),
            other => format!("secret-of-client-{other}-0123456789abcdef"),
        }
    }

    /// RFC 7662: whether the server itself still accepts a token.
    pub async fn accepts(&self, token: &str) -> bool {
        let answer = self
            .http
            .post(format!("{}/token/introspection", self.issuer))
            .basic_auth("introspector", Some("secret-of-introspector"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .expect("the OAuth server answers");
        let text = answer.text().await.expect("the answer is whole");
        let said: Value = serde_json::from_str(&text).expect("introspection answers JSON");
        said["active"] == true
    }

    /// Tokens issued in all.
    pub async fn issued(&self) -> u64 {
        let answer = self.http.get(format!("{}/stats", self.issuer)).send().await;
        let text = answer
            .expect("the OAuth server answers")
            .text()
            .await
            .expect("whole");
        let stats: Value = serde_json::from_str(&text).expect("statistics are JSON");
        stats["token_requests_total"].as_u64().expect("a count")
    }
}

impl Drop for OauthServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where tests/setup.sh leaves Node.
fn node(folder: &Path) -> PathBuf {
    let chosen = std::env::vars().find(|(name, _)| name == "TEST_NODE");
    let own = folder.join("node_modules/.bin/node");
    match chosen {
        Some((_, path)) => path.into(),
        None if own.exists() => own,
        None => "node".into(),
    }
}

//! What is measured: servers, providers, and what is registered with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use poem::{Endpoint, Request, Response};
use serde_json::json;

use crate::kit::TestDatabase;
use crate::kit::process::ServerProcess;
use crate::kit::provider::LocalServer;
use crate::kit::server::Client;

/// Tokens are that long, in bytes.
pub const TOKEN_BYTES: usize = 512;
/// Calls at once where many secrets are registered.
const CALLERS: usize = 50;

/// A provider that takes its time, with another token at each answer.
pub struct Provider {
    counts: Arc<Counts>,
    server: LocalServer,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

struct Slow {
    delay: Duration,
    lifetime_s: i64,
    counts: Arc<Counts>,
}

impl Endpoint for Slow {
    type Output = Response;

    async fn call(&self, _: Request) -> poem::Result<Response> {
        let counts = &self.counts;
        let now = counts.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        counts.peak.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.delay).await;
        counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        let number = counts.answered.fetch_add(1, Ordering::Relaxed);
        let token = format!("{number:0TOKEN_BYTES$}");
        let answer = json!({"access_token": token, "expires_in": self.lifetime_s});
        Ok(Response::builder()
            .content_type("application/json")
            .body(answer.to_string()))
    }
}

impl Provider {
    pub async fn start(delay: Duration, lifetime_s: i64) -> Self {
        let counts = Arc::new(Counts::default());
        let slow = Slow {
            delay,
            lifetime_s,
            counts: counts.clone(),
        };
        Self {
            counts,
            server: LocalServer::start(slow).await,
        }
    }

    pub fn url(&self) -> String {
        self.server.url("/token")
    }

    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Waits until it has answered so often: that costs the servers nothing.
    pub async fn has_answered(&self, count: u64) {
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while self.answered() < count {
            pace.tick().await;
        }
    }

    /// The most requests that were in progress at once.
    pub fn peak(&self) -> usize {
        self.counts.peak.load(Ordering::Relaxed)
    }
}

/// A replica; its data directory is its own.
pub fn server(
    database: &TestDatabase,
    name: &str,
    more: &[(&'static str, String)],
) -> ServerProcess {
    let directory = database.directory.path().join(name).display().to_string();
    let mut env = vec![("TOKEN_SERVER__DATA_DIR", directory)];
    env.extend_from_slice(more);
    ServerProcess::start(database, &env)
}

/// So many realms of one provider, and secrets spread over them; waits until each has a token.
pub async fn register(
    database: &TestDatabase,
    client: &Client,
    url: &str,
    realms: usize,
    secrets: usize,
) {
    let config = json!({
        "url": url, "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    for realm in 0..realms {
        client.save_realm(&realm_name(realm), config.clone()).await;
    }
    stream::iter(0..secrets)
        .for_each_concurrent(CALLERS, |number| async move {
            let realm = realm_name(number % realms);
            let secret = json!({"realm": realm, "key": key_name(number)});
            client.post("/api/secret", &secret).await.expect(200);
        })
        .await;
    none_left(database, "generation = 0").await;
}

pub fn realm_name(number: usize) -> String {
    format!("r{number}")
}

pub fn key_name(number: usize) -> String {
    format!("k{number}")
}

/// Waits until no token is so; answers how long that took.
pub async fn none_left(database: &TestDatabase, condition: &str) -> Duration {
    let query = format!("SELECT COUNT(*) FROM ts_token WHERE {condition}");
    let begun = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while database.number(&query).await > 0 {
        pace.tick().await;
    }
    begun.elapsed()
}

/// A key that reads tokens, and nothing else.
pub async fn reading_key(client: &Client) -> String {
    let key = json!({"name": "bench", "scopes": ["token:read"]});
    let made = client.post("/api/api-key", &key).await.expect(200).json();
    made["data"]["key"].as_str().expect("a text").to_owned()
}

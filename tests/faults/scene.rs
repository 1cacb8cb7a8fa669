//! Replicas of the server on one database, and a provider whose refresh tokens rotate.

use std::path::PathBuf;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, Ms, SystemClock};

use crate::checker::{Given, History, Parked, Sample, Stored, violations};
use crate::galera;
use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually};
use crate::provider::{Reuse, RotatingProvider};

/// An attempt's timeout of a second, and the slack.
pub const LEASE: Ms = Ms::from_secs(6);
/// Two leases: what a lenient provider grants a refresh token that was used.
pub const LENIENT: Reuse = Reuse::AcceptedFor(Ms(2 * LEASE.0));
/// Long enough that nothing is renewed by itself while a test runs.
pub const LIFETIME_S: i64 = 3600;

pub struct Scene {
    pub database: TestDatabase,
    pub provider: RotatingProvider,
    lifetime: Ms,
    kills: Vec<EpochMs>,
    samples: Vec<Sample>,
}

impl Scene {
    pub async fn set(database: TestDatabase, reuse: Reuse, lifetime_s: i64) -> Self {
        Self {
            database,
            provider: RotatingProvider::start(reuse, lifetime_s).await,
            lifetime: Ms::from_secs(lifetime_s),
            kills: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn directory(&self, replica: &str) -> PathBuf {
        self.database.directory.path().join(replica)
    }

    /// Starts a replica; one of the same name is the same, restarted.
    pub fn replica(&self, name: &str) -> ServerProcess {
        let directory = self.directory(name).display().to_string();
        let url = galera::url_of(&self.database, name);
        let more = [("TOKEN_SERVER__DATA_DIR", directory), ("DATABASE_URL", url)];
        ServerProcess::start(&self.database, &more)
    }

    /// What is in a replica's spool.
    pub fn spooled(&self, replica: &str) -> usize {
        let entries = std::fs::read_dir(self.directory(replica).join("spool"));
        entries.map_or(0, |entries| {
            entries
                .filter_map(Result::ok)
                .filter(|entry| entry.path().extension().is_some_and(|end| end == "json"))
                .count()
        })
    }

    pub fn kill(&mut self, replica: ServerProcess) {
        self.kills.push(SystemClock.now());
        replica.kill();
    }

    /// A realm whose refresh tokens rotate, and whose attempts take a second at most.
    pub async fn register_realm(&self, client: &Client) {
        let config = json!({
            "params": {"refresh_token": {"title": "The first refresh token"}},
            "url": self.provider.url(), "method": "POST", "content_type": "form",
            "arguments": [
                {"name": "grant_type", "place": "body", "value": "refresh_token"},
                {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
            ],
            "token_path": "access_token", "expires_in_path": "expires_in",
            "refresh_token_path": "refresh_token",
            "policy": {"timeout_s": 1, "min_flush_interval_s": 0},
        });
        client.save_realm("r", config).await;
    }

    pub async fn register(&self, client: &Client, key: &str) {
        let first = RotatingProvider::first_refresh_token(key);
        let secret = json!({"realm": "r", "key": key, "params": {"refresh_token": first}});
        client.post("/api/secret", &secret).await.expect(200);
    }

    /// A realm, a secret `k`, and its first token.
    pub async fn begin(&self, client: &Client) {
        self.register_realm(client).await;
        self.register(client, "k").await;
        client.generation("r", "k", 1).await;
    }

    /// Makes all tokens due; the schedulers find them within a second.
    pub async fn due(&self) {
        self.run("UPDATE ts_token SET renew_at = 0 WHERE renew_at IS NOT NULL")
            .await;
    }

    pub async fn run(&self, sql: &str) {
        use sea_orm::ConnectionTrait;
        let connection = self.database.connect().await;
        let done = connection.execute_unprepared(sql).await;
        done.expect("the statement is good");
        connection.close().await.expect("the connection closes");
    }

    /// Waits until the provider has been asked so often.
    pub async fn asked(&self, count: usize) {
        eventually("the provider is asked", async || {
            (self.provider.received() >= count).then_some(())
        })
        .await;
    }

    /// Reads as a caller does, for the history.
    pub async fn read(&mut self, client: &Client, caller: usize, key: &str) -> Option<i64> {
        let asked_at = SystemClock.now();
        let reply = client.token("r", key).await;
        let given = match reply.status.as_u16() {
            200 => {
                let answer = reply.json();
                Given::Token {
                    token: answer["token"].as_str().expect("a text").to_owned(),
                    generation: answer["generation"].as_i64().expect("a number"),
                }
            }
            _ => Given::Refused,
        };
        let generation = match &given {
            Given::Token { generation, .. } => Some(*generation),
            Given::Refused => None,
        };
        self.samples.push(Sample {
            caller,
            key: key.to_owned(),
            asked_at,
            answered_at: SystemClock.now(),
            given,
        });
        generation
    }

    /// Waits for a new token that the provider issues to whoever holds the newest refresh
    /// token: the proof that none was lost.
    pub async fn renews_again(&self, client: &Client, key: &str) {
        let before = client.secret("r", key).await["generation"].as_i64();
        self.run(&format!(
            "UPDATE ts_token SET renew_at = 0 WHERE key_name = '{key}'"
        ))
        .await;
        let before = before.expect("a number");
        client.generation("r", key, before + 1).await;
    }

    /// Judges everything that happened.
    pub async fn judge(&self, client: &Client) {
        let history = self.history(client).await;
        let found = violations(&history);
        assert!(found.is_empty(), "{found:#?}\n{:#?}", history.provider);
    }

    async fn history(&self, client: &Client) -> History {
        let text = |value: &Value, field: &str| value[field].as_str().map(str::to_owned);
        let mut stored: Vec<_> = client
            .list("/api/renewal?outcome=stored")
            .await
            .iter()
            .map(|entry| Stored {
                key: text(entry, "key").expect("a text"),
                generation: entry["generation"].as_i64().expect("a number"),
            })
            .collect();
        // The list begins with the newest.
        stored.reverse();
        let parked = client.list("/api/secret?state=needs_attention").await;
        let parked = parked.iter().map(|secret| {
            let since = secret["last_error"]["since"].as_str().expect("a date");
            let since = chrono::DateTime::parse_from_rfc3339(since).expect("a date");
            Parked {
                key: text(secret, "key").expect("a text"),
                since: EpochMs(since.timestamp_millis()),
            }
        });
        History {
            provider: self.provider.log(),
            stored,
            samples: self.samples.clone(),
            parked: parked.collect(),
            kills: self.kills.clone(),
            lifetime: self.lifetime,
            lease: LEASE,
        }
    }
}

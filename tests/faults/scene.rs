//! Replicas of the server on one database, and a provider whose refresh tokens rotate.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, Ms, SystemClock};

use crate::checker::{Given, History, Killed, Sample, Stored, violations};
use crate::cluster;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::{Client, Reply};
use crate::kit::{TestDatabase, eventually};
use crate::provider::{ATTEMPT, Held, Reuse, RotatingProvider};

/// An attempt's timeout of a second, and the slack.
pub const LEASE: Ms = Ms::from_secs(6);
/// Whoever takes over sends when the lease is over. The first began to send within half of the
/// slack, and had sent within its timeout.
pub const APART: Ms = Ms(LEASE.0 - 2500 - 1000);
/// Two leases: what a lenient provider grants a refresh token that was used.
pub const LENIENT: Reuse = Reuse::AcceptedFor(Ms(2 * LEASE.0));
/// Long enough that nothing is renewed by itself while a test runs.
pub const LIFETIME_S: i64 = 3600;

pub struct Scene {
    pub database: TestDatabase,
    pub provider: RotatingProvider,
    lifetime: Ms,
    killed: HashSet<Killed>,
    samples: Vec<Sample>,
}

impl Scene {
    pub async fn set(database: TestDatabase, reuse: Reuse, lifetime_s: i64) -> Self {
        Self {
            database,
            provider: RotatingProvider::start(reuse, lifetime_s).await,
            lifetime: Ms::from_secs(lifetime_s),
            killed: HashSet::new(),
            samples: Vec::new(),
        }
    }

    fn directory(&self, replica: &str) -> PathBuf {
        self.database.directory.path().join(replica)
    }

    fn environment(&self, replica: &str) -> [(&'static str, String); 3] {
        let directory = self.directory(replica).display().to_string();
        let url = cluster::url_of(&self.database, replica);
        [
            ("TOKEN_SERVER__DATA_DIR", directory),
            ("DATABASE_URL", url),
            // As by default: a database that hangs is one of the faults.
            (
                "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS",
                "2000".to_owned(),
            ),
        ]
    }

    /// Starts a replica; one of the same name is the same, restarted.
    pub fn replica(&self, name: &str) -> ServerProcess {
        self.replica_with(name, &[])
    }

    /// The same, configured otherwise.
    pub fn replica_with(&self, name: &str, more: &[(&'static str, String)]) -> ServerProcess {
        let environment = [self.environment(name).as_slice(), more].concat();
        ServerProcess::start(&self.database, &environment)
    }

    /// A replica of another binary.
    #[cfg(feature = "upgrade")]
    pub fn replica_by(&self, mut binary: Command, name: &str) -> ServerProcess {
        let environment = crate::kit::server::environment(&self.database, &self.environment(name));
        binary.env_clear().envs(environment);
        ServerProcess::start_by(binary)
    }

    /// Another command of a replica.
    pub fn command(&self, replica: &str) -> Command {
        let mut command = command(&self.database, &self.environment(replica));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What is in a replica's spool.
    pub fn spooled(&self, replica: &str) -> usize {
        spooled(&self.directory(replica))
    }

    /// Kills a replica, and notes what it was doing.
    pub async fn kill(&mut self, name: &str, replica: ServerProcess) {
        replica.kill();
        let held = held_by(&self.database, &self.directory(name)).await;
        self.killed.extend(held);
    }

    /// A realm whose attempts take a second at most.
    pub async fn register_realm(&self, client: &Client) {
        client.save_realm("r", rotating_realm(&self.provider)).await;
    }

    /// The same, for many tokens at once: an attempt may wait for its turn on a busy machine.
    pub async fn register_patient_realm(&self, client: &Client) {
        let mut realm = rotating_realm(&self.provider);
        realm["policy"]["timeout_s"] = json!(10);
        client.save_realm("r", realm).await;
    }

    pub async fn register(&self, client: &Client, key: &str) {
        register(client, key).await;
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
        let connection = self.database.connect().await;
        let done = connection.execute_unprepared(sql).await;
        done.expect("the statement is good");
        connection.close().await.expect("the connection closes");
    }

    /// Waits until the provider has rotated so often.
    pub async fn rotated(&self, count: usize) {
        eventually("the provider has rotated", async || {
            (self.provider.rotations() == count).then_some(())
        })
        .await;
    }

    /// A second pair is on its way: the provider has rotated, and keeps its answer back.
    pub async fn rotates_unanswered(&self) {
        self.provider.hold(Held::After);
        self.due().await;
        self.rotated(2).await;
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
        let given = given(&reply);
        let generation = match &given {
            Given::Token { generation, .. } => Some(*generation),
            Given::Refused(..) => None,
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
        History {
            provider: self.provider.log(),
            stored: stored(client).await,
            samples: self.samples.clone(),
            parked: parked(client).await,
            killed: self.killed.clone(),
            lifetime: self.lifetime,
            apart: APART,
        }
    }
}

/// A realm whose refresh tokens rotate; its requests name their attempts.
pub fn rotating_realm(provider: &RotatingProvider) -> Value {
    let overlap_s = match provider.reuse() {
        Reuse::AcceptedFor(Ms(accepted)) => accepted / 1000,
        Reuse::EndsFamily => 0,
    };
    json!({
        "params": {"refresh_token": {"title": "The first refresh token"}},
        "url": provider.url(), "method": "POST", "content_type": "form",
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "refresh_token"},
            {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
            {"name": ATTEMPT, "place": "header", "value": "$attempt"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "refresh_token_path": "refresh_token",
        "policy": {
            "timeout_s": 1, "min_flush_interval_s": 0, "refresh_overlap_s": overlap_s,
        },
    })
}

/// A secret in that realm.
pub async fn register(client: &Client, key: &str) {
    let first = RotatingProvider::first_refresh_token(key);
    let secret = json!({"realm": "r", "key": key, "params": {"refresh_token": first}});
    client.post("/api/secret", &secret).await.expect(200);
}

pub fn given(reply: &Reply) -> Given {
    let answer = reply.json();
    if reply.status.as_u16() != 200 {
        let why = format!("{} {}", answer["code"], answer["detail"]);
        return Given::Refused(reply.status.as_u16(), why);
    }
    Given::Token {
        token: answer["token"].as_str().expect("a text").to_owned(),
        generation: answer["generation"].as_i64().expect("a number"),
    }
}

/// What a replica that is dead, and was not started again, was doing: attempts under its
/// leases, and those whose answer it was still waiting for.
pub async fn held_by(database: &TestDatabase, data_dir: &Path) -> Vec<Killed> {
    let connection = database.connect().await;
    let question = Statement::from_sql_and_values(
        connection.get_database_backend(),
        "SELECT key_name, claim_id FROM ts_token WHERE lease_owner = ? UNION ALL \
         SELECT key_name, lost_attempt FROM ts_token WHERE lost_awaited AND lost_owner = ?",
        [name_of(data_dir).into(), name_of(data_dir).into()],
    );
    let rows = connection.query_all_raw(question).await;
    let held = rows.expect("the query is good").into_iter().map(|row| {
        let text = |index| row.try_get_by_index(index).expect("a text");
        Killed {
            key: text(0),
            attempt: text(1),
        }
    });
    let held = held.collect();
    connection.close().await.expect("the connection closes");
    held
}

/// What was stored, in that order.
pub async fn stored(client: &Client) -> Vec<Stored> {
    let text = |value: &Value, field: &str| value[field].as_str().expect("a text").to_owned();
    let entries = client.list("/api/renewal?outcome=stored").await;
    let stored = entries.iter().map(|entry| Stored {
        key: text(entry, "key"),
        attempt: text(entry, "attempt_id"),
        generation: entry["generation"].as_i64().expect("a number"),
    });
    // The list begins with the newest.
    stored.rev().collect()
}

/// The keys that need attention.
pub async fn parked(client: &Client) -> Vec<String> {
    let parked = client.list("/api/secret?state=needs_attention").await;
    let key = |secret: &Value| secret["key"].as_str().expect("a text").to_owned();
    parked.iter().map(key).collect()
}

/// Parked, in the words of the table of tokens.
pub const PARKED: &str =
    "COALESCE(failure_class IN ('permanent', 'internal') AND probes > 0, FALSE)";

/// Pairs that lie in the spool of a data directory.
pub fn spooled(data_dir: &Path) -> usize {
    let entries = std::fs::read_dir(data_dir.join("spool"));
    let is_pair = |entry: &std::fs::DirEntry| {
        let path = entry.path();
        path.extension().is_some_and(|end| end == "json")
    };
    entries.map_or(0, |entries| {
        entries.filter_map(Result::ok).filter(is_pair).count()
    })
}

/// The name by which a replica holds leases.
pub fn name_of(data_dir: &Path) -> String {
    let name = std::fs::read_to_string(data_dir.join("replica.id"));
    name.expect("a replica has a name").trim().to_owned()
}

//! The databases of a move, each with its server, callers of these, and what always holds of them.

use std::collections::{BTreeMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sea_orm::{ConnectionTrait, QueryResult, Statement};
use serde_json::Value;
use token_server::foundation::clock::{Clock, Ms, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::checker::{Given, History, Sample, violations};
use crate::kit::database::Kind;
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually};
use crate::provider::RotatingProvider;
use crate::scene::{APART, given, parked, register, rotating_realm, stored};

/// Of tokens: long enough that none ends while a machine with other work hands over.
pub const LIFETIME_S: i64 = 60;
pub const KEYS: [&str; 6] = ["k1", "k2", "k3", "k4", "k5", "k6"];
const CALLERS: usize = 3;

/// A database with its server and its sealing keys.
pub struct Station {
    pub database: TestDatabase,
    keys: String,
}

impl Station {
    pub fn new(database: TestDatabase, number: u8) -> Self {
        // 32 bytes.
        let key = char::from(b'A' + number).to_string().repeat(42);
        Self {
            database,
            keys: format!("of-{number}:{key}A="),
        }
    }

    pub fn environment(&self, name: &str) -> Vec<(&'static str, String)> {
        let directory = self.database.directory.path().join(name);
        vec![
            ("TOKEN_SERVER__DATA_DIR", directory.display().to_string()),
            ("TOKEN_SERVER__SEALING__KEYS", self.keys.clone()),
        ]
    }

    pub fn serve(&self) -> ServerProcess {
        ServerProcess::start(&self.database, &self.environment("server"))
    }

    /// `import` of another into this one.
    pub fn import(&self, source: &Station, arguments: &[&str]) -> Command {
        let mut command = command(&self.database, &self.environment("import"));
        command
            .env("TOKEN_SERVER_IMPORT_URL", &source.database.url)
            .env("TOKEN_SERVER_IMPORT_KEYS", &source.keys)
            .args(["import", "--format", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Makes all tokens due that it renews.
    pub async fn due(&self) {
        let due = "UPDATE ts_token SET renew_at = 0 WHERE renew_at IS NOT NULL";
        self.database.run(due).await;
    }

    /// Who renews each token: none where this database does.
    pub async fn renewers(&self) -> BTreeMap<String, Option<String>> {
        let rows = self
            .rows("SELECT key_name, lease_owner FROM ts_token")
            .await;
        let row = |row: &QueryResult| {
            let owner: Option<String> = row.try_get_by_index(1).expect("a text");
            let elsewhere = owner.filter(|owner| owner.starts_with("import"));
            (row.try_get_by_index(0).expect("a text"), elsewhere)
        };
        rows.iter().map(row).collect()
    }

    pub async fn elsewhere(&self) -> usize {
        self.renewers().await.values().flatten().count()
    }

    /// Whether nobody has locked a row that an import writes.
    pub async fn is_free(&self) -> bool {
        let connection = self.database.connect().await;
        let mut free = true;
        for table in ["ts_lock", "ts_token", "ts_secret", "ts_realm"] {
            let lock = format!("SELECT * FROM {table} FOR UPDATE NOWAIT");
            free &= connection.execute_unprepared(&lock).await.is_ok();
        }
        connection.close().await.expect("the connection closes");
        free
    }

    async fn rows(&self, query: &str) -> Vec<QueryResult> {
        let connection = self.database.connect().await;
        let question = Statement::from_string(connection.get_database_backend(), query);
        let rows = connection.query_all_raw(question).await;
        connection.close().await.expect("the connection closes");
        rows.expect("the query is good")
    }

    /// The generation of each token, and how many attempts of its history have stored one.
    async fn generations(&self) -> BTreeMap<String, (i64, i64)> {
        let query = "SELECT key_name, generation, (SELECT COUNT(DISTINCT generation) FROM ts_renewal \
                     WHERE ts_renewal.realm_id = ts_token.realm_id \
                     AND ts_renewal.key_name = ts_token.key_name) FROM ts_token";
        let rows = self.rows(query).await;
        let row = |row: &QueryResult| {
            let number = |index| row.try_get_by_index(index).expect("a number");
            let key = row.try_get_by_index(0).expect("a text");
            (key, (number(1), number(2)))
        };
        rows.iter().map(row).collect()
    }

    /// The history, in no order: each attempt, its secret, and what it came to.
    async fn history(&self) -> Vec<[String; 4]> {
        let query = "SELECT attempt_id, key_name, outcome, \
                     CAST(COALESCE(generation, 0) AS CHAR) FROM ts_renewal";
        let rows = self.rows(query).await;
        let row = |row: &QueryResult| {
            [0, 1, 2, 3].map(|index| row.try_get_by_index(index).expect("a text"))
        };
        rows.iter().map(row).collect()
    }

    pub fn migrate(&self) {
        let mut migrate = command(&self.database, &self.environment("import"));
        let migrated = migrate.arg("migrate").output().expect("the binary starts");
        assert!(migrated.status.success(), "{migrated:?}");
    }

    pub async fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT COUNT(*) FROM {table}");
        self.database.number(&query).await
    }
}

/// What an import came to.
pub fn reported(child: Child, code: i32) -> Value {
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(code), "{said}");
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("no report: {said}"))
}

pub fn imported(target: &Station, source: &Station, arguments: &[&str], code: i32) -> Value {
    let child = target.import(source, arguments).spawn();
    reported(child.expect("the binary starts"), code)
}

/// Never do both renew one token.
pub async fn nothing_is_renewed_by_both(source: &Station, target: &Station) {
    // The target first: what it takes between the two looks is held in the source before.
    let (here, there) = (target.renewers().await, source.renewers().await);
    for (key, elsewhere) in &here {
        let both = elsewhere.is_none() && there.get(key).is_some_and(Option::is_none);
        assert!(!both, "{key} is renewed by both");
    }
}

/// What a finished move has brought: every row, each token as far as it was and from there on, and
/// its whole history, once.
pub async fn has_all_of(target: &Station, source: &Station) {
    for table in ["ts_realm", "ts_secret", "ts_token"] {
        let counts = (target.count(table).await, source.count(table).await);
        assert_eq!(counts.0, counts.1, "{table}");
    }
    let (here, there) = (target.generations().await, source.generations().await);
    assert!(here.keys().eq(there.keys()), "{here:?} {there:?}");
    for (key, (generation, stored)) in &here {
        let (moved, stored_there) = there[key];
        assert!(*generation > moved, "{key}: {generation} of {moved}");
        assert_eq!(generation - moved, stored - stored_there, "{key}");
    }
    let mut here = target.history().await;
    let all = here.len();
    here.sort_unstable();
    here.dedup();
    assert_eq!(here.len(), all, "an attempt is there twice");
    for attempt in source.history().await {
        let is_here = here.binary_search(&attempt).is_ok();
        assert!(is_here, "{attempt:?} is missing");
    }
}

/// Callers who read all the time, of the server that they were pointed to.
pub struct Callers {
    pointed_to: watch::Sender<Client>,
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    pub fn begin(client: &Client) -> Self {
        let pointed_to = watch::Sender::new(client.clone());
        let (ended, samples) = (Arc::default(), Arc::default());
        let tasks = (0..CALLERS).map(|caller| {
            let (pointed_to, ended): (_, Arc<AtomicBool>) =
                (pointed_to.subscribe(), Arc::clone(&ended));
            let samples: Arc<Mutex<Vec<Sample>>> = Arc::clone(&samples);
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    for key in KEYS {
                        let client = pointed_to.borrow().clone();
                        let sample = read(&client, caller, key).await;
                        samples.lock().expect("nobody panics").push(sample);
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Self {
            pointed_to,
            ended,
            samples,
            tasks,
        }
    }

    pub fn point_to(&self, client: &Client) {
        self.pointed_to.send_replace(client.clone());
    }

    pub async fn end(self) -> Vec<Sample> {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a caller ends");
        }
        std::mem::take(&mut *self.samples.lock().expect("nobody panics"))
    }
}

async fn read(client: &Client, caller: usize, key: &str) -> Sample {
    let asked_at = SystemClock.now();
    let reply = client.token("r", key).await;
    Sample {
        caller,
        key: key.to_owned(),
        asked_at,
        answered_at: SystemClock.now(),
        given: given(&reply),
    }
}

/// The first station with a token for each key.
pub async fn begun(station: &Station, provider: &RotatingProvider) -> ServerProcess {
    let server = station.serve();
    server
        .client
        .save_realm("r", rotating_realm(provider))
        .await;
    for key in KEYS {
        register(&server.client, key).await;
        server.client.generation("r", key, 1).await;
    }
    server
}

/// Waits until a server has renewed every token once more: the proof that it has each newest
/// refresh token.
pub async fn renews_all(station: &Station, client: &Client) {
    let mut before = Vec::new();
    for key in KEYS {
        let generation = client.secret("r", key).await["generation"].as_i64();
        before.push(generation.expect("a number"));
    }
    station.due().await;
    for (key, before) in KEYS.iter().zip(before) {
        eventually("it is renewed", async || {
            let now = client.secret("r", key).await["generation"].as_i64();
            (now > Some(before)).then_some(())
        })
        .await;
    }
}

pub async fn judge(provider: &RotatingProvider, client: &Client, samples: Vec<Sample>) {
    let history = History {
        provider: provider.log(),
        stored: stored(client).await,
        samples,
        parked: parked(client).await,
        killed: HashSet::new(),
        lifetime: Ms::from_secs(LIFETIME_S),
        apart: APART,
    };
    let found = violations(&history);
    assert!(found.is_empty(), "{found:#?}\n{:#?}", history.provider);
    let refused = history
        .samples
        .iter()
        .find(|sample| matches!(sample.given, Given::Refused(..)));
    assert!(refused.is_none(), "{refused:?}");
    assert_eq!(history.parked, Vec::<String>::new());
    let mut used = HashSet::new();
    for exchange in &history.provider {
        let once = used.insert((exchange.client.clone(), exchange.presented));
        assert!(once, "a refresh token is used twice: {exchange:?}");
    }
}

/// The stations of a journey, with a MySQL server besides where there is one.
pub async fn stations(database: TestDatabase) -> Vec<Station> {
    let has_mysql = std::env::vars().any(|(name, url)| name == "TEST_MYSQL_URL" && !url.is_empty());
    let databases = match database.kind() {
        Kind::MySql if has_mysql => {
            // It ends with the process.
            let mariadb: &DatabaseServer = Box::leak(Box::new(DatabaseServer::start()));
            mariadb.answers().await;
            let mariadb = TestDatabase::on_server(mariadb.url()).await;
            vec![
                TestDatabase::sqlite(),
                mariadb,
                database,
                TestDatabase::sqlite(),
            ]
        }
        Kind::MySql => vec![
            database,
            TestDatabase::sqlite(),
            TestDatabase::mysql().await,
        ],
        Kind::Sqlite => vec![
            database,
            TestDatabase::mysql().await,
            TestDatabase::sqlite(),
        ],
    };
    let numbered = databases.into_iter().zip(0_u8..);
    numbered
        .map(|(database, number)| Station::new(database, number))
        .collect()
}

pub async fn two(database: TestDatabase) -> (Station, Station) {
    let mut stations = stations(database).await.into_iter();
    let (source, target) = (stations.next(), stations.next());
    let (source, target) = (source.expect("a station"), target.expect("a station"));
    target.migrate();
    (source, target)
}

//! A move to another database while both servers serve and the old one renews: nothing is lost, no
//! refresh token is used twice, no caller sees an error, wherever the import is killed.

use std::collections::{BTreeMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::Value;
use token_server::foundation::clock::{Clock, Ms, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::checker::{Given, History, Sample, violations};
use crate::kit::database::Kind;
use crate::kit::database_server::DatabaseServer;
use crate::kit::process::{ServerProcess, command};
use crate::kit::server::Client;
use crate::kit::{TestDatabase, eventually, on_every_database};
use crate::provider::{Held, Reuse, RotatingProvider};
use crate::scene::{APART, given, parked, register, rotating_realm, stored};

on_every_database! {
    databases_are_moved_under_load_and_nobody_notices,
    a_killed_import_leaves_no_token_to_both_and_goes_on,
    a_move_that_is_given_up_is_renewed_where_it_was,
    a_finished_move_is_brought_back_by_a_move_the_other_way,
    an_attempt_under_way_is_waited_for_and_what_it_brings_is_moved,
}

/// Of tokens: long enough that none ends while a machine with other work hands over.
const LIFETIME_S: i64 = 60;
const KEYS: [&str; 6] = ["k1", "k2", "k3", "k4", "k5", "k6"];
const CALLERS: usize = 3;

/// A database with its server and its sealing keys.
struct Station {
    database: TestDatabase,
    keys: String,
}

impl Station {
    fn new(database: TestDatabase, number: u8) -> Self {
        // 32 bytes.
        let key = char::from(b'A' + number).to_string().repeat(42);
        Self {
            database,
            keys: format!("of-{number}:{key}A="),
        }
    }

    fn environment(&self, name: &str) -> Vec<(&'static str, String)> {
        let directory = self.database.directory.path().join(name);
        vec![
            ("TOKEN_SERVER__DATA_DIR", directory.display().to_string()),
            ("TOKEN_SERVER__SEALING__KEYS", self.keys.clone()),
            // On a busy machine a transaction takes its time.
            (
                "TOKEN_SERVER__DATABASE__WRITE_TIMEOUT_MS",
                "60000".to_owned(),
            ),
        ]
    }

    fn serve(&self) -> ServerProcess {
        ServerProcess::start(&self.database, &self.environment("server"))
    }

    /// `import` of another into this one.
    fn import(&self, source: &Station, arguments: &[&str]) -> Command {
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
    async fn due(&self) {
        let due = "UPDATE ts_token SET renew_at = 0 WHERE renew_at IS NOT NULL";
        self.database.run(due).await;
    }

    /// Who renews each token: none where this database does.
    async fn renewers(&self) -> BTreeMap<String, Option<String>> {
        let connection = self.database.connect().await;
        let question = Statement::from_string(
            connection.get_database_backend(),
            "SELECT key_name, lease_owner FROM ts_token",
        );
        let rows = connection.query_all_raw(question).await;
        let row = |row: &sea_orm::QueryResult| {
            let owner: Option<String> = row.try_get_by_index(1).expect("a text");
            let elsewhere = owner.filter(|owner| owner.starts_with("import"));
            (row.try_get_by_index(0).expect("a text"), elsewhere)
        };
        let renewers = rows.expect("the query is good").iter().map(row).collect();
        connection.close().await.expect("the connection closes");
        renewers
    }

    async fn elsewhere(&self) -> usize {
        self.renewers().await.values().flatten().count()
    }

    fn migrate(&self) {
        let mut migrate = command(&self.database, &self.environment("import"));
        let migrated = migrate.arg("migrate").output().expect("the binary starts");
        assert!(migrated.status.success(), "{migrated:?}");
    }

    async fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT COUNT(*) FROM {table}");
        self.database.number(&query).await
    }
}

/// What an import came to.
fn reported(child: Child, code: i32) -> Value {
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(code), "{said}");
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("no report: {said}"))
}

fn imported(target: &Station, source: &Station, arguments: &[&str], code: i32) -> Value {
    let child = target.import(source, arguments).spawn();
    reported(child.expect("the binary starts"), code)
}

/// Never do both renew one token.
async fn nothing_is_renewed_by_both(source: &Station, target: &Station) {
    // The target first: what it takes between the two looks is held in the source before.
    let (here, there) = (target.renewers().await, source.renewers().await);
    for (key, elsewhere) in &here {
        let both = elsewhere.is_none() && there.get(key).is_some_and(Option::is_none);
        assert!(!both, "{key} is renewed by both");
    }
}

/// Callers who read all the time, of the server that they were pointed to.
struct Callers {
    pointed_to: watch::Sender<Client>,
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    fn begin(client: &Client) -> Self {
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

    fn point_to(&self, client: &Client) {
        self.pointed_to.send_replace(client.clone());
    }

    async fn end(self) -> Vec<Sample> {
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
async fn begun(station: &Station, provider: &RotatingProvider) -> ServerProcess {
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
async fn renews_all(station: &Station, client: &Client) {
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

async fn judge(provider: &RotatingProvider, client: &Client, samples: Vec<Sample>) {
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
async fn stations(database: TestDatabase) -> Vec<Station> {
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

async fn two(database: TestDatabase) -> (Station, Station) {
    let mut stations = stations(database).await.into_iter();
    let (source, target) = (stations.next(), stations.next());
    let (source, target) = (source.expect("a station"), target.expect("a station"));
    target.migrate();
    (source, target)
}

/// Follows until the provider has rotated often, then finishes; answers the report.
async fn follow(source: &Station, target: &Station, provider: &RotatingProvider) -> Value {
    let finish = target.database.directory.path().join("finish");
    let file = finish.display().to_string();
    let child = target
        .import(source, &["--follow", "--finish-file", &file])
        .spawn();
    let child = child.expect("the binary starts");
    eventually("everything is copied", async || {
        let is_there = target.renewers().await.len() == KEYS.len();
        is_there.then_some(())
    })
    .await;
    let before = provider.rotations();
    eventually("tokens are renewed meanwhile", async || {
        source.due().await;
        nothing_is_renewed_by_both(source, target).await;
        (provider.rotations() >= before + 3 * KEYS.len()).then_some(())
    })
    .await;
    assert_eq!(
        target.elsewhere().await,
        KEYS.len(),
        "the target renews nothing yet"
    );
    source.due().await;
    match target.database.kind() {
        Kind::Sqlite => std::fs::write(&finish, "").expect("a file can be written"),
        Kind::MySql => signalled(&child, Signal::INT),
    }
    let report = tokio::task::spawn_blocking(|| reported(child, 0)).await;
    report.expect("it is read")
}

fn signalled(child: &Child, signal: Signal) {
    let sent = kill_process(Pid::from_child(child), signal);
    sent.expect("it can be signalled");
}

/// Into MySQL: whoever stands still within a transaction on SQLite lets nobody write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_stood_still_changes_nothing_after_another_has_begun() {
    let database = TestDatabase::sqlite();
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let finish = target.database.directory.path().join("finish");
    let file = finish.display().to_string();
    let arguments = ["--follow", "--finish-file", &file];
    let first = target.import(&source, &arguments).spawn();
    let first = first.expect("the binary starts");
    eventually("everything is copied", async || {
        let is_there = target.renewers().await.len() == KEYS.len();
        is_there.then_some(())
    })
    .await;
    signalled(&first, Signal::STOP);
    imported(&target, &source, &[], 0);
    let new = target.serve();
    renews_all(&target, &new.client).await;
    std::fs::write(&finish, "").expect("a file can be written");
    signalled(&first, Signal::CONT);
    let ended = first.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("another import into this database has begun"),
        "{said}"
    );
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (KEYS.len(), 0)
    );
    renews_all(&target, &new.client).await;
    drop(old);
    judge(&provider, &new.client, Vec::new()).await;
}

async fn databases_are_moved_under_load_and_nobody_notices(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let stations = stations(database).await;
    let mut old = begun(&stations[0], &provider).await;
    let callers = Callers::begin(&old.client);
    for (source, target) in stations.iter().zip(&stations[1..]) {
        let new = target.serve();
        let report = follow(source, target, &provider).await;
        assert_eq!(report["secrets"]["taken"], KEYS.len(), "{report}");
        assert_eq!(report["realms"]["taken"], 1, "{report}");
        // The old server serves until callers are pointed over.
        assert_eq!(source.elsewhere().await, KEYS.len());
        assert_eq!(target.elsewhere().await, 0);
        callers.point_to(&new.client);
        renews_all(target, &new.client).await;
        for table in ["ts_realm", "ts_secret", "ts_token"] {
            assert_eq!(
                target.count(table).await,
                source.count(table).await,
                "{table}"
            );
        }
        drop(std::mem::replace(&mut old, new));
    }
    let samples = callers.end().await;
    judge(&provider, &old.client, samples).await;
}

/// Kills an import once something of it is there.
async fn killed_when(
    source: &Station,
    target: &Station,
    what: &str,
    mut is_so: impl AsyncFnMut() -> bool,
) {
    let child = target
        .import(source, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("the binary starts");
    eventually(what, async || is_so().await.then_some(())).await;
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    nothing_is_renewed_by_both(source, target).await;
}

async fn a_killed_import_leaves_no_token_to_both_and_goes_on(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let new = target.serve();
    let callers = Callers::begin(&old.client);
    killed_when(&source, &target, "a token is copied", async || {
        target.count("ts_token").await > 0
    })
    .await;
    // One whose attempt is under way is waited for while others are handed over.
    provider.hold(Held::Before);
    let asked = provider.received();
    let due = "UPDATE ts_token SET renew_at = 0 WHERE key_name = 'k3'";
    source.database.run(due).await;
    eventually("an attempt is under way", async || {
        (provider.received() > asked).then_some(())
    })
    .await;
    killed_when(&source, &target, "a token is handed over", async || {
        target.elsewhere().await < KEYS.len() && source.elsewhere().await > 0
    })
    .await;
    provider.hold(Held::Nowhere);
    source.due().await;
    let report = imported(&target, &source, &[], 0);
    assert_eq!(report["secrets"]["refused"], 0, "{report}");
    callers.point_to(&new.client);
    renews_all(&target, &new.client).await;
    assert_eq!(source.elsewhere().await, KEYS.len());
    let before = provider.rotations();
    let again = imported(&target, &source, &[], 0);
    assert_eq!(again["secrets"]["unchanged"], KEYS.len(), "{again}");
    assert_eq!(provider.rotations(), before);
    let samples = callers.end().await;
    judge(&provider, &new.client, samples).await;
}

async fn a_move_that_is_given_up_is_renewed_where_it_was(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    imported(&target, &source, &[], 0);
    // As if it had been killed before one of them was copied.
    target
        .database
        .run("DELETE FROM ts_token WHERE key_name = 'k1'")
        .await;
    target
        .database
        .run("DELETE FROM ts_secret WHERE key_name = 'k1'")
        .await;
    let report = imported(&target, &source, &["--release"], 1);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    assert_eq!(report["secrets"]["refused"], KEYS.len() - 1, "{report}");
    assert_eq!(source.elsewhere().await, KEYS.len() - 1);
    nothing_is_renewed_by_both(&source, &target).await;
    let before = old.client.secret("r", "k1").await["generation"]
        .as_i64()
        .expect("a number");
    source.due().await;
    old.client.generation("r", "k1", before + 1).await;
    // It can be moved again.
    let report = imported(&target, &source, &[], 0);
    assert_eq!(report["secrets"]["taken"], 1, "{report}");
    let new = target.serve();
    renews_all(&target, &new.client).await;
    judge(&provider, &new.client, Vec::new()).await;
}

async fn a_finished_move_is_brought_back_by_a_move_the_other_way(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let callers = Callers::begin(&old.client);
    imported(&target, &source, &[], 0);
    let new = target.serve();
    callers.point_to(&new.client);
    renews_all(&target, &new.client).await;
    // A job on the old database finds nothing to renew, and waits for nothing.
    source.due().await;
    let mut job = command(&source.database, &source.environment("job"));
    let ended = job.arg("renew").output().expect("the binary starts");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report = imported(&source, &target, &[], 0);
    assert_eq!(report["secrets"]["taken"], KEYS.len(), "{report}");
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (0, KEYS.len())
    );
    callers.point_to(&old.client);
    renews_all(&source, &old.client).await;
    let samples = callers.end().await;
    judge(&provider, &old.client, samples).await;
}

async fn an_attempt_under_way_is_waited_for_and_what_it_brings_is_moved(database: TestDatabase) {
    let provider = RotatingProvider::start(Reuse::EndsFamily, LIFETIME_S).await;
    let (source, target) = two(database).await;
    let old = begun(&source, &provider).await;
    let new = target.serve();
    provider.hold(Held::After);
    let before = provider.rotations();
    source.due().await;
    eventually("all are rotated", async || {
        (provider.rotations() == before + KEYS.len()).then_some(())
    })
    .await;
    // Nobody waits: all of them stay there.
    let report = imported(&target, &source, &["--wait", "0"], 1);
    assert_eq!(report["secrets"]["refused"], KEYS.len(), "{report}");
    let why = report["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["why"].as_str());
    assert!(
        why.clone()
            .all(|why| why.contains("may still bring its token")),
        "{report}"
    );
    assert_eq!(
        (source.elsewhere().await, target.elsewhere().await),
        (0, KEYS.len())
    );
    let child = target
        .import(&source, &[])
        .spawn()
        .expect("the binary starts");
    provider.hold(Held::Nowhere);
    let report = tokio::task::spawn_blocking(|| reported(child, 0))
        .await
        .expect("it is read");
    assert_eq!(report["secrets"]["refused"], 0, "{report}");
    for key in KEYS {
        let here = new.client.secret("r", key).await["generation"].as_i64();
        assert!(here >= Some(2), "{key}: {here:?}");
    }
    renews_all(&target, &new.client).await;
    drop(old);
    judge(&provider, &new.client, Vec::new()).await;
}

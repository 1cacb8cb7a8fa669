//! Databases: a SQLite file, or a fresh database on a MariaDB server that this test run
//! started itself. `TEST_MYSQL_URL` (a root URL) names another server instead.

use token_server::foundation::ids::SecretId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::KeyRing;
use token_server::token::authentic::authenticate_after;

use super::server::SEALING_KEYS;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement, TransactionTrait,
};
use tempfile::TempDir;

use super::eventually;

/// A table of ten rows, for statements that make many.
pub const DIGITS: &str = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
     UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
     UNION ALL SELECT 8 UNION ALL SELECT 9)";

/// The first of them, and how many: below those of `ip_local_port_range`.
const PORTS: (u32, u32) = (20_000, 12_000);

const PREFIX: &str = "token_server_test_";

/// A database of a test's own, and a directory for everything else it keeps.
pub struct TestDatabase {
    pub url: String,
    pub directory: TempDir,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    MySql,
}

impl TestDatabase {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let file = directory.path().join("token-server.db");
        Self {
            url: format!("sqlite://{}?mode=rwc", file.display()),
            directory,
            kind: Kind::Sqlite,
        }
    }

    pub async fn mysql() -> Self {
        Self::on_server(&mysql_root().await).await
    }

    /// On a server that is running.
    pub async fn on_server(root: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        execute(
            root,
            &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
        )
        .await;
        Self {
            url: format!("{root}/{name}"),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            kind: Kind::MySql,
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A connection beside the server's, to look at rows.
    pub async fn connect(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(&self.url);
        options.max_connections(1).sqlx_logging(false);
        Database::connect(options)
            .await
            .expect("the database can be reached")
    }

    /// Whether a text stands in the clear anywhere in the database.
    pub async fn contains(&self, text: &str) -> bool {
        self.first_of(&[text.to_owned()]).await.is_some()
    }

    /// The first of some texts that stands in the clear anywhere in the database.
    pub async fn first_of<'a>(&self, texts: &'a [String]) -> Option<&'a String> {
        let stored = match self.kind {
            Kind::Sqlite => self.files(),
            Kind::MySql => self.columns().await,
        };
        let stored = String::from_utf8_lossy(&stored);
        texts.iter().find(|text| stored.contains(text.as_str()))
    }

    /// The bytes of the database file and its journal.
    fn files(&self) -> Vec<u8> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the directory is there");
        let files = entries.map(|entry| entry.expect("an entry").path());
        let of_database = files.filter(|path| path.to_string_lossy().contains("token-server.db"));
        of_database
            .flat_map(|path| std::fs::read(path).expect("the file is readable"))
            .collect()
    }

    /// The bytes of every column of every row.
    async fn columns(&self) -> Vec<u8> {
        let connection = self.connect().await;
        let backend = connection.get_database_backend();
        let all = async |sql: String| {
            let statement = Statement::from_string(backend, sql);
            connection
                .query_all_raw(statement)
                .await
                .expect("the query is good")
        };
        let columns = all(
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.columns \
             WHERE table_schema = DATABASE()"
                .to_owned(),
        )
        .await;
        let mut bytes = Vec::new();
        for row in columns {
            let table: String = row.try_get_by_index(0).expect("a table");
            let column: String = row.try_get_by_index(1).expect("a column");
            let values = all(format!(
                "SELECT CAST(`{column}` AS BINARY) FROM `{table}` WHERE `{column}` IS NOT NULL"
            ))
            .await;
            for value in values {
                let value: Vec<u8> = value.try_get_by_index(0).expect("bytes");
                bytes.extend_from_slice(&value);
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// Changes what is stored, as no server would.
    pub async fn run(&self, sql: &str) {
        let connection = self.connect().await;
        let done = connection.execute_unprepared(sql).await;
        done.expect("the statement is good");
        connection.close().await.expect("the connection closes");
    }

    /// Authenticates tokens as they are, so that what was changed counts as what a server stored.
    pub async fn authenticate_tokens(&self) {
        let ring = KeyRing::parse(&SEALING_KEYS.into(), Randomness::seeded(1));
        let ring = ring.expect("a key ring");
        let connection = self.connect().await;
        let mut after = SecretId(i64::MIN);
        loop {
            let transaction = connection.begin().await.expect("a transaction begins");
            let done = authenticate_after(&transaction, &ring, after).await;
            transaction.commit().await.expect("it is committed");
            match done.expect("the database answers") {
                Some((last, _)) => after = last,
                None => break,
            }
        }
        connection.close().await.expect("the connection closes");
    }

    /// One number that a query answers.
    pub async fn number(&self, query: &str) -> i64 {
        let connection = self.connect().await;
        let backend = connection.get_database_backend();
        let row = connection
            .query_one_raw(Statement::from_string(backend, query))
            .await
            .expect("the query is good")
            .expect("the query answers a row");
        row.try_get_by_index(0).expect("the query answers a number")
    }
}

async fn execute(url: &str, sql: &str) {
    let connection = Database::connect(url)
        .await
        .expect("the server can be reached");
    connection
        .execute_unprepared(sql)
        .await
        .expect("the statement is good");
    connection.close().await.expect("the connection closes");
}

/// The URL of the server, without a database, once it answers.
async fn mysql_root() -> String {
    static CLEANED: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    let root = CLEANED.get_or_init(|| async {
        let named = |(name, url): &(String, String)| name == "TEST_MYSQL_URL" && !url.is_empty();
        let root = match std::env::vars().find(named) {
            Some((_, url)) => url.trim_end_matches('/').to_owned(),
            None => spawned().to_owned(),
        };
        let options = || {
            let mut options = ConnectOptions::new(&root);
            options.max_connections(1).sqlx_logging(false);
            options
        };
        let connection = eventually("the MySQL server answers", async || {
            Database::connect(options()).await.ok()
        })
        .await;
        drop_leftovers(&connection).await;
        connection.close().await.expect("the connection closes");
        root
    });
    root.await.clone()
}

/// Databases of earlier runs on a server that outlived them.
async fn drop_leftovers(connection: &DatabaseConnection) {
    let backend = connection.get_database_backend();
    let names = format!(
        "SELECT CAST(schema_name AS CHAR) FROM information_schema.schemata WHERE schema_name LIKE '{PREFIX}%'"
    );
    let rows = connection
        .query_all_raw(Statement::from_string(backend, names))
        .await
        .expect("the schemata can be listed");
    for row in rows {
        let name: String = row.try_get_by_index(0).expect("a schema has a name");
        connection
            .execute_unprepared(&format!("DROP DATABASE {name}"))
            .await
            .expect("a leftover can be dropped");
    }
}

/// Starts MariaDB once for this process.
fn spawned() -> &'static str {
    static SERVER: OnceLock<DatabaseServer> = OnceLock::new();
    SERVER.get_or_init(DatabaseServer::start).url()
}

/// A MariaDB server of this process. It ends with the process, even a killed one.
pub struct DatabaseServer {
    url: String,
    #[allow(dead_code)]
    pid: Arc<AtomicU32>,
    orders: mpsc::Sender<Order>,
}

enum Order {
    /// Ends it by a signal, and says when it has ended.
    End(Signal, mpsc::Sender<()>),
    Start,
}

impl DatabaseServer {
    /// Starts one with data of its own.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with options of its own.
    pub fn start_with(options: &[String]) -> Self {
        let options = options.to_vec();
        let (orders, ordered) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        let pid = Arc::new(AtomicU32::new(0));
        let its_pid = pid.clone();
        thread::spawn(move || {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let port = free_port();
            install(directory.path());
            // `setpriv` has the kernel end the server with the thread that started it, so
            // this thread stays.
            let mut server = run(directory.path(), port, &options);
            its_pid.store(server.id(), Ordering::Relaxed);
            sender.send(port).expect("the test waits for the port");
            for order in ordered {
                match order {
                    Order::End(signal, ended) => {
                        let sent = kill_process(Pid::from_child(&server), signal);
                        sent.expect("the server can be signalled");
                        server.wait().expect("the server ends");
                        let _ = ended.send(());
                    }
                    Order::Start => {
                        server = run(directory.path(), port, &options);
                        its_pid.store(server.id(), Ordering::Relaxed);
                    }
                }
            }
            let _ = server.kill();
            let _ = server.wait();
        });
        let port = receiver
            .recv()
            .expect("MariaDB could be started; `make setup` installs it");
        Self {
            url: format!("mysql://root@127.0.0.1:{port}"),
            pid,
            orders,
        }
    }

    /// Its root URL, without a database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Of its process, now.
    #[allow(dead_code)] // For benchmarks.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Ends it, and waits until it has ended.
    pub fn end(&self, signal: Signal) {
        let (sender, ended) = mpsc::channel();
        self.order(Order::End(signal, sender));
        ended.recv().expect("the server ended");
    }

    /// Starts it on the data that it left.
    pub fn start_again(&self) {
        self.order(Order::Start);
    }

    pub async fn answers(&self) {
        let mut options = ConnectOptions::new(&self.url);
        options.max_connections(1).sqlx_logging(false);
        eventually("the database server answers", async || {
            Database::connect(options.clone()).await.ok()
        })
        .await;
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("its thread stays");
    }
}

fn log(directory: &Path, name: &str) -> std::fs::File {
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).append(true).open(directory.join(name));
    file.expect("a log file can be made")
}

fn install(directory: &Path) {
    let data = directory.join("data");
    let installed = command("mariadb-install-db", directory)
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ])
        .arg(format!("--datadir={}", data.display()))
        .args(as_root())
        .stdout(log(directory, "install.log"))
        .stderr(log(directory, "install.log"))
        .status()
        .expect("mariadb-install-db is installed; `make setup` does that");
    let said = || std::fs::read_to_string(directory.join("install.log"));
    assert!(
        installed.success(),
        "mariadb-install-db failed: {}",
        said().unwrap_or_default()
    );
}

fn run(directory: &Path, port: u16, options: &[String]) -> Child {
    let data = directory.join("data");
    command("setpriv", directory)
        .args([
            "--pdeathsig",
            "TERM",
            "mariadbd",
            "--no-defaults",
            "--skip-log-bin",
        ])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", directory.join("socket").display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--max-connections=1000"])
        .args(options)
        .args(as_root())
        .stdout(Stdio::null())
        .stderr(log(directory, "server.log"))
        .spawn()
        .expect("mariadbd is installed; `make setup` does that")
}

/// Debian keeps mariadbd where not every user looks. A server that starts removes what it takes for
/// an earlier one's temporary tables: each has a directory of its own for them.
fn command(program: &str, temporary: &Path) -> Command {
    let path = std::env::vars()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path);
    let mut command = Command::new(program);
    command.env("TMPDIR", temporary).env(
        "PATH",
        format!("{}:/usr/local/sbin:/usr/sbin", path.unwrap_or_default()),
    );
    command
}

/// mariadbd refuses to run as root unless told to.
fn as_root() -> Option<&'static str> {
    let root = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata("/proc/self").expect("the kernel tells of this process"),
    ) == 0;
    root.then_some("--user=root")
}

/// Not one that the kernel gives to who connects: the server may be started again on it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(31);
    let free = |_| {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.0 + number % PORTS.1).ok()?;
        TcpListener::bind(("127.0.0.1", port))
            .is_ok()
            .then_some(port)
    };
    (0..PORTS.1)
        .find_map(free)
        .expect("loopback has a free port")
}

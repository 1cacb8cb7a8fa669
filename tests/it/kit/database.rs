//! Databases: a SQLite file, or a fresh database on a MariaDB server that this test run
//! started itself. `TEST_MYSQL_URL` (a root URL) names another server instead.

mod migrated;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tempfile::TempDir;
use token_server::foundation::ids::SecretId;
use token_server::foundation::randomness::Randomness;
use token_server::foundation::sealing::KeyRing;
use token_server::token::authentic::authenticate_after;

use super::database_server::spawned;
use super::eventually;
use super::server::SEALING_KEYS;

/// A table of ten rows, for statements that make many.
pub const DIGITS: &str = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
     UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
     UNION ALL SELECT 8 UNION ALL SELECT 9)";

const PREFIX: &str = "token_server_test_";
const SQLITE_FILE: &str = "token-server.db";

fn create(name: &str) -> String {
    format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")
}

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
        let file = directory.path().join(SQLITE_FILE);
        Self {
            url: format!("sqlite://{}?mode=rwc", file.display()),
            directory,
            kind: Kind::Sqlite,
        }
    }

    pub async fn mysql() -> Self {
        Self::on_server(&mysql_root().await).await
    }

    /// With the schema of this version, and nothing in it.
    pub fn migrated_sqlite() -> Self {
        let database = Self::sqlite();
        migrated::write_sqlite(&database.sqlite_file());
        database
    }

    /// The same on MySQL.
    pub async fn migrated_mysql() -> Self {
        let root = mysql_root().await;
        let database = Self::on_server(&root).await;
        execute(&database.url, &migrated::mysql_tables(&root).await).await;
        database
    }

    /// For what begins without a schema.
    pub async fn without_schema(self) -> Self {
        match self.kind {
            Kind::Sqlite => {
                std::fs::write(self.sqlite_file(), "").expect("the file is there");
            }
            Kind::MySql => {
                let (root, name) = self.url.rsplit_once('/').expect("a database's URL");
                let anew = format!("DROP DATABASE {name}; {}", create(name));
                execute(root, &anew).await;
            }
        }
        self
    }

    fn sqlite_file(&self) -> PathBuf {
        self.directory.path().join(SQLITE_FILE)
    }

    /// On a server that is running.
    pub async fn on_server(root: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        execute(root, &create(&name)).await;
        Self {
            url: format!("{root}/{name}"),
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            kind: Kind::MySql,
        }
    }

    /// One that another process has made.
    pub fn at(url: String) -> Self {
        let kind = match url.starts_with("sqlite:") {
            true => Kind::Sqlite,
            false => Kind::MySql,
        };
        Self {
            url,
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
            kind,
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
        let of_database = files.filter(|path| path.to_string_lossy().contains(SQLITE_FILE));
        of_database
            .flat_map(|path| std::fs::read(path).expect("the file is readable"))
            .collect()
    }

    /// The bytes of every column of every row.
    async fn columns(&self) -> Vec<u8> {
        let connection = self.connect().await;
        let mut bytes = Vec::new();
        for (table, column) in self.column_names(&connection).await {
            let values = format!(
                "SELECT CAST(`{column}` AS BINARY) FROM `{table}` WHERE `{column}` IS NOT NULL"
            );
            for value in all(&connection, values).await {
                let value: Vec<u8> = value.try_get_by_index(0).expect("bytes");
                bytes.extend_from_slice(&value);
                bytes.push(b'\n');
            }
        }
        bytes
    }

    /// Table and name of every column.
    async fn column_names(&self, connection: &DatabaseConnection) -> Vec<(String, String)> {
        let names = match self.kind {
            Kind::Sqlite => {
                "SELECT tables.name, columns.name FROM sqlite_master AS tables \
                 JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
            }
            Kind::MySql => {
                "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
                 FROM information_schema.columns WHERE table_schema = DATABASE()"
            }
        };
        let rows = all(connection, names.to_owned()).await;
        let name = |row: &QueryResult, index| row.try_get_by_index(index).expect("a name");
        rows.iter()
            .map(|row| (name(row, 0), name(row, 1)))
            .collect()
    }

    /// The rows of the tables that are `wanted`, each value as it is stored, by the table.
    pub async fn rows(&self, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<Vec<String>>> {
        let connection = self.connect().await;
        let mut columns = BTreeMap::<String, Vec<String>>::new();
        for (table, column) in self.column_names(&connection).await {
            if wanted(&table) {
                let value =
                    format!("CASE WHEN `{column}` IS NULL THEN '-' ELSE HEX(`{column}`) END");
                columns.entry(table).or_default().push(value);
            }
        }
        let mut stored = BTreeMap::new();
        for (table, columns) in columns {
            let select = format!("SELECT {} FROM `{table}`", columns.join(", "));
            let row = |row: QueryResult| {
                let values = (0..columns.len()).map(|index| row.try_get_by_index(index));
                let values: Result<Vec<String>, _> = values.collect();
                values.expect("texts")
            };
            let rows = all(&connection, select).await;
            let mut rows: Vec<_> = rows.into_iter().map(row).collect();
            rows.sort();
            stored.insert(table, rows);
        }
        connection.close().await.expect("the connection closes");
        stored
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
            // A server may write beside it.
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            };
            let transaction = connection.begin_with_options(options).await;
            let transaction = transaction.expect("a transaction begins");
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

async fn all(connection: &DatabaseConnection, query: String) -> Vec<QueryResult> {
    let statement = Statement::from_string(connection.get_database_backend(), query);
    let rows = connection.query_all_raw(statement).await;
    rows.expect("the query is good")
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

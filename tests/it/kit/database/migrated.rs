//! Databases with the schema of this version, which the binary makes once for all tests of a process:
//! most tests begin with one, and its migrations take longer than they do.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use sea_orm::Database;
use tokio::sync::OnceCell;

use super::{Kind, PREFIX, TestDatabase, all, create, execute};
use crate::kit::process::command;

fn migrate(mut command: Command) {
    let migrated = command.arg("migrate").output().expect("the binary starts");
    let said = String::from_utf8_lossy(&migrated.stderr);
    assert!(migrated.status.success(), "it is not migrated: {said}");
}

/// Writes the file of a SQLite database, for its owner only as the server has it.
pub(super) fn write_sqlite(path: &Path) {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let database = TestDatabase::sqlite();
        migrate(command(&database, &[]));
        let file = database.sqlite_file();
        assert!(!file.with_extension("db-wal").exists(), "it is closed");
        std::fs::read(file).expect("the file is readable")
    });
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = std::io::Write::write_all(&mut file.expect("a file can be made"), &FILE);
    written.expect("the file can be written");
}

/// The statements that make the tables of a new database on a MySQL server, and fill those that
/// migrations fill.
pub(super) async fn mysql_tables(root: &str) -> String {
    static STATEMENTS: OnceCell<String> = OnceCell::const_new();
    let statements = STATEMENTS.get_or_init(async || {
        let name = format!("{PREFIX}{}_migrated", std::process::id());
        execute(root, &create(&name)).await;
        let database = TestDatabase::at(format!("{root}/{name}"));
        let command = command(&database, &[]);
        let migrated = tokio::task::spawn_blocking(|| migrate(command)).await;
        migrated.expect("it is migrated");
        copying(&database, &name).await
    });
    statements.await.clone()
}

async fn copying(database: &TestDatabase, name: &str) -> String {
    assert_eq!(database.kind(), Kind::MySql);
    let connection = Database::connect(&database.url).await;
    let connection = connection.expect("the database can be reached");
    let tables = all(&connection, "SHOW TABLES".to_owned()).await;
    let mut statements = Vec::new();
    for table in tables {
        let table: String = table.try_get_by_index(0).expect("a name");
        statements.push(format!("CREATE TABLE `{table}` LIKE `{name}`.`{table}`"));
        let first = format!("SELECT 1 FROM `{table}` LIMIT 1");
        if !all(&connection, first).await.is_empty() {
            let rows = format!("INSERT INTO `{table}` SELECT * FROM `{name}`.`{table}`");
            statements.push(rows);
        }
    }
    connection.close().await.expect("the connection closes");
    statements.join("; ")
}

//! How to reach the database, and its limits.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::address::sqlite_file;
use super::tls::DbTls;

/// How to reach the database, and its limits.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    pub url: SecretString,
    /// Of connections to MySQL.
    pub tls: DbTls,
    /// Connections of one process; SQLite has one more, for writing.
    pub max_connections: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long one write transaction may take.
    pub write_timeout: Duration,
    /// How long a caller's read waits for a database that does not answer.
    pub read_patience: Duration,
}

impl DatabaseSettings {
    /// The file of SQLite.
    pub fn file(&self) -> Option<&Path> {
        sqlite_file(self.url.expose_secret())
    }

    /// How connections are encrypted; none where a file is opened.
    pub fn shown_tls(&self) -> Option<&'static str> {
        self.file().is_none().then(|| self.tls.as_str())
    }
}

//! Why a call to the database failed, in plain words that say what to do.

use std::fmt;
use std::io;

use sea_orm::sqlx::error::{DatabaseError, Error as SqlxError};
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use super::address::{DbAddress, why_not_opened};
use super::handshake;

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutageCause {
    Refused,
    NameNotFound,
    Unreachable,
    TimedOut,
    Lost,
    AccessDenied,
    UnknownDatabase,
    Tls,
    TooManyConnections,
    ShuttingDown,
    DiskFull,
    Locked,
    ReadOnly,
    CannotOpen,
    Damaged,
    NoSchema,
    /// Said by whoever compares the clocks.
    ClockApart,
    Other,
}

impl OutageCause {
    /// As it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::NameNotFound => "name_not_found",
            Self::Unreachable => "host_unreachable",
            Self::TimedOut => "timed_out",
            Self::Lost => "connection_lost",
            Self::AccessDenied => "access_denied",
            Self::UnknownDatabase => "unknown_database",
            Self::Tls => "tls_failed",
            Self::TooManyConnections => "too_many_connections",
            Self::ShuttingDown => "shutting_down",
            Self::DiskFull => "disk_full",
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::CannotOpen => "cannot_open",
            Self::Damaged => "damaged",
            Self::NoSchema => "no_schema",
            Self::ClockApart => "clock_apart",
            Self::Other => "failed",
        }
    }

    /// A word or two that tell nothing of where the database is.
    pub fn in_a_word(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::NameNotFound => "host name not found",
            Self::Unreachable => "host unreachable",
            Self::TimedOut => "timed out",
            Self::Lost => "connection lost",
            Self::AccessDenied => "access denied",
            Self::UnknownDatabase => "unknown database",
            Self::Tls => "TLS failed",
            Self::TooManyConnections => "too many connections",
            Self::ShuttingDown => "shutting down",
            Self::DiskFull => "disk full",
            Self::Locked => "locked",
            Self::ReadOnly => "read-only",
            Self::CannotOpen => "file cannot be opened",
            Self::Damaged => "file damaged",
            Self::NoSchema => "no schema",
            Self::ClockApart => "clocks apart",
            Self::Other => "failed",
        }
    }

    /// Whether a database may have this fault and still answer reads.
    pub(super) fn concerns_writes(self) -> bool {
        matches!(self, Self::DiskFull | Self::Locked | Self::ReadOnly)
    }
}

/// A cause, with what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbFault {
    pub cause: OutageCause,
    words: String,
}

impl fmt::Display for DbFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl DbFault {
    pub(super) fn new(cause: OutageCause, words: impl Into<String>) -> Self {
        Self {
            cause,
            words: words.into(),
        }
    }

    /// What is known of a address makes it plainer.
    pub(super) fn of_orm(error: &DbErr, address: Option<&DbAddress>) -> Self {
        match (error, of_driver(error)) {
            (DbErr::ConnectionAcquire(ConnAcquireErr::Timeout), _)
            | (_, Some(SqlxError::PoolTimedOut)) => Self::new(
                OutageCause::TimedOut,
                "no connection could be had within database.acquire_timeout_ms: the database does not answer, or all of database.max_connections are in use",
            ),
            (DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed), _)
            | (_, Some(SqlxError::PoolClosed)) => {
                Self::new(OutageCause::Lost, "the connections are closed already")
            }
            (_, Some(error)) => Self::of_driver(error, address),
            (_, None) => Self::new(OutageCause::Other, error.to_string()),
        }
    }

    pub(super) fn of_driver(error: &SqlxError, address: Option<&DbAddress>) -> Self {
        if let Some(words) = handshake::why_failed(error) {
            return Self::new(OutageCause::Tls, words);
        }
        match error {
            SqlxError::Io(error) => Self::of_io(error),
            SqlxError::Protocol(_) | SqlxError::WorkerCrashed => {
                Self::new(OutageCause::Lost, "the connection broke off")
            }
            // It may repeat a part of the URL.
            SqlxError::Configuration(_) => Self::new(
                OutageCause::Other,
                "database.url cannot be read; in user and password, characters other than letters, digits, - . _ and ~ are written percent-encoded",
            ),
            SqlxError::Database(error) => match error.try_downcast_ref::<MySqlDatabaseError>() {
                Some(mysql) => Self::of_mysql(mysql.number(), mysql.message(), address),
                None => Self::of_sqlite(&**error, address),
            },
            other => Self::new(OutageCause::Other, other.to_string()),
        }
    }

    fn of_io(error: &io::Error) -> Self {
        let (cause, words) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (
                OutageCause::Refused,
                "the connection is refused: nothing listens there",
            ),
            io::ErrorKind::TimedOut => (OutageCause::TimedOut, "the connection timed out"),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => (
                OutageCause::Unreachable,
                "the host or its network cannot be reached",
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (OutageCause::DiskFull, "the disk is full")
            }
            // The standard library has no kind of its own for it.
            _ if error.to_string().starts_with("failed to lookup address") => (
                OutageCause::NameNotFound,
                "the name of the host is not found",
            ),
            _ => (OutageCause::Lost, "the connection was lost"),
        };
        Self::new(cause, words)
    }

    /// Numbers of the server's errors: the same on MySQL and MariaDB.
    fn of_mysql(number: u16, message: &str, address: Option<&DbAddress>) -> Self {
        let user = address.and_then(|address| address.user.as_deref());
        let user = user.map_or_else(|| "the user".to_owned(), |user| format!("user {user}"));
        let name = address.and_then(|address| address.name.as_deref());
        let name = name.map_or_else(
            || "the database".to_owned(),
            |name| format!("database {name}"),
        );
        match number {
            1045 | 1698 => Self::new(
                OutageCause::AccessDenied,
                format!(
                    "access denied for {user}: wrong password, no such user for this host, or one that must use TLS (database.tls)"
                ),
            ),
            1044 => Self::new(
                OutageCause::AccessDenied,
                format!("access denied for {user} to {name}: grant it the privileges on it"),
            ),
            1142 | 1143 | 1227 | 1370 => Self::new(
                OutageCause::AccessDenied,
                format!("{user} lacks a privilege on {name}: grant it all on it"),
            ),
            1129 | 1130 => Self::new(
                OutageCause::AccessDenied,
                "the server does not let this host connect",
            ),
            3159 => Self::new(
                OutageCause::Tls,
                "the server asks for TLS: set database.tls to required or verify",
            ),
            1049 => Self::new(
                OutageCause::UnknownDatabase,
                format!("there is no {name}: create it"),
            ),
            1040 | 1203 | 1226 => Self::new(
                OutageCause::TooManyConnections,
                "the server has too many connections: raise its max_connections, or lower database.max_connections",
            ),
            1053 | 1927 | 1077 | 1079 => {
                Self::new(OutageCause::ShuttingDown, "the server is shutting down")
            }
            1021 | 1114 => Self::new(OutageCause::DiskFull, "the server's disk is full"),
            3 | 1026 if message.contains(": 28") => {
                Self::new(OutageCause::DiskFull, "the server's disk is full")
            }
            1205 | 1213 => Self::new(
                OutageCause::Locked,
                "the rows are locked by other transactions",
            ),
            1290 | 1792 | 1836 => Self::new(OutageCause::ReadOnly, "the server is read-only"),
            1146 => Self::new(
                OutageCause::NoSchema,
                "a table is missing: bring the schema up to date with token-server migrate",
            ),
            _ => Self::new(
                OutageCause::Other,
                format!("the server says ({number}): {message}"),
            ),
        }
    }

    /// Result codes of SQLite; the low byte of an extended one is its kind.
    fn of_sqlite(error: &dyn DatabaseError, address: Option<&DbAddress>) -> Self {
        let code = error.code().and_then(|code| code.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::new(
                OutageCause::Locked,
                "another process has the database locked",
            ),
            Some(8) => Self::new(
                OutageCause::ReadOnly,
                "the file, its folder or its file system is read-only",
            ),
            Some(13) => Self::new(OutageCause::DiskFull, "the disk is full"),
            Some(11 | 26) => Self::new(
                OutageCause::Damaged,
                "the file is damaged, or is no SQLite database: restore it from a backup",
            ),
            Some(3 | 14 | 23) => {
                let file = address.and_then(|address| address.file.as_deref());
                Self::new(OutageCause::CannotOpen, why_not_opened(file))
            }
            Some(1) if error.message().starts_with("no such table") => Self::new(
                OutageCause::NoSchema,
                "a table is missing: bring the schema up to date with token-server migrate",
            ),
            _ => Self::new(
                OutageCause::Other,
                format!("SQLite says: {}", error.message()),
            ),
        }
    }
}

/// What an error of the library says, where nothing is known of the address.
pub(super) fn in_words(error: &DbErr) -> String {
    DbFault::of_orm(error, None).to_string()
}

pub(super) fn of_driver(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_numbers_are_causes_and_name_user_and_database_but_no_password() {
        let address = DbAddress::of("mysql://app:canary@db:1/tokens");
        for (number, message, cause, said) in [
            (1045, "Access denied", OutageCause::AccessDenied, "user app"),
            (
                1044,
                "Access denied",
                OutageCause::AccessDenied,
                "database tokens",
            ),
            (
                1142,
                "denied",
                OutageCause::AccessDenied,
                "lacks a privilege",
            ),
            (
                1049,
                "Unknown database",
                OutageCause::UnknownDatabase,
                "database tokens",
            ),
            (
                1040,
                "Too many",
                OutageCause::TooManyConnections,
                "max_connections",
            ),
            (1053, "Shutdown", OutageCause::ShuttingDown, "shutting down"),
            (1021, "Disk full", OutageCause::DiskFull, "disk is full"),
            (
                1114,
                "The table is full",
                OutageCause::DiskFull,
                "disk is full",
            ),
            (
                3,
                "Error writing (Errcode: 28)",
                OutageCause::DiskFull,
                "disk is full",
            ),
            (
                3,
                "Error writing (Errcode: 5)",
                OutageCause::Other,
                "Errcode: 5",
            ),
            (1205, "Lock wait timeout", OutageCause::Locked, "locked"),
            (1290, "--read-only", OutageCause::ReadOnly, "read-only"),
            (1146, "No table", OutageCause::NoSchema, "migrate"),
            (3159, "insecure", OutageCause::Tls, "database.tls"),
            (1064, "syntax", OutageCause::Other, "(1064): syntax"),
        ] {
            let fault = DbFault::of_mysql(number, message, Some(&address));
            assert_eq!(fault.cause, cause, "{number}");
            assert!(fault.to_string().contains(said), "{fault}");
            assert!(!fault.to_string().contains("canary"), "{fault}");
        }
    }

    #[test]
    fn what_the_system_says_is_a_cause() {
        for (error, cause) in [
            (
                io::ErrorKind::ConnectionRefused.into(),
                OutageCause::Refused,
            ),
            (io::ErrorKind::TimedOut.into(), OutageCause::TimedOut),
            (
                io::ErrorKind::HostUnreachable.into(),
                OutageCause::Unreachable,
            ),
            (io::ErrorKind::UnexpectedEof.into(), OutageCause::Lost),
            (io::ErrorKind::StorageFull.into(), OutageCause::DiskFull),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                OutageCause::NameNotFound,
            ),
        ] {
            assert_eq!(DbFault::of_io(&error).cause, cause, "{error}");
        }
    }
}

//! Connects: pools for SQLite, MySQL and clusters of MySQL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, sqlx,
};
use secrecy::ExposeSecret;
use url::Url;

use super::address::{DbAddress, has_stray_password, sqlite_file};
use super::cause::{DbFault, OutageCause};
use super::outage::{Outage, why_unreachable};
use super::{Database, DatabaseSettings, DbError, retry};
use crate::foundation::clock::SharedClock;
use crate::foundation::private;

/// Below any server's `wait_timeout`, so that a pooled connection is never a dead one.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Connections for causal reads, beside the others; on a cluster only.
const CAUSAL_CONNECTIONS: u32 = 4;
/// What is left of a transaction that another node aborted is not committed bit by bit.
const NOTHING_BY_ITSELF: &str = "SET SESSION autocommit = 0";
/// How long a SQLite statement waits for another process's lock.
const SQLITE_BUSY: Duration = Duration::from_secs(5);

/// Why the database cannot be used. The address may hold a password and is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("database.url must begin with sqlite:// or mysql://")]
    Scheme,
    #[error(
        "database.url names an in-memory SQLite database; tokens must outlive the process: name a file"
    )]
    InMemory,
    #[error("the directory of the SQLite file, {path}, cannot be made: {source}")]
    Directory {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "database.url: its password holds a /, ? or #; write them %2F, %3F and %23, and a % as %25"
    )]
    StrayPassword,
    #[error("the database {address} cannot be used: {fault}")]
    Unusable {
        address: Box<DbAddress>,
        fault: DbFault,
    },
}

impl Database {
    pub async fn connect(
        settings: &DatabaseSettings,
        clock: SharedClock,
    ) -> Result<Self, ConnectError> {
        let url = settings.url.expose_secret();
        let address = DbAddress::of(url);
        let outage = Outage::new(clock, address.clone(), settings);
        let connected = if let Some(file) = sqlite_file(url) {
            make_directory(url, file)?;
            Self::connect_sqlite(settings, outage).await
        } else if url.starts_with("mysql://") {
            if Url::parse(url).is_ok_and(|url| has_stray_password(&url)) {
                return Err(ConnectError::StrayPassword);
            }
            Self::connect_mysql(settings, outage).await
        } else {
            return Err(ConnectError::Scheme);
        };
        match connected {
            Ok(database) => Ok(database),
            Err(error) => {
                let mut fault = DbFault::of(&error, &address);
                // The pool does not say why it has no connection.
                if fault.cause == OutageCause::TimedOut
                    && let Some(found) = why_unreachable(
                        &settings.url,
                        &settings.tls,
                        &address,
                        settings.acquire_timeout,
                    )
                    .await
                {
                    fault = found;
                }
                Err(ConnectError::Unusable {
                    address: Box::new(address),
                    fault,
                })
            }
        }
    }

    async fn connect_sqlite(
        settings: &DatabaseSettings,
        outage: Arc<Outage>,
    ) -> Result<Self, DbError> {
        let pool_of = |connections: u32| {
            let mut options = base_options(settings);
            options
                .max_connections(connections)
                .max_lifetime(None::<Duration>)
                .idle_timeout(None::<Duration>)
                .map_sqlx_sqlite_opts(|sqlite| {
                    sqlite
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .busy_timeout(SQLITE_BUSY)
                        .foreign_keys(false)
                });
            options
        };
        // Two processes that make the file at the same time meet a lock that no busy
        // timeout covers: the switch to write-ahead logging.
        let open = async |connections| {
            retry::lost_races(|| async {
                Ok::<_, DbError>(sea_orm::Database::connect(pool_of(connections)).await?)
            })
            .await
        };
        // The writer first: it makes the file and its journal.
        let writer = open(1).await?;
        let reader = open(settings.max_connections).await?;
        Ok(Self {
            causal: reader.clone(),
            reader,
            transactions: writer.clone(),
            writer,
            write_timeout: settings.write_timeout,
            read_patience: settings.read_patience,
            begin_timeout: settings.acquire_timeout + settings.write_timeout,
            in_cluster: false,
            outage,
        })
    }

    async fn connect_mysql(
        settings: &DatabaseSettings,
        outage: Arc<Outage>,
    ) -> Result<Self, DbError> {
        let mut options = base_options(settings);
        options
            .max_connections(settings.max_connections)
            .max_lifetime(CONNECTION_LIFETIME);
        let pool = sea_orm::Database::connect(options).await?;
        let cluster = cluster_of(&pool).await?;
        let (causal, transactions) = match cluster {
            None => (pool.clone(), pool.clone()),
            Some(cluster) => (
                pool_of(settings, CAUSAL_CONNECTIONS, cluster.reads_wait()).await?,
                pool_of(settings, settings.max_connections, NOTHING_BY_ITSELF).await?,
            ),
        };
        let database = Self {
            reader: pool.clone(),
            writer: pool,
            causal,
            transactions,
            write_timeout: settings.write_timeout,
            read_patience: settings.read_patience,
            begin_timeout: settings.acquire_timeout + settings.write_timeout,
            in_cluster: cluster.is_some(),
            outage,
        };
        database.warn_of_lost_commits().await;
        Ok(database)
    }

    /// A power cut loses committed tokens unless InnoDB flushes at each commit.
    async fn warn_of_lost_commits(&self) {
        let question = Statement::from_string(
            DbBackend::MySql,
            "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED) AS flush",
        );
        let answer = self.reader.query_one_raw(question).await;
        let flush = answer
            .ok()
            .flatten()
            .and_then(|row| row.try_get::<i64>("", "flush").ok());
        if flush != Some(1) {
            tracing::warn!(
                name: "database.not_durable",
                innodb_flush_log_at_trx_commit = flush,
                "the database does not flush at each commit: a power cut can lose tokens; set innodb_flush_log_at_trx_commit=1"
            );
        }
    }
}

/// Databases of several nodes, where a read may not see what another node committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cluster {
    Galera,
    GroupReplication,
}

impl Cluster {
    /// Makes each read of a session wait for what was committed before it.
    fn reads_wait(self) -> &'static str {
        match self {
            Self::Galera => "SET SESSION wsrep_sync_wait = 1",
            Self::GroupReplication => "SET SESSION group_replication_consistency = 'BEFORE'",
        }
    }
}

async fn cluster_of(pool: &DatabaseConnection) -> Result<Option<Cluster>, DbErr> {
    let question = Statement::from_string(
        DbBackend::MySql,
        "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'wsrep_on' AND Value = 'ON') \
         OR (Variable_name = 'group_replication_group_name' AND Value <> '')",
    );
    let Some(row) = pool.query_one_raw(question).await? else {
        return Ok(None);
    };
    let name: String = row.try_get_by_index(0)?;
    Ok(Some(match name.as_str() {
        "wsrep_on" => Cluster::Galera,
        _ => Cluster::GroupReplication,
    }))
}

/// Connections on which a statement was run first; opened when the first is needed.
async fn pool_of(
    settings: &DatabaseSettings,
    connections: u32,
    first: &'static str,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = base_options(settings);
    options
        .max_connections(connections)
        .max_lifetime(CONNECTION_LIFETIME)
        .connect_lazy(true)
        .map_sqlx_mysql_pool_opts(move |pool| {
            pool.after_connect(move |connection, _| {
                Box::pin(async move {
                    sqlx::Executor::execute(connection, first).await?;
                    Ok(())
                })
            })
        });
    sea_orm::Database::connect(options).await
}

fn base_options(settings: &DatabaseSettings) -> ConnectOptions {
    let mut options = ConnectOptions::new(settings.url.expose_secret());
    let tls = settings.tls.clone();
    options
        .map_sqlx_mysql_opts(move |mysql| tls.apply(mysql))
        .acquire_timeout(settings.acquire_timeout)
        .connect_timeout(settings.acquire_timeout)
        .sqlx_logging(false);
    options
}

/// Makes the directory that the file of `sqlite:[//]FILE[?…]` stands in.
fn make_directory(url: &str, file: &Path) -> Result<(), ConnectError> {
    let in_memory = file.as_os_str().is_empty() || file == Path::new(":memory:");
    if in_memory || url.contains("mode=memory") {
        return Err(ConnectError::InMemory);
    }
    match file.parent() {
        Some(directory) => {
            private::make_directory(directory).map_err(|source| ConnectError::Directory {
                path: directory.display().to_string(),
                source,
            })
        }
        None => Ok(()),
    }
}

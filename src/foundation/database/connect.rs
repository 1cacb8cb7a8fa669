use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement, sqlx};
use secrecy::ExposeSecret;

use super::{Database, DatabaseSettings, DbError, retry};

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
    #[error("the database cannot be reached: {0}")]
    Unreachable(DbError),
}

impl Database {
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, ConnectError> {
        let url = settings.url.expose_secret();
        if let Some(rest) = url.strip_prefix("sqlite:") {
            make_directory(rest)?;
            Self::connect_sqlite(settings).await
        } else if url.starts_with("mysql://") {
            Self::connect_mysql(settings).await
        } else {
            Err(ConnectError::Scheme)
        }
    }

    async fn connect_sqlite(settings: &DatabaseSettings) -> Result<Self, ConnectError> {
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
                Ok(sea_orm::Database::connect(pool_of(connections)).await?)
            })
            .await
            .map_err(ConnectError::Unreachable)
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
        })
    }

    async fn connect_mysql(settings: &DatabaseSettings) -> Result<Self, ConnectError> {
        let mut options = base_options(settings);
        options
            .max_connections(settings.max_connections)
            .max_lifetime(CONNECTION_LIFETIME);
        let pool = sea_orm::Database::connect(options)
            .await
            .map_err(|error| ConnectError::Unreachable(error.into()))?;
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

async fn cluster_of(pool: &DatabaseConnection) -> Result<Option<Cluster>, ConnectError> {
    let question = Statement::from_string(
        DbBackend::MySql,
        "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'wsrep_on' AND Value = 'ON') \
         OR (Variable_name = 'group_replication_group_name' AND Value <> '')",
    );
    let found = pool
        .query_one_raw(question)
        .await
        .map_err(|error| ConnectError::Unreachable(error.into()))?;
    let Some(row) = found else {
        return Ok(None);
    };
    let name: String = row
        .try_get_by_index(0)
        .map_err(|error| ConnectError::Unreachable(error.into()))?;
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
) -> Result<DatabaseConnection, ConnectError> {
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
    sea_orm::Database::connect(options)
        .await
        .map_err(|error| ConnectError::Unreachable(error.into()))
}

fn base_options(settings: &DatabaseSettings) -> ConnectOptions {
    let mut options = ConnectOptions::new(settings.url.expose_secret());
    options
        .acquire_timeout(settings.acquire_timeout)
        .connect_timeout(settings.acquire_timeout)
        .sqlx_logging(false);
    options
}

/// Makes the directory that the file of `sqlite:[//]FILE[?…]` stands in.
fn make_directory(rest: &str) -> Result<(), ConnectError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (file, query) = rest.split_once('?').unwrap_or((rest, ""));
    if file.is_empty() || file == ":memory:" || query.contains("mode=memory") {
        return Err(ConnectError::InMemory);
    }
    match Path::new(file).parent() {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|source| ConnectError::Directory {
                path: directory.display().to_string(),
                source,
            })
        }
        None => Ok(()),
    }
}

//! The database: one handle for reading, one way to write, on SQLite and MySQL alike.

mod address;
mod cause;
mod connect;
mod error;
mod handshake;
mod lists;
mod migrate;
mod outage;
mod paging;
mod retry;
mod settings;
mod tls;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use token_server_entity::lock;

use crate::foundation::clock::EpochMs;
use crate::foundation::limit::while_running;
pub use address::DbAddress;
pub use cause::DbFault;
pub use connect::ConnectError;
pub use error::{Abort, DbError};
pub use lists::{padded, pieces};
pub use migrate::Schema;
use outage::Outage;
pub use paging::{delete_in_pieces, delete_some, one_page, rows_after};
pub use retry::{is_bad_value, is_duplicate};
pub use settings::DatabaseSettings;
pub use tls::{Authorities, DbTls, TlsPlan, WantedTls};

/// A COMMIT may wait for a disk; after that long its server has vanished.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Says that what `work` borrows outlives the transaction.
pub type Within<'t, 'env> = PhantomData<&'t &'env ()>;

/// What is done in one transaction: `|transaction, _| Box::pin(async move { … })`, over
/// borrowed values only, because it may run more than once.
pub trait Work<'env, T, E>:
    for<'t> Fn(&'t DatabaseTransaction, Within<'t, 'env>) -> BoxFuture<'t, Result<T, E>> + Send + Sync
{
}

impl<'env, T, E, F> Work<'env, T, E> for F where
    F: for<'t> Fn(&'t DatabaseTransaction, Within<'t, 'env>) -> BoxFuture<'t, Result<T, E>>
        + Send
        + Sync
{
}

/// An open database.
#[derive(Clone, Debug)]
pub struct Database {
    reader: DatabaseConnection,
    /// SQLite: a pool of one connection, because it has one writer. MySQL: the reader.
    writer: DatabaseConnection,
    /// Its reads wait for all that other nodes of a cluster have committed before.
    causal: DatabaseConnection,
    /// For transactions. On a cluster these connections commit nothing by themselves.
    transactions: DatabaseConnection,
    write_timeout: Duration,
    read_patience: Duration,
    /// A free connection, and one statement.
    begin_timeout: Duration,
    /// Whether other nodes can abort a transaction of this one.
    in_cluster: bool,
    outage: Arc<Outage>,
}

/// Stands at the begin of a transaction, and is gone if that was rolled back. Galera rolls
/// back whoever is in the way of another node's commit, and not every statement that follows
/// says so: the rest would run without what came before, and COMMIT succeed.
const MARK: &str = "SAVEPOINT begun";
const STILL_MARKED: &str = "RELEASE SAVEPOINT begun";

impl Database {
    /// For single statements that read. Never hold it across [`Database::write`].
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For single statements that read what decides: they see all that was committed
    /// before, on whatever node. Slower than [`Database::reader`] on a cluster only.
    pub fn causal(&self) -> &DatabaseConnection {
        &self.causal
    }

    pub fn backend(&self) -> DbBackend {
        self.reader.get_database_backend()
    }

    /// Runs a read that a caller waits for. While the database cannot be reached, as when
    /// it is restarted, it is tried again.
    pub async fn read_with_retry<'a, T, Fut>(
        &'a self,
        mut read: impl FnMut(&'a DatabaseConnection) -> Fut,
    ) -> Result<T, DbError>
    where
        Fut: Future<Output = Result<T, DbErr>>,
    {
        let reading = retry::outages(|| read(&self.reader));
        let read = while_running(self.read_patience, reading)
            .await
            .unwrap_or(Err(DbError::Unanswered(self.read_patience)))?;
        self.outage.answers(false);
        Ok(read)
    }

    /// Runs a write that needs no transaction, and does no harm when it is repeated. Lost
    /// races are tried again, as by [`Database::write`].
    pub async fn write_alone<'a, T, Fut>(
        &'a self,
        mut write: impl FnMut(&'a DatabaseConnection) -> Fut,
    ) -> Result<T, DbError>
    where
        Fut: Future<Output = Result<T, DbErr>>,
    {
        let written = retry::lost_races(|| {
            let writing = write(&self.writer);
            async { Ok::<_, DbError>(writing.await?) }
        })
        .await?;
        self.outage.answers(true);
        Ok(written)
    }

    /// Runs `work` in one write transaction and commits it. Lost races (deadlock, lock
    /// wait, refused certification, busy) are tried again as a whole, so `work` must
    /// have no effect but on the transaction. Whatever error `work` ends with, nothing of it is
    /// kept: what is to be committed although the answer is no is a value.
    pub async fn write<'env, T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: Work<'env, T, E>,
        T: Send,
        E: Abort,
    {
        let written = retry::lost_races(|| self.write_once(&work)).await;
        if !matches!(&written, Err(error) if error.failure().is_some()) {
            self.outage.answers(true);
        }
        written
    }

    async fn write_once<'env, T, E, F>(&self, work: &F) -> Result<T, E>
    where
        F: Work<'env, T, E>,
        T: Send,
        E: Abort,
    {
        let begun = self.transactions.begin_with_options(self.options());
        let Ok(transaction) = tokio::time::timeout(self.begin_timeout, begun).await else {
            return Err(DbError::Unanswered(self.begin_timeout).into());
        };
        let transaction = transaction?;
        let worked = tokio::time::timeout(self.write_timeout, self.whole(&transaction, work)).await;
        let Ok(worked) = worked else {
            return Err(DbError::TimedOut(self.write_timeout).into());
        };
        match worked {
            Ok(value) => {
                let committed = tokio::time::timeout(COMMIT_TIMEOUT, transaction.commit());
                match committed.await {
                    Ok(committed) => committed.map_err(retry::commit_failed)?,
                    Err(_elapsed) => Err(DbError::OutcomeUnknown(unanswered_commit()))?,
                }
                Ok(value)
            }
            Err(error) => {
                // The connection's next use rolls back what an error leaves open.
                let _ = tokio::time::timeout(COMMIT_TIMEOUT, transaction.rollback()).await;
                Err(error)
            }
        }
    }

    /// Does the work, and sees that all of it was done in this one transaction.
    async fn whole<'env, T, E, F>(
        &self,
        transaction: &DatabaseTransaction,
        work: &F,
    ) -> Result<T, E>
    where
        F: Work<'env, T, E>,
        E: Abort,
    {
        if self.in_cluster {
            transaction.execute_unprepared(MARK).await?;
        }
        let worked = work(transaction, PhantomData).await;
        let failed = matches!(&worked, Err(error) if error.failure().is_some());
        // What a refusal has seen may be of no transaction, too.
        if self.in_cluster && !failed {
            transaction.execute_unprepared(STILL_MARKED).await?;
        }
        worked
    }

    fn options(&self) -> TransactionOptions {
        match self.backend() {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            },
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::ReadCommitted),
                ..Default::default()
            },
        }
    }

    /// Whether the database answers. A question about no table would be answered by SQLite
    /// without a look at its file.
    pub async fn ping(&self) -> Result<(), DbErr> {
        lock::Entity::find().one(&self.reader).await.map(|_| ())
    }

    /// The wall clock of a database on another machine; none where there is no other.
    pub async fn wall_clock(&self) -> Result<Option<EpochMs>, DbErr> {
        if self.backend() == DbBackend::Sqlite {
            return Ok(None);
        }
        let question = "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
        let answer = self
            .reader
            .query_one_raw(Statement::from_string(self.backend(), question))
            .await?;
        let now = answer.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(now.map(EpochMs))
    }

    /// Closes the connections; SQLite checkpoints its log.
    pub async fn close(&self) {
        let _ = self.reader.clone().close().await;
        let _ = self.writer.clone().close().await;
        let _ = self.causal.clone().close().await;
        let _ = self.transactions.clone().close().await;
    }
}

impl Database {
    /// Has the log say that a call failed, and why, unless it has just said so.
    pub fn failed(&self, error: &DbError, doing: &'static str) {
        self.outage.fails(error, doing);
    }

    /// A read succeeded that went past this handle's own methods.
    pub fn answered(&self) {
        self.outage.answers(false);
    }

    /// Why it fails, without saying where it is.
    pub fn why_in_a_word(&self, error: &DbError) -> &'static str {
        self.outage.why_in_a_word(error)
    }

    /// Where it is, without the password.
    pub fn address(&self) -> &DbAddress {
        &self.outage.address
    }
}

fn unanswered_commit() -> DbErr {
    DbErr::Custom(format!(
        "no answer to COMMIT within {} s",
        COMMIT_TIMEOUT.as_secs()
    ))
}

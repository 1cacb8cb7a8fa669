//! The one place that tries lost races again.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sea_orm::sqlx::error::Error as SqlxError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{DbErr, SqlErr};

use super::cause::of_driver;
use super::error::{Abort, DbError};

/// Deadlock, lock wait, Galera not ready and certification, read-only during failover,
/// Group Replication's refusal, and a savepoint that went with its transaction.
const MYSQL_LOST_RACES: [u16; 8] = [1213, 1205, 1047, 1180, 1290, 1836, 3101, 1305];
/// Shutdown in progress, connection killed.
const MYSQL_OUTAGES: [u16; 2] = [1053, 1927];
/// SQLITE_BUSY and its extended codes (low byte 5).
const SQLITE_BUSY: i32 = 5;
const TRIES: usize = 8;

pub(super) async fn lost_races<T, E, Fut>(attempt: impl FnMut() -> Fut) -> Result<T, E>
where
    E: Abort,
    Fut: Future<Output = Result<T, E>>,
{
    attempt
        .retry(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(5))
                .with_max_delay(Duration::from_millis(500))
                .with_max_times(TRIES)
                .with_jitter(),
        )
        .when(|error: &E| matches!(error.failure(), Some(DbError::Failed(error)) if is_lost_race(error)))
        .await
}

/// Tries a read again for as long as the database cannot be reached.
pub(super) async fn outages<T, Fut>(mut read: impl FnMut() -> Fut) -> Result<T, DbError>
where
    Fut: Future<Output = Result<T, DbErr>>,
{
    let attempt = || {
        let reading = read();
        async { Ok(reading.await?) }
    };
    attempt
        .retry(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(20))
                .with_max_delay(Duration::from_millis(250))
                .without_max_times()
                .with_jitter(),
        )
        .when(|error| matches!(error, DbError::Failed(error) if is_outage(error) || is_lost_race(error)))
        .await
}

/// A refused COMMIT changed nothing; after any other error nobody knows.
pub(super) fn commit_failed(error: DbErr) -> DbError {
    if is_lost_race(&error) {
        DbError::Failed(error)
    } else {
        DbError::OutcomeUnknown(error)
    }
}

/// Whether an insert met a row with the same unique key.
pub fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// Whether the database refuses a value as such (SQLSTATE class 22): the same statement will never
/// do.
pub fn is_bad_value(error: &DbErr) -> bool {
    let Some(SqlxError::Database(error)) = of_driver(error) else {
        return false;
    };
    error.code().is_some_and(|code| code.starts_with("22"))
}

/// Whether the server is away, going or coming.
fn is_outage(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return true;
    }
    let Some(error) = of_driver(error) else {
        return false;
    };
    match error {
        SqlxError::Io(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::WorkerCrashed => true,
        SqlxError::Database(error) => error
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|mysql| MYSQL_OUTAGES.contains(&mysql.number())),
        _ => false,
    }
}

fn is_lost_race(error: &DbErr) -> bool {
    let Some(SqlxError::Database(error)) = of_driver(error) else {
        return false;
    };
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return MYSQL_LOST_RACES.contains(&mysql.number());
    }
    error
        .code()
        .and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

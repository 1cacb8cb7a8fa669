//! The one place that tries lost races again.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use sea_orm::sqlx::error::Error as SqlxError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

use super::DbError;

/// Deadlock, lock wait, Galera not ready and certification, read-only during failover,
/// Group Replication's refusal.
const MYSQL_LOST_RACES: [u16; 7] = [1213, 1205, 1047, 1180, 1290, 1836, 3101];
/// SQLITE_BUSY and its extended codes (low byte 5).
const SQLITE_BUSY: i32 = 5;
const TRIES: usize = 8;

pub(super) async fn lost_races<T, Fut>(attempt: impl FnMut() -> Fut) -> Result<T, DbError>
where
    Fut: Future<Output = Result<T, DbError>>,
{
    attempt
        .retry(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(5))
                .with_max_delay(Duration::from_millis(500))
                .with_max_times(TRIES)
                .with_jitter(),
        )
        .when(|error| matches!(error, DbError::Failed(error) if is_lost_race(error)))
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

fn is_lost_race(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let SqlxError::Database(error) = error.as_ref() else {
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

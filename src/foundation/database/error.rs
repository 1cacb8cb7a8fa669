//! A failed call to the database, and what is told of it.

use std::time::Duration;

use sea_orm::DbErr;

use super::address::DbAddress;
use super::cause::{DbFault, OutageCause, in_words};
use crate::foundation::clock::Ms;

/// A failed call to the database. What it says is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Nothing was changed.
    #[error("{}", in_words(.0))]
    Failed(#[from] DbErr),
    /// The connection broke during COMMIT: the change may have been made.
    #[error("the database did not say whether it committed: {}", in_words(.0))]
    OutcomeUnknown(DbErr),
    /// Nothing was changed.
    #[error(
        "this replica's clock is {} ms from the database's: no token is claimed until they agree; have both follow a time server", .0.0
    )]
    ClockApart(Ms),
    /// Nothing was changed.
    #[error("a write transaction took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the database did not answer within {} ms", .0.as_millis())]
    Unanswered(Duration),
}

/// Why a transaction is rolled back: the database failed, or what is done in it refuses.
pub trait Abort: From<DbErr> + From<DbError> + Send {
    /// The failure of the database; none where the work refuses.
    fn failure(&self) -> Option<&DbError>;
}

impl Abort for DbError {
    fn failure(&self) -> Option<&DbError> {
        Some(self)
    }
}

impl DbFault {
    /// Why a call failed.
    pub fn of(error: &DbError, address: &DbAddress) -> Self {
        match error {
            DbError::Failed(error) => Self::of_orm(error, Some(address)),
            DbError::OutcomeUnknown(inner) => {
                let fault = Self::of_orm(inner, Some(address));
                Self::new(fault.cause, error.to_string())
            }
            DbError::ClockApart(_) => Self::new(OutageCause::ClockApart, error.to_string()),
            DbError::TimedOut(_) | DbError::Unanswered(_) => {
                Self::new(OutageCause::TimedOut, error.to_string())
            }
        }
    }
}

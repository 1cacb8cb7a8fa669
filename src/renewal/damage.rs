//! Values that were damaged where they are stored. What can be obtained again is treated as if
//! it were not there; what cannot be needs a human, who is told what to do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::DbErr;

use crate::foundation::database::Database;
use crate::foundation::metrics::{DamageLabels, Metrics};
use crate::foundation::sealing::{KeyRing, OpenError};
use crate::foundation::sealing_keys;
use crate::realm::failure::Failure;
use crate::token::TokenRecord;

/// Damaged values that are remembered, so that each is told once; then all are forgotten.
const TOLD_MAX: usize = 10_000;

/// What the detail of a failure begins with where a value is damaged that nobody issues again.
pub(crate) const DAMAGED: &str = "damaged: ";

/// Damaged values that the log was told of: table, row, column, and which value it was.
#[derive(Default)]
struct Told(Mutex<HashSet<(&'static str, String, &'static str, u64)>>);

impl Told {
    fn is_new(&self, error: &OpenError) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert((error.table, error.row.clone(), error.column, error.digest))
    }
}

/// What a human must do about a damaged value that no provider issues again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    Realm,
    Params,
    RefreshToken,
    FixedToken,
}

impl Remedy {
    fn text(self) -> &'static str {
        match self {
            Self::Realm => "look at the realm, and save it again as a whole",
            Self::Params => "save the secret's parameters again, all of them",
            Self::RefreshToken => "give the secret another refresh token",
            Self::FixedToken => "store the token again (PUT /api/token)",
        }
    }

    /// Says what is damaged, and what to do. The same each time, so that it is told once.
    pub(crate) fn failure(self, error: &OpenError) -> Failure {
        let OpenError {
            table, row, column, ..
        } = error;
        let todo = self.text();
        Failure::internal(format!(
            "{DAMAGED}{table}.{column} of row {row} cannot be opened any more; {todo}"
        ))
    }
}

/// Finds out whether what stays closed is damaged, and tells of each value once.
pub(crate) struct DamageDetector {
    database: Database,
    ring: Arc<KeyRing>,
    metrics: Arc<Metrics>,
    told: Told,
}

impl DamageDetector {
    pub(super) fn new(database: Database, ring: Arc<KeyRing>, metrics: Arc<Metrics>) -> Self {
        Self {
            database,
            ring,
            metrics,
            told: Told::default(),
        }
    }

    /// Whether a value that stays closed is damaged; false where another replica may have its
    /// key. Each damaged value is logged and counted once.
    pub(crate) async fn is_damaged(&self, error: &OpenError) -> Result<bool, DbErr> {
        let damaged = sealing_keys::is_damaged(self.database.causal(), error).await?;
        if damaged {
            self.tell_damage(error);
        }
        Ok(damaged)
    }

    fn tell_damage(&self, error: &OpenError) {
        if !self.told.is_new(error) {
            return;
        }
        let (table, column) = (error.table, error.column);
        tracing::warn!(
            name: "damage.found",
            table, row = error.row, column, why = %error.why,
            "a stored value is damaged"
        );
        self.metrics
            .damaged_values
            .get_or_create(&DamageLabels { table, column })
            .inc();
    }

    /// A value that can be obtained again; none where it is damaged.
    pub(crate) async fn unless_damaged<T, E>(
        &self,
        opened: Result<T, OpenError>,
    ) -> Result<Option<T>, E>
    where
        E: From<OpenError> + From<DbErr>,
    {
        match opened {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.is_damaged(&error).await? => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A value that nobody issues again: where it is damaged, a human is needed.
    pub(crate) async fn unless_lost<T, E>(
        &self,
        opened: Result<T, OpenError>,
        remedy: Remedy,
    ) -> Result<T, E>
    where
        E: From<OpenError> + From<DbErr> + From<Failure>,
    {
        match opened {
            Err(error) if self.is_damaged(&error).await? => Err(remedy.failure(&error).into()),
            other => Ok(other?),
        }
    }

    /// The record, without its token where any part of that is damaged: as if none were stored.
    pub(crate) async fn without_damaged_token(
        &self,
        record: TokenRecord,
    ) -> Result<TokenRecord, DbErr> {
        let mut damaged = false;
        for error in record.closed(&self.ring) {
            damaged |= self.is_damaged(&error).await?;
        }
        Ok(TokenRecord {
            held: record.held.filter(|_| !damaged),
            ..record
        })
    }
}

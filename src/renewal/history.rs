//! The history of attempts.

use std::collections::{BTreeMap, HashSet};

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Order, QueryFilter,
    QueryOrder, QuerySelect,
};
use strum::VariantArray;
use token_server_entity::renewal::{self, Column, Entity};

use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::database::{delete_some, one_page, pieces, rows_after};
use crate::foundation::ids::{AttemptId, Generation, KeyName, RealmId, ReplicaId};
use crate::foundation::page::{Listed, Page};
use crate::foundation::pattern::Coverage;
use crate::realm::failure::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum RenewalOutcome {
    Stored,
    Failed,
    Discarded,
}

impl RenewalOutcome {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Discarded => "discarded",
        }
    }
}

/// One attempt, before its outcome is known.
#[derive(Clone, Debug)]
pub struct RenewalEntry {
    pub realm: RealmId,
    pub key: KeyName,
    pub attempt: AttemptId,
    pub cause: &'static str,
    pub started_at: EpochMs,
    pub took: Ms,
    pub replica: ReplicaId,
}

/// One attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    pub entry: &'a RenewalEntry,
    pub outcome: RenewalOutcome,
    pub failure: Option<&'a Failure>,
    /// Of the token that was stored.
    pub generation: Option<Generation>,
}

pub async fn append(database: &impl ConnectionTrait, ended: &[Ended<'_>]) -> Result<(), DbErr> {
    for ended in pieces(ended) {
        Entity::insert_many(ended.iter().map(row))
            .exec_without_returning(database)
            .await?;
    }
    Ok(())
}

fn row(ended: &Ended<'_>) -> renewal::ActiveModel {
    let Ended {
        entry,
        outcome,
        failure,
        generation,
    } = ended;
    renewal::ActiveModel {
        id: NotSet,
        realm_id: Set(entry.realm.as_str().to_owned()),
        key_name: Set(entry.key.as_str().to_owned()),
        attempt_id: Set(entry.attempt.0.clone()),
        cause: Set(entry.cause.to_owned()),
        outcome: Set(outcome.as_str().to_owned()),
        class: Set(failure.map(|failure| failure.class.as_str().to_owned())),
        detail: Set(failure.map(|failure| failure.detail.clone())),
        generation: Set(generation.map(|generation| generation.0)),
        started_at: Set(entry.started_at),
        duration_ms: Set(entry.took.0),
        replica: Set(entry.replica.0.clone()),
    }
}

#[derive(Clone, Debug, Default)]
pub struct RenewalFilter<'a> {
    pub realm: Option<&'a str>,
    pub key: Option<&'a str>,
    pub outcome: Option<RenewalOutcome>,
    /// What its reader may see.
    pub coverage: Coverage,
}

/// Newest first.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
    filter: &RenewalFilter<'_>,
) -> Result<Listed<renewal::Model>, DbErr> {
    let backend = database.get_database_backend();
    let covered = filter
        .coverage
        .secrets_in(Column::RealmId, Column::KeyName, backend);
    let mut query = Entity::find().filter(covered);
    if let Some(realm) = filter.realm {
        query = query.filter(Column::RealmId.eq(realm));
    }
    if let Some(key) = filter.key {
        query = query.filter(Column::KeyName.eq(key));
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(Column::Outcome.eq(outcome.as_str()));
    }
    let newest_first = query.order_by(Column::Id, Order::Desc);
    one_page(database, newest_first, page).await
}

/// The attempts of one realm that began in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourOfAttempts {
    pub realm: RealmId,
    pub begins_at: EpochMs,
    pub stored: i64,
    pub failed: i64,
    pub discarded: i64,
}

impl HourOfAttempts {
    /// Adds those of another realm.
    pub fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.failed += other.failed;
        self.discarded += other.discarded;
    }
}

const HOUR_MS: i64 = 60 * 60 * 1000;

/// What was attempted since then, by hour and realm, oldest first. Reads all of these, by the index on
/// when they began.
pub async fn by_hour(
    database: &impl ConnectionTrait,
    since: EpochMs,
) -> Result<Vec<HourOfAttempts>, DbErr> {
    let begun = || Expr::col(Column::StartedAt);
    let hour = || begun().sub(begun().modulo(HOUR_MS));
    let rows: Vec<(String, i64, String, i64)> = Entity::find()
        .select_only()
        .column(Column::RealmId)
        .expr_as(hour(), "begins_at")
        .column(Column::Outcome)
        .expr_as(Column::Id.count(), "attempts")
        .filter(Column::StartedAt.gte(since))
        .group_by(Column::RealmId)
        .group_by(hour())
        .group_by(Column::Outcome)
        .into_tuple()
        .all(database)
        .await?;
    let mut hours: BTreeMap<(i64, String), HourOfAttempts> = BTreeMap::new();
    for (realm, begins_at, outcome, count) in rows {
        let empty = || HourOfAttempts {
            realm: RealmId::stored(realm.clone()),
            begins_at: EpochMs(begins_at),
            stored: 0,
            failed: 0,
            discarded: 0,
        };
        let hour = hours
            .entry((begins_at, realm.clone()))
            .or_insert_with(empty);
        let known = RenewalOutcome::ALL.iter().copied();
        match known.into_iter().find(|known| known.as_str() == outcome) {
            Some(RenewalOutcome::Stored) => hour.stored += count,
            Some(RenewalOutcome::Failed) => hour.failed += count,
            Some(RenewalOutcome::Discarded) => hour.discarded += count,
            // Of a newer version.
            None => {}
        }
    }
    Ok(hours.into_values().collect())
}

/// Deletes at most `limit` entries begun before then; answers how many.
pub async fn prune(
    database: &impl ConnectionTrait,
    before: EpochMs,
    limit: u64,
) -> Result<u64, DbErr> {
    let oldest_first = Entity::find()
        .filter(Column::StartedAt.lt(before))
        .order_by(Column::StartedAt, Order::Asc);
    delete_some(database, oldest_first, Column::Id, limit).await
}

/// As they are stored, after a place in the list.
pub async fn after(
    database: &impl ConnectionTrait,
    id: i64,
    limit: u64,
) -> Result<Vec<renewal::Model>, DbErr> {
    rows_after(database, Entity::find(), Column::Id, id, limit).await
}

/// Appends what another database has, but for what is here already. Answers how many were appended.
/// Inside a transaction.
pub async fn append_missing(
    database: &impl ConnectionTrait,
    there: &[renewal::Model],
) -> Result<usize, DbErr> {
    let begun = there.iter().map(|row| row.started_at);
    let (Some(first), Some(last)) = (begun.clone().min(), begun.max()) else {
        return Ok(0);
    };
    let here: Vec<(String, String, EpochMs)> = Entity::find()
        .select_only()
        .columns([Column::AttemptId, Column::Outcome])
        .column(Column::StartedAt)
        .filter(Column::StartedAt.between(first, last))
        .into_tuple()
        .all(database)
        .await?;
    let here: HashSet<_> = here.into_iter().collect();
    let is_here = |row: &&renewal::Model| {
        let name = (row.attempt_id.clone(), row.outcome.clone(), row.started_at);
        here.contains(&name)
    };
    let missing: Vec<_> = there.iter().filter(|row| !is_here(row)).collect();
    for rows in pieces(&missing) {
        let rows = rows.iter().map(|row| renewal::ActiveModel {
            id: NotSet,
            ..(*row).clone().into_active_model().reset_all()
        });
        Entity::insert_many(rows)
            .exec_without_returning(database)
            .await?;
    }
    Ok(missing.len())
}

//! Tokens that another database renews. Their rows are held by a lease that does not run out:
//! every version of the server leaves a held row alone, and serves what it has.

use sea_orm::QuerySelect;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
};
use token_server_entity::token::{self, Column, Entity};

use super::claim::RefreshTokenRisk;
use super::locked::{Busy, lock, with_ids, write};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{Generation, SecretId};

/// The random name of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseId(pub String);

/// Begins the owner of a lease that no attempt holds.
const OWNER: &str = "import: renewed by database ";

/// The end of the year 9999.
pub(super) const FOREVER: EpochMs = EpochMs(253_402_300_799_000);

impl DatabaseId {
    pub(super) fn owner(&self) -> String {
        format!("{OWNER}{}", self.0)
    }
}

/// Who renews a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewer {
    /// Whoever claims it here.
    Free,
    /// An attempt is under way here, or what one has obtained may still come.
    UnderWay(String),
    Elsewhere(DatabaseId),
}

impl Renewer {
    pub(super) fn of(row: &token::Model) -> Self {
        match (&row.lease_owner, &row.lost_owner) {
            (Some(owner), _) => match owner.strip_prefix(OWNER) {
                Some(database) => Self::Elsewhere(DatabaseId(database.to_owned())),
                None => Self::UnderWay(owner.clone()),
            },
            (None, owner) if row.lost_awaited && row.refresh_token.is_some() => {
                Self::UnderWay(owner.clone().unwrap_or_default())
            }
            (None, _) => Self::Free,
        }
    }
}

/// Holds those of some tokens that are free, because another database renews them from now on.
/// Answers who renews each. Inside a transaction.
pub async fn hold(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
    renewed_by: &DatabaseId,
) -> Result<Vec<(SecretId, Renewer)>, DbErr> {
    let rows = lock(database, with_ids(ids), Busy::Await).await?;
    let (mut renewers, mut held) = (Vec::new(), Vec::new());
    for mut row in rows {
        match Renewer::of(row.row()) {
            Renewer::Free => {
                row.hold(renewed_by.owner(), FOREVER);
                renewers.push((row.id(), Renewer::Elsewhere(renewed_by.clone())));
                held.push(row);
            }
            other => renewers.push((row.id(), other)),
        }
    }
    write(database, &held).await?;
    Ok(renewers)
}

/// Renews some tokens here again which that database has renewed; what is due is due at once.
/// Answers how many. Inside a transaction.
pub async fn take_back(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
    from: &DatabaseId,
) -> Result<usize, DbErr> {
    let mut rows = lock(database, with_ids(ids), Busy::Await).await?;
    rows.retain(|row| Renewer::of(row.row()) == Renewer::Elsewhere(from.clone()));
    for row in &mut rows {
        row.end_lease(RefreshTokenRisk::None);
    }
    write(database, &rows).await?;
    Ok(rows.len())
}

/// A token that another database renews.
#[derive(Clone, Debug)]
pub struct RenewedElsewhere {
    pub id: SecretId,
    pub realm: String,
    pub key: String,
    pub age: TokenAge,
}

/// How far a token has come. Of two rows of one token, the newer one is to be renewed.
#[derive(Clone, Copy, Debug)]
pub struct TokenAge {
    pub generation: Generation,
    pub refresh_obtained_at: Option<EpochMs>,
}

impl TokenAge {
    /// Whether a newer token is stored, or a newer refresh token, which an attempt that brought no
    /// token may have left.
    pub fn is_newer_than(self, other: Self) -> bool {
        let refreshes = self.refresh_obtained_at.zip(other.refresh_obtained_at);
        self.generation > other.generation
            || self.generation == other.generation
                && refreshes.is_some_and(|(this, other)| this > other)
    }
}

/// Tokens that this database renews, after a place in the list.
pub async fn renewed_by(
    database: &impl ConnectionTrait,
    renewer: &DatabaseId,
    after: SecretId,
    limit: u64,
) -> Result<Vec<RenewedElsewhere>, DbErr> {
    let of_renewer = Condition::all()
        .add(Column::SecretId.gt(after.0))
        .add(Column::LeaseUntil.is_not_null())
        .add(Column::LeaseOwner.eq(renewer.owner()));
    let rows: Vec<(i64, String, String, i64, Option<EpochMs>)> = Entity::find()
        .filter(of_renewer)
        .select_only()
        .columns([Column::SecretId, Column::RealmId])
        .columns([Column::KeyName, Column::Generation])
        .column(Column::RefreshObtainedAt)
        .order_by_asc(Column::SecretId)
        .limit(limit)
        .into_tuple()
        .all(database)
        .await?;
    let row = |(id, realm, key, generation, refresh_obtained_at)| RenewedElsewhere {
        id: SecretId(id),
        realm,
        key,
        age: TokenAge {
            generation: Generation(generation),
            refresh_obtained_at,
        },
    };
    Ok(rows.into_iter().map(row).collect())
}

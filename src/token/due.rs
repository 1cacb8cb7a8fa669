//! What is to be renewed, realm by realm.

use std::collections::HashMap;

use sea_orm::sea_query::{Alias, Expr, Query, SelectStatement, UnionType};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};
use token_server_entity::token::{Column, Entity};

use super::elsewhere::FOREVER;
use super::locked::with_ids;
use crate::foundation::clock::EpochMs;
use crate::foundation::database::padded;
use crate::foundation::ids::{KeyName, RealmId, SecretId};

/// Realms of one question to the database.
const REALMS_AT_ONCE: usize = 64;

/// Which tokens a run is to renew, by their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Due at that time.
    DueAt(EpochMs),
    /// Due by then, and in no trouble: what backs off or waits keeps its date. A token obtained
    /// since the run began is fresh, however short its life.
    Soon { by: EpochMs, begun: EpochMs },
    /// Whatever can be renewed and was not obtained since the run began.
    Any { begun: EpochMs },
}

impl Wanted {
    /// The latest date of what it covers; none: any.
    pub fn by(self) -> Option<EpochMs> {
        match self {
            Self::DueAt(by) | Self::Soon { by, .. } => Some(by),
            Self::Any { .. } => None,
        }
    }

    pub(super) fn filter(self) -> Condition {
        let not_since = |begun: EpochMs| {
            Condition::any()
                .add(Column::ObtainedAt.is_null())
                .add(Column::ObtainedAt.lte(begun))
        };
        match self {
            Self::DueAt(by) => Condition::all().add(Column::RenewAt.lte(by)),
            Self::Soon { by, begun } => Condition::all()
                .add(Column::RenewAt.lte(by))
                .add(Column::FailureClass.is_null())
                .add(Column::Waiting.is_null())
                .add(not_since(begun)),
            Self::Any { begun } => Condition::all()
                .add(Column::RenewAt.is_not_null())
                .add(not_since(begun)),
        }
    }
}

/// A token that a run wanted.
#[derive(Clone, Debug)]
pub struct WantedToken {
    pub id: SecretId,
    pub key: KeyName,
    pub is_held: bool,
}

/// What is wanted of a realm, held by somebody or not, after a place in the list; but not what
/// another database renews.
pub async fn wanted_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    wanted: Wanted,
    after: SecretId,
    limit: u64,
) -> Result<Vec<WantedToken>, DbErr> {
    let rows: Vec<(i64, String, Option<String>)> = Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(wanted.filter())
        .filter(is_renewed_here())
        .filter(Column::SecretId.gt(after.0))
        .order_by(Column::SecretId, Order::Asc)
        .select_only()
        .columns([Column::SecretId, Column::KeyName, Column::LeaseOwner])
        .limit(limit)
        .into_tuple()
        .all(database)
        .await?;
    let token = |(id, key, owner): (i64, String, Option<String>)| WantedToken {
        id: SecretId(id),
        key: KeyName::stored(key),
        is_held: owner.is_some(),
    };
    Ok(rows.into_iter().map(token).collect())
}

fn is_renewed_here() -> Condition {
    Condition::any()
        .add(Column::LeaseUntil.is_null())
        .add(Column::LeaseUntil.lt(FOREVER))
}

/// Those of some realms that have something due, maybe held by somebody. Costs one index probe
/// a realm, however many tokens there are.
pub async fn due_among(
    database: &impl ConnectionTrait,
    realms: &[RealmId],
    now: EpochMs,
) -> Result<Vec<RealmId>, DbErr> {
    let mut due = Vec::new();
    for realms in realms.chunks(REALMS_AT_ONCE) {
        let earliest_of_each = padded(realms).into_iter().zip(0..).map(earliest);
        let Some(all) = all_of(earliest_of_each) else {
            continue;
        };
        for row in database.query_all(&all).await? {
            let (number, earliest): (i64, Option<EpochMs>) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let realm = usize::try_from(number).ok().and_then(|at| realms.get(at));
            due.extend(
                realm
                    .filter(|_| earliest.is_some_and(|at| at <= now))
                    .cloned(),
            );
        }
    }
    Ok(due)
}

/// When something is due first in a realm. Databases look up the least of a name in an index;
/// they read every row for an EXISTS, or for the least of each name.
fn earliest((realm, number): (&RealmId, i64)) -> SelectStatement {
    Query::select()
        .expr(Expr::val(number))
        .expr(Column::RenewAt.min())
        .from(Entity)
        .and_where(Column::RealmId.eq(realm.as_str()))
        .to_owned()
}

fn all_of(parts: impl Iterator<Item = SelectStatement>) -> Option<SelectStatement> {
    parts.reduce(|mut all, one| all.union(UnionType::All, one).to_owned())
}

/// What is due in each of some realms, at most so many of it; longest due first.
pub async fn due_in_each(
    database: &impl ConnectionTrait,
    realms: &[(&RealmId, u64)],
    now: EpochMs,
    except: &[SecretId],
) -> Result<HashMap<RealmId, Vec<SecretId>>, DbErr> {
    let mut due: HashMap<_, Vec<_>> = HashMap::new();
    for realms in realms.chunks(REALMS_AT_ONCE) {
        let mut parts = padded(realms.iter().copied());
        // What makes it longer asks for nothing.
        for (_, limit) in &mut parts[realms.len()..] {
            *limit = 0;
        }
        let of_each = parts
            .into_iter()
            .map(|(realm, limit)| of_realm(realm, now, except, limit));
        let Some(all) = all_of(of_each) else { continue };
        for row in database.query_all(&all).await? {
            let id = SecretId(row.try_get_by_index(0)?);
            let realm = RealmId::stored(row.try_get_by_index(1)?);
            due.entry(realm).or_default().push(id);
        }
    }
    Ok(due)
}

/// One part of it. What is ordered and limited by itself stands in a subquery.
fn of_realm(realm: &RealmId, now: EpochMs, except: &[SecretId], limit: u64) -> SelectStatement {
    let part = due(realm, now, except)
        .select_only()
        .columns([Column::SecretId, Column::RealmId])
        .limit(limit)
        .into_query();
    Query::select()
        .columns([Column::SecretId, Column::RealmId])
        .from_subquery(part, Alias::new("part"))
        .to_owned()
}

/// What is due in a realm and held by nobody, but for some; longest due first.
pub async fn due_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    now: EpochMs,
    except: &[SecretId],
    limit: u64,
) -> Result<Vec<SecretId>, DbErr> {
    ids(database, due(realm, now, except), limit).await
}

fn due(realm: &RealmId, now: EpochMs, except: &[SecretId]) -> sea_orm::Select<Entity> {
    free_in(realm, except)
        .filter(Column::RenewAt.lte(now))
        .order_by(Column::RenewAt, Order::Asc)
}

/// What is wanted of a realm and held by nobody, but for some, after a place in the list.
pub async fn free_and_wanted_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    wanted: Wanted,
    after: SecretId,
    except: &[SecretId],
    limit: u64,
) -> Result<Vec<SecretId>, DbErr> {
    let query = free_in(realm, except)
        .filter(wanted.filter())
        .filter(Column::SecretId.gt(after.0))
        .order_by(Column::SecretId, Order::Asc);
    ids(database, query, limit).await
}

/// Those of some tokens that are wanted and held by nobody, whoever may be changing them.
pub async fn still_free(
    database: &impl ConnectionTrait,
    of: &[SecretId],
    wanted: Wanted,
    limit: u64,
) -> Result<Vec<SecretId>, DbErr> {
    let query = Entity::find()
        .filter(Column::LeaseOwner.is_null())
        .filter(wanted.filter())
        .filter(with_ids(of));
    ids(database, query, limit).await
}

fn free_in(realm: &RealmId, except: &[SecretId]) -> sea_orm::Select<Entity> {
    let free = Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::LeaseOwner.is_null());
    if except.is_empty() {
        return free;
    }
    free.filter(Column::SecretId.is_not_in(padded(except.iter().map(|id| id.0))))
}

async fn ids(
    database: &impl ConnectionTrait,
    query: sea_orm::Select<Entity>,
    limit: u64,
) -> Result<Vec<SecretId>, DbErr> {
    let rows = query
        .select_only()
        .column(Column::SecretId)
        .limit(limit)
        .into_tuple::<i64>()
        .all(database)
        .await?;
    Ok(rows.into_iter().map(SecretId).collect())
}

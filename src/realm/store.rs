//! Realms in the database.

use std::collections::BTreeSet;

use sea_orm::sea_query::{Expr, ExprTrait, Func, LockBehavior, LockType, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbErr,
    EntityTrait, IntoActiveModel, Iterable, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::realm::{self, Column, Entity};

use crate::foundation::clock::EpochMs;
use crate::foundation::database::{one_page, padded};
use crate::foundation::ids::{RealmId, Version};
use crate::foundation::page::{Listed, Page};
use crate::foundation::pattern::Coverage;
use crate::foundation::reauthentication::{AuthenticatedRow, reauthenticate};
use crate::foundation::sealing::{KeyRing, OpenError, Resealed, RowValues, Sealed, SealedPlace};

/// The content of a realm row; the database adds version and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmContent {
    pub comment: Option<String>,
    pub config: Option<String>,
    pub logic_code: Option<String>,
}

/// Authenticates a row: nobody else says where credentials go.
fn mac_of(ring: &KeyRing, id: &str, version: i64, content: &RealmContent) -> Sealed {
    let (config, logic_code) = (content.config.as_deref(), content.logic_code.as_deref());
    ring.authenticate(&place(id), &values(version, config, logic_code))
}

/// Whether a row is as a server with one of these keys wrote it.
pub fn verify(ring: &KeyRing, row: &realm::Model) -> Result<(), OpenError> {
    let (config, logic_code) = (row.config.as_deref(), row.logic_code.as_deref());
    let values = values(row.version, config, logic_code);
    ring.verify(&place(&row.id), &values, row.mac.as_ref())
}

fn place(id: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_realm",
        row: id,
        column: "mac",
    }
}

fn values(version: i64, config: Option<&str>, logic_code: Option<&str>) -> RowValues {
    let values = RowValues::default().number(Some(version));
    values.optional(config).optional(logic_code)
}

/// Authenticates every row as it is, whoever wrote it. Answers how many there are.
pub async fn authenticate_all(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<usize, DbErr> {
    let rows = Entity::find().all(database).await?;
    for row in &rows {
        let content = RealmContent {
            comment: None,
            config: row.config.clone(),
            logic_code: row.logic_code.clone(),
        };
        let mac = mac_of(ring, &row.id, row.version, &content);
        Entity::update_many()
            .col_expr(Column::Mac, Expr::value(mac))
            .filter(Column::Id.eq(row.id.as_str()))
            .filter(Column::Version.eq(row.version))
            .exec(database)
            .await?;
    }
    Ok(rows.len())
}

/// Authenticates anew, with the key that seals, what another key authenticated.
pub async fn reseal(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Resealed, DbErr> {
    reauthenticate::<Entity>(database, ring, Column::Mac, |row| {
        let (config, logic_code) = (row.config.as_deref(), row.logic_code.as_deref());
        AuthenticatedRow {
            place: place(&row.id),
            values: values(row.version, config, logic_code),
            mac: row.mac.as_ref(),
            is_row: Condition::all()
                .add(Column::Id.eq(row.id.as_str()))
                .add(Column::Version.eq(row.version)),
        }
    })
    .await
}

pub async fn find(
    database: &impl ConnectionTrait,
    id: &RealmId,
) -> Result<Option<realm::Model>, DbErr> {
    Entity::find_by_id(id.as_str()).one(database).await
}

/// The version of a realm, and when it was written.
pub async fn version(
    database: &impl ConnectionTrait,
    id: &RealmId,
) -> Result<Option<(Version, EpochMs)>, DbErr> {
    let row: Option<(i64, EpochMs)> = Entity::find_by_id(id.as_str())
        .select_only()
        .columns([Column::Version, Column::UpdatedAt])
        .into_tuple()
        .one(database)
        .await?;
    Ok(row.map(|(version, updated_at)| (Version(version), updated_at)))
}

pub async fn count(database: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(database).await
}

pub async fn find_all(
    database: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<realm::Model>, DbErr> {
    Entity::find()
        .filter(Column::Id.is_in(padded(ids)))
        .all(database)
        .await
}

/// Finds a realm and keeps it from being changed or deleted until the transaction ends.
pub async fn find_locked(
    database: &impl ConnectionTrait,
    id: &RealmId,
) -> Result<Option<realm::Model>, DbErr> {
    Entity::find_by_id(id.as_str())
        .lock_exclusive()
        .one(database)
        .await
}

/// Keeps realms from being changed or deleted until the transaction ends, but for those that
/// somebody else is changing just now. Answers which.
pub async fn lock_free(
    database: &impl ConnectionTrait,
    ids: &[RealmId],
) -> Result<Vec<RealmId>, DbErr> {
    let names: BTreeSet<_> = ids.iter().map(RealmId::as_str).collect();
    let locked = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(padded(names)))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple::<String>()
        .all(database)
        .await?;
    Ok(locked.into_iter().map(RealmId::stored).collect())
}

/// Those that are covered, newest change first; `keyword` stands in the id or the comment.
pub async fn list(
    database: &impl ConnectionTrait,
    page: Page,
    keyword: Option<&str>,
    coverage: &Coverage,
) -> Result<Listed<realm::Model>, DbErr> {
    let covered = coverage.realms_in(Column::Id, database.get_database_backend());
    let mut query = Entity::find().filter(covered);
    if let Some(keyword) = keyword {
        query = query.filter(
            Condition::any()
                .add(contains(Column::Id, keyword))
                .add(contains(Column::Comment, keyword)),
        );
    }
    let newest_first = query
        .order_by(Column::UpdatedAt, Order::Desc)
        .order_by(Column::Id, Order::Asc);
    one_page(database, newest_first, page).await
}

pub async fn all_ids(database: &impl ConnectionTrait) -> Result<Vec<RealmId>, DbErr> {
    ids(database, Condition::all()).await
}

/// Those of fixed tokens.
pub async fn fixed_ids(database: &impl ConnectionTrait) -> Result<Vec<RealmId>, DbErr> {
    let fixed = Condition::all()
        .add(Column::Config.is_null())
        .add(Column::LogicCode.is_null());
    ids(database, fixed).await
}

/// Of those that no provider has blocked for now.
pub async fn open_ids(
    database: &impl ConnectionTrait,
    now: EpochMs,
) -> Result<Vec<RealmId>, DbErr> {
    let open = Condition::any()
        .add(Column::BlockedUntil.is_null())
        .add(Column::BlockedUntil.lte(now));
    ids(database, open).await
}

async fn ids(database: &impl ConnectionTrait, condition: Condition) -> Result<Vec<RealmId>, DbErr> {
    let ids = Entity::find()
        .filter(condition)
        .select_only()
        .column(Column::Id)
        .order_by(Column::Id, Order::Asc)
        .into_tuple::<String>()
        .all(database)
        .await?;
    Ok(ids.into_iter().map(RealmId::stored).collect())
}

pub async fn insert(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    id: &RealmId,
    content: RealmContent,
    now: EpochMs,
) -> Result<(), DbErr> {
    Entity::insert(realm::ActiveModel {
        mac: Set(Some(mac_of(ring, id.as_str(), 1, &content))),
        id: Set(id.as_str().to_owned()),
        comment: Set(content.comment),
        config: Set(content.config),
        logic_code: Set(content.logic_code),
        version: Set(1),
        blocked_until: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
    })
    .exec_without_returning(database)
    .await
    .map(|_| ())
}

/// Writes new content over a version; false where another change came first.
pub async fn update(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    id: &RealmId,
    over: Version,
    content: RealmContent,
    now: EpochMs,
) -> Result<bool, DbErr> {
    let version = over.0 + 1;
    let updated = Entity::update_many()
        .set(realm::ActiveModel {
            mac: Set(Some(mac_of(ring, id.as_str(), version, &content))),
            comment: Set(content.comment),
            config: Set(content.config),
            logic_code: Set(content.logic_code),
            version: Set(version),
            blocked_until: Set(None),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::Version.eq(over.0))
        .exec(database)
        .await?;
    Ok(updated.rows_affected == 1)
}

/// Keeps all requests to a realm back until then; never shortens an earlier block.
pub async fn block(
    database: &impl ConnectionTrait,
    id: &RealmId,
    until: EpochMs,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::BlockedUntil, Expr::value(until))
        .filter(Column::Id.eq(id.as_str()))
        .filter(
            Condition::any()
                .add(Column::BlockedUntil.is_null())
                .add(Column::BlockedUntil.lt(until)),
        )
        .exec(database)
        .await
        .map(|_| ())
}

pub async fn delete(database: &impl ConnectionTrait, id: &RealmId) -> Result<bool, DbErr> {
    let deleted = Entity::delete_by_id(id.as_str()).exec(database).await?;
    Ok(deleted.rows_affected == 1)
}

/// `keyword` as a literal part, letters of either case as far as the database knows them
/// (SQLite: those of ASCII).
pub fn contains(column: impl ColumnTrait, keyword: &str) -> SimpleExpr {
    let lower = |expr| Func::lower(expr);
    Func::cust("INSTR")
        .arg(lower(Expr::col(column.as_column_ref())))
        .arg(lower(Expr::val(keyword)))
        .gt(0)
}

/// All of them, as they are stored.
pub async fn all(database: &impl ConnectionTrait) -> Result<Vec<realm::Model>, DbErr> {
    Entity::find()
        .order_by(Column::Id, Order::Asc)
        .all(database)
        .await
}

/// Writes the row of another database, with its version and times, over one that may be here.
pub async fn copy(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    there: &realm::Model,
) -> Result<(), DbErr> {
    let content = RealmContent {
        comment: there.comment.clone(),
        config: there.config.clone(),
        logic_code: there.logic_code.clone(),
    };
    let row = realm::Model {
        mac: Some(mac_of(ring, &there.id, there.version, &content)),
        ..there.clone()
    };
    let columns = Column::iter().filter(|column| !matches!(column, Column::Id));
    let replaces = OnConflict::column(Column::Id)
        .update_columns(columns)
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(replaces)
        .exec_without_returning(database)
        .await
        .map(|_| ())
}

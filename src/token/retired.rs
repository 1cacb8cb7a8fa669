//! Generations of deleted secrets: one that is made again goes on from there, so that a
//! caller who remembers a generation is never fooled.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, ConnectionTrait, DbErr,
    EntityTrait, IntoActiveModel, Order, QueryFilter, QueryOrder,
};
use token_server_entity::retired::{self, Column, Entity};
use token_server_entity::token;

use crate::foundation::clock::EpochMs;
use crate::foundation::database::{delete_some, rows_after};
use crate::foundation::ids::{Generation, KeyName, RealmId};

/// Remembers the generations of tokens that are about to be deleted.
pub(super) async fn remember(
    database: &impl ConnectionTrait,
    deleted: Condition,
    now: EpochMs,
) -> Result<(), DbErr> {
    let generations = Query::select()
        .column(token::Column::RealmId)
        .column(token::Column::KeyName)
        .column(token::Column::Generation)
        .expr(Expr::value(now))
        .from(token::Entity)
        .cond_where(deleted)
        .and_where(Expr::col(token::Column::Generation).gt(0))
        .to_owned();
    let mut insert = Query::insert();
    insert.into_table(Entity).columns([
        Column::RealmId,
        Column::KeyName,
        Column::Generation,
        Column::At,
    ]);
    insert
        .select_from(generations)
        .map_err(|error| DbErr::Custom(error.to_string()))?;
    database.execute(&insert).await.map(|_| ())
}

/// The generation that a new secret of that name goes on from.
pub(super) async fn take(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
) -> Result<Generation, DbErr> {
    let named = Condition::all()
        .add(Column::RealmId.eq(realm.as_str()))
        .add(Column::KeyName.eq(key.as_str()));
    let found = Entity::find().filter(named.clone()).one(database).await?;
    let Some(row) = found else {
        return Ok(Generation(0));
    };
    Entity::delete_many().filter(named).exec(database).await?;
    Ok(Generation(row.generation))
}

/// The generation of the deleted secret of that name; 0 where there is none.
pub async fn known(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
) -> Result<Generation, DbErr> {
    let named = Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::KeyName.eq(key.as_str()));
    let row = named.one(database).await?;
    Ok(Generation(row.map_or(0, |row| row.generation)))
}

/// All of them after a place in the list, as they are stored.
pub async fn after(
    database: &impl ConnectionTrait,
    id: i64,
    limit: u64,
) -> Result<Vec<retired::Model>, DbErr> {
    rows_after(database, Entity::find(), Column::Id, id, limit).await
}

/// Remembers what another database remembers; false where this one knows as much. Inside a
/// transaction.
pub async fn put(database: &impl ConnectionTrait, there: &retired::Model) -> Result<bool, DbErr> {
    let (realm, key) = (
        RealmId::stored(there.realm_id.clone()),
        KeyName::stored(there.key_name.clone()),
    );
    let alive = token::Entity::find()
        .filter(token::Column::RealmId.eq(realm.as_str()))
        .filter(token::Column::KeyName.eq(key.as_str()));
    if known(database, &realm, &key).await?.0 >= there.generation
        || alive.one(database).await?.is_some()
    {
        return Ok(false);
    }
    take(database, &realm, &key).await?;
    Entity::insert(retired::ActiveModel {
        id: NotSet,
        ..there.clone().into_active_model().reset_all()
    })
    .exec_without_returning(database)
    .await?;
    Ok(true)
}

/// Forgets what was deleted long ago; answers how many rows.
pub async fn prune(
    database: &impl ConnectionTrait,
    before: EpochMs,
    limit: u64,
) -> Result<u64, DbErr> {
    let oldest_first = Entity::find()
        .filter(Column::At.lt(before))
        .order_by(Column::At, Order::Asc);
    delete_some(database, oldest_first, Column::Id, limit).await
}

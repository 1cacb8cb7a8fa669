//! Generations of deleted secrets: one that is made again goes on from there, so that a
//! caller who remembers a generation is never fooled.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder,
};
use token_server_entity::retired::{Column, Entity};
use token_server_entity::token;

use crate::foundation::clock::EpochMs;
use crate::foundation::database::delete_some;
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

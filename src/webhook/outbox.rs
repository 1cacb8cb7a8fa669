//! Events in the database, until they were taken.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect,
};
pub(super) use token_server_entity::event::Model as Row;
use token_server_entity::event::{self, Column, Entity};

use crate::foundation::clock::EpochMs;
use crate::foundation::database::pieces;

/// Messages with their ids.
pub(super) async fn append(
    database: &impl ConnectionTrait,
    messages: Vec<(String, String)>,
    now: EpochMs,
) -> Result<(), DbErr> {
    let row = |(message_id, body)| event::ActiveModel {
        id: NotSet,
        message_id: Set(message_id),
        body: Set(body),
        at: Set(now),
        tries: Set(0),
        next_try_at: Set(now),
    };
    let rows: Vec<_> = messages.into_iter().map(row).collect();
    for rows in pieces(&rows) {
        Entity::insert_many(rows.to_vec())
            .exec_without_returning(database)
            .await?;
    }
    Ok(())
}

/// What is to be sent, oldest first.
pub(super) async fn due(
    database: &impl ConnectionTrait,
    now: EpochMs,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    Entity::find()
        .filter(Column::NextTryAt.lte(now))
        .order_by(Column::Id, Order::Asc)
        .limit(limit)
        .all(database)
        .await
}

/// Takes a try, so that no other replica makes it; the next is due at `next_try_at`. False
/// where another was first.
pub(super) async fn take_try(
    database: &impl ConnectionTrait,
    row: &Row,
    next_try_at: EpochMs,
) -> Result<bool, DbErr> {
    let taken = Entity::update_many()
        .col_expr(Column::Tries, Expr::col(Column::Tries).add(1))
        .col_expr(Column::NextTryAt, Expr::value(next_try_at))
        .filter(Column::Id.eq(row.id))
        .filter(Column::Tries.eq(row.tries))
        .exec(database)
        .await?;
    Ok(taken.rows_affected == 1)
}

pub(super) async fn delete(database: &impl ConnectionTrait, id: i64) -> Result<(), DbErr> {
    Entity::delete_by_id(id).exec(database).await.map(|_| ())
}

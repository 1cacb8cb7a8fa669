//! Reserved requests in the database: one row a quota and subject.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QuerySelect,
};
use token_server_entity::quota::{self, Column, Entity};
use token_server_entity::token;

use super::subject::Subject;
use super::window::QuotaWindow;
use crate::foundation::ids::RealmId;

/// What is reserved, which nobody else changes until the transaction ends.
pub async fn find_locked(
    database: &impl ConnectionTrait,
    subject: &Subject,
) -> Result<Option<QuotaWindow>, DbErr> {
    let row = Entity::find_by_id(subject.id())
        .lock_exclusive()
        .one(database)
        .await?;
    Ok(row.map(|row| QuotaWindow::parse(&row.reserved)))
}

/// The same; made where there is none.
pub async fn lock(
    database: &impl ConnectionTrait,
    subject: &Subject,
) -> Result<QuotaWindow, DbErr> {
    if let Some(window) = find_locked(database, subject).await? {
        return Ok(window);
    }
    // Whoever meets the row of another that was first begins again: a duplicate key ends
    // the transaction.
    let (realm_id, secret_id, name) = subject.id();
    let none = QuotaWindow::default();
    Entity::insert(quota::ActiveModel {
        realm_id: Set(realm_id),
        secret_id: Set(secret_id),
        name: Set(name),
        reserved: Set(none.to_text()),
    })
    .exec_without_returning(database)
    .await?;
    Ok(none)
}

pub async fn save(
    database: &impl ConnectionTrait,
    subject: &Subject,
    window: &QuotaWindow,
) -> Result<(), DbErr> {
    let (realm_id, secret_id, name) = subject.id();
    Entity::update_many()
        .col_expr(Column::Reserved, window.to_text().into())
        .filter(Column::RealmId.eq(realm_id))
        .filter(Column::SecretId.eq(secret_id))
        .filter(Column::Name.eq(name))
        .exec(database)
        .await
        .map(|_| ())
}

/// How many secrets of a realm are renewed.
pub async fn renewed_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<i64, DbErr> {
    let count = token::Entity::find()
        .filter(token::Column::RealmId.eq(realm.as_str()))
        .filter(token::Column::RenewAt.is_not_null())
        .count(database)
        .await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

//! Tickets in the database.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QuerySelect,
};
use token_server_entity::ticket::{self, Column, Entity};

use crate::foundation::clock::EpochMs;
use crate::foundation::database::is_duplicate;
use crate::foundation::ids::RealmId;
use crate::foundation::sealing::{KeyRing, Resealed, Sealed};

/// A ticket to be stored.
#[derive(Clone, Debug)]
pub struct NewTicket {
    pub realm: RealmId,
    pub app_id: String,
    pub value: Sealed,
    pub sent_at: EpochMs,
    pub received_at: EpochMs,
    pub expires_at: EpochMs,
}

/// The ticket of an application, if it is still valid.
pub async fn find_valid(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    app_id: &str,
    now: EpochMs,
) -> Result<Option<ticket::Model>, DbErr> {
    Entity::find_by_id((realm.as_str().to_owned(), app_id.to_owned()))
        .filter(Column::ExpiresAt.gt(now))
        .one(database)
        .await
}

/// When the valid ticket of an application was made, once no push of another is under way.
pub async fn lock_valid(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    app_id: &str,
    now: EpochMs,
) -> Result<Option<EpochMs>, DbErr> {
    let key = (realm.as_str().to_owned(), app_id.to_owned());
    let row = Entity::find_by_id(key)
        .filter(Column::ExpiresAt.gt(now))
        .lock_exclusive()
        .one(database)
        .await?;
    Ok(row.map(|row| row.sent_at))
}

/// Stores a ticket; one that was sent later stays. False where it stays.
pub async fn store(database: &impl ConnectionTrait, new: &NewTicket) -> Result<bool, DbErr> {
    if update(database, new).await? {
        return Ok(true);
    }
    let inserted = Entity::insert(ticket::ActiveModel {
        realm_id: Set(new.realm.as_str().to_owned()),
        app_id: Set(new.app_id.clone()),
        value: Set(new.value.clone()),
        sent_at: Set(new.sent_at),
        received_at: Set(new.received_at),
        expires_at: Set(new.expires_at),
    })
    .exec_without_returning(database)
    .await;
    match inserted {
        // There is one that was sent later, or another push was first.
        Err(error) if is_duplicate(&error) => update(database, new).await,
        other => other.map(|_| true),
    }
}

async fn update(database: &impl ConnectionTrait, new: &NewTicket) -> Result<bool, DbErr> {
    let updated = Entity::update_many()
        .col_expr(Column::Value, Expr::value(new.value.clone()))
        .col_expr(Column::SentAt, Expr::value(new.sent_at))
        .col_expr(Column::ReceivedAt, Expr::value(new.received_at))
        .col_expr(Column::ExpiresAt, Expr::value(new.expires_at))
        .filter(Column::RealmId.eq(new.realm.as_str()))
        .filter(Column::AppId.eq(new.app_id.as_str()))
        .filter(Column::SentAt.lte(new.sent_at))
        .exec(database)
        .await?;
    Ok(updated.rows_affected == 1)
}

pub async fn count_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<u64, DbErr> {
    Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .count(database)
        .await
}

pub async fn delete_all_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<(), DbErr> {
    Entity::delete_many()
        .filter(Column::RealmId.eq(realm.as_str()))
        .exec(database)
        .await
        .map(|_| ())
}

/// Seals tickets anew, with the key that seals.
pub async fn reseal(database: &impl ConnectionTrait, ring: &KeyRing) -> Result<Resealed, DbErr> {
    let mut resealed = Resealed::default();
    for row in Entity::find().all(database).await? {
        let realm = RealmId::stored(row.realm_id.clone());
        let value = super::resealed(&realm, &row.app_id, &row.value, ring);
        if let Some(value) = resealed.count(value) {
            Entity::update_many()
                .col_expr(Column::Value, Expr::value(value))
                .filter(Column::RealmId.eq(row.realm_id))
                .filter(Column::AppId.eq(row.app_id))
                .filter(Column::Value.eq(row.value))
                .exec(database)
                .await?;
        }
    }
    Ok(resealed)
}

/// All of them, as they are stored.
pub async fn all(database: &impl ConnectionTrait) -> Result<Vec<ticket::Model>, DbErr> {
    Entity::find().all(database).await
}

/// When the ticket of an application was made that is stored, valid or not.
pub async fn sent_at(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    app_id: &str,
) -> Result<Option<EpochMs>, DbErr> {
    let key = (realm.as_str().to_owned(), app_id.to_owned());
    let row = Entity::find_by_id(key).one(database).await?;
    Ok(row.map(|row| row.sent_at))
}

//! Deletes tokens, and what was kept beside them.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect,
};
use token_server_entity::token::{Column, Entity};

use super::locked::{lock_one, write};
use super::{candidate, retired};
use crate::feed;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{RealmId, SecretId};

/// Forgets the stored refresh token, and all that was or will be obtained by it: the secret
/// was given another.
pub async fn forget_refresh(database: &impl ConnectionTrait, id: SecretId) -> Result<(), DbErr> {
    candidate::forget(database, id).await?;
    let Some(mut row) = lock_one(database, id).await? else {
        return Ok(());
    };
    row.nothing_lost();
    row.put_refresh(None);
    row.next_refresh_line();
    write(database, &[row]).await
}

pub async fn delete(
    database: &impl ConnectionTrait,
    id: SecretId,
    now: EpochMs,
) -> Result<(), DbErr> {
    // No generation is stored between the next two statements.
    lock_one(database, id).await?;
    let this = Condition::all().add(Column::SecretId.eq(id.0));
    retired::remember(database, this.clone(), now).await?;
    feed::append_forget(database, this).await?;
    candidate::forget(database, id).await?;
    Entity::delete_by_id(id.0).exec(database).await.map(|_| ())
}

pub async fn delete_all_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    now: EpochMs,
) -> Result<(), DbErr> {
    let of_realm = Condition::all().add(Column::RealmId.eq(realm.as_str()));
    // No generation is stored between the next two statements.
    Entity::find()
        .filter(of_realm.clone())
        .select_only()
        .column(Column::SecretId)
        .lock_exclusive()
        .into_tuple::<i64>()
        .all(database)
        .await?;
    retired::remember(database, of_realm.clone(), now).await?;
    feed::append_forget(database, of_realm).await?;
    candidate::forget_all_in(database, realm).await?;
    Entity::delete_many()
        .filter(Column::RealmId.eq(realm.as_str()))
        .exec(database)
        .await
        .map(|_| ())
}

/// No reader is to be served a realm's tokens from memory any more.
pub async fn forget_remembered_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
) -> Result<(), DbErr> {
    let of_realm = Condition::all().add(Column::RealmId.eq(realm.as_str()));
    feed::append_forget(database, of_realm).await
}

//! Deletes tokens, and what was kept beside them.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QuerySelect,
};
use token_server_entity::token::{Column, Entity};

use super::locked::{lock_one, write};
use super::{candidate, retired};
use crate::feed;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId, SecretId};

/// What is deleted with the tokens of some secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub tokens: u64,
    pub refresh_tokens: u64,
    /// Pairs that were kept beside a token.
    pub candidates: u64,
}

/// What there is to delete of a realm's tokens.
pub async fn of_realm(database: &impl ConnectionTrait, realm: &RealmId) -> Result<Removed, DbErr> {
    removed(database, of_name(realm)).await
}

/// What there is to delete of a secret's token.
pub async fn of_secret(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
) -> Result<Removed, DbErr> {
    let this = of_name(realm).add(Column::KeyName.eq(key.as_str()));
    removed(database, this).await
}

fn of_name(realm: &RealmId) -> Condition {
    Condition::all().add(Column::RealmId.eq(realm.as_str()))
}

async fn removed(database: &impl ConnectionTrait, these: Condition) -> Result<Removed, DbErr> {
    let of_these = Entity::find().filter(these.clone());
    let with = |column: Column| of_these.clone().filter(column.is_not_null());
    Ok(Removed {
        tokens: with(Column::Token).count(database).await?,
        refresh_tokens: with(Column::RefreshToken).count(database).await?,
        candidates: candidate::count_of(database, these).await?,
    })
}

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

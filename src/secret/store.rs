//! Secrets in the database.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::secret::{self, Column, Entity};

use super::params::Params;
use super::{Secret, authentic, seal_params};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{padded, rows_after};
use crate::foundation::ids::{KeyName, RealmId, SecretId, Version};
use crate::foundation::sealing::{KeyRing, Resealed};

/// Secrets of one question to the database.
const IDS_AT_ONCE: usize = 500;

pub async fn find(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
) -> Result<Option<secret::Model>, DbErr> {
    Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .filter(Column::KeyName.eq(key.as_str()))
        .one(database)
        .await
}

pub async fn count(database: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().count(database).await
}

pub async fn insert(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    key: &KeyName,
    params: &Params,
    (ring, now): (&KeyRing, EpochMs),
) -> Result<SecretId, DbErr> {
    let sealed = seal_params((realm, key), Version(1), params, ring);
    let inserted = Entity::insert(secret::ActiveModel {
        id: NotSet,
        realm_id: Set(realm.as_str().to_owned()),
        key_name: Set(key.as_str().to_owned()),
        params: Set(sealed.params),
        mac: Set(Some(sealed.mac)),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
    })
    .exec(database)
    .await?;
    Ok(SecretId(inserted.last_insert_id))
}

/// Writes new parameters over those of a secret; false where another change came first.
pub async fn update(
    database: &impl ConnectionTrait,
    over: &Secret,
    params: &Params,
    (ring, now): (&KeyRing, EpochMs),
) -> Result<bool, DbErr> {
    let version = Version(over.version.0 + 1);
    let sealed = seal_params((&over.realm, &over.key), version, params, ring);
    let updated = Entity::update_many()
        .set(secret::ActiveModel {
            params: Set(sealed.params),
            mac: Set(Some(sealed.mac)),
            version: Set(version.0),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(Column::Id.eq(over.id.0))
        .filter(Column::Version.eq(over.version.0))
        .exec(database)
        .await?;
    Ok(updated.rows_affected == 1)
}

pub async fn delete(database: &impl ConnectionTrait, id: SecretId) -> Result<bool, DbErr> {
    let deleted = Entity::delete_by_id(id.0).exec(database).await?;
    Ok(deleted.rows_affected == 1)
}

/// Whether the realm has any secret.
pub async fn any_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<bool, DbErr> {
    let one = Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .one(database)
        .await?;
    Ok(one.is_some())
}

pub async fn count_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<u64, DbErr> {
    Entity::find()
        .filter(Column::RealmId.eq(realm.as_str()))
        .count(database)
        .await
}

pub async fn delete_all_in(database: &impl ConnectionTrait, realm: &RealmId) -> Result<u64, DbErr> {
    let deleted = Entity::delete_many()
        .filter(Column::RealmId.eq(realm.as_str()))
        .exec(database)
        .await?;
    Ok(deleted.rows_affected)
}

pub async fn find_all(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<secret::Model>, DbErr> {
    Entity::find()
        .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
        .all(database)
        .await
}

/// When some secrets were registered.
pub async fn created_at(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<(SecretId, EpochMs)>, DbErr> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let rows: Vec<(i64, EpochMs)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::CreatedAt])
            .filter(Column::Id.is_in(padded(ids.iter().map(|id| id.0))))
            .into_tuple()
            .all(database)
            .await?;
        found.extend(rows.into_iter().map(|(id, at)| (SecretId(id), at)));
    }
    Ok(found)
}

/// Secrets of all realms after a place in the list, in the order of their numbers.
pub async fn list_after(
    database: &impl ConnectionTrait,
    after: SecretId,
    limit: u64,
) -> Result<Vec<secret::Model>, DbErr> {
    rows_after(database, Entity::find(), Column::Id, after.0, limit).await
}

/// Secrets of a realm after a place in the list, in the order of their numbers.
pub async fn list_in_after(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    after: SecretId,
    limit: u64,
) -> Result<Vec<secret::Model>, DbErr> {
    let of_realm = Entity::find().filter(Column::RealmId.eq(realm.as_str()));
    rows_after(database, of_realm, Column::Id, after.0, limit).await
}

/// The first secrets of a realm, oldest first.
pub async fn list_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    limit: u64,
) -> Result<Vec<secret::Model>, DbErr> {
    list_in_after(database, realm, SecretId(i64::MIN), limit).await
}

/// The same without what is in them: each with its version, and when it was written.
pub async fn versions_in(
    database: &impl ConnectionTrait,
    realm: &RealmId,
    limit: u64,
) -> Result<Vec<(SecretId, (Version, EpochMs))>, DbErr> {
    let rows: Vec<(i64, i64, EpochMs)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Version, Column::UpdatedAt])
        .filter(Column::RealmId.eq(realm.as_str()))
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(database)
        .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(id, version, at)| (SecretId(id), (Version(version), at)))
        .collect())
}

/// However many they are.
pub async fn find_each(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Vec<secret::Model>, DbErr> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let ids = padded(ids.iter().map(|id| id.0));
        let rows = Entity::find().filter(Column::Id.is_in(ids));
        found.extend(rows.all(database).await?);
    }
    Ok(found)
}

/// Seals some parameters anew, with the key that seals, after a place in the list. Answers the last
/// place of these; none where no secret is left.
pub async fn reseal_after(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    after: SecretId,
    resealed: &mut Resealed,
) -> Result<Option<SecretId>, DbErr> {
    let rows = list_after(database, after, IDS_AT_ONCE as u64).await?;
    let last = rows.last().map(|row| SecretId(row.id));
    for row in rows {
        let mac = resealed.count(authentic::reauthenticated(&row, ring));
        let params = resealed.count(super::resealed(&row, ring));
        if mac.is_none() && params.is_none() {
            continue;
        }
        let anew = secret::ActiveModel {
            params: params.map_or(NotSet, Set),
            mac: mac.map_or(NotSet, |mac| Set(Some(mac))),
            ..Default::default()
        };
        // Whoever has saved others meanwhile has sealed them.
        Entity::update_many()
            .set(anew)
            .filter(Column::Id.eq(row.id))
            .filter(Column::Params.eq(row.params))
            .exec(database)
            .await?;
    }
    Ok(last)
}

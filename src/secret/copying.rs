//! Secrets copied from another database, with their versions and times.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
};
use token_server_entity::secret::{self, Column, Entity};

use super::{Secret, seal_params};
use crate::foundation::ids::SecretId;
use crate::foundation::sealing::KeyRing;

pub async fn insert(
    database: &impl ConnectionTrait,
    there: &Secret,
    ring: &KeyRing,
) -> Result<SecretId, DbErr> {
    let inserted = Entity::insert(row(there, ring)).exec(database).await?;
    Ok(SecretId(inserted.last_insert_id))
}

/// Writes it over its earlier copy.
pub async fn replace(
    database: &impl ConnectionTrait,
    id: SecretId,
    there: &Secret,
    ring: &KeyRing,
) -> Result<(), DbErr> {
    Entity::update_many()
        .set(row(there, ring))
        .filter(Column::Id.eq(id.0))
        .exec(database)
        .await
        .map(|_| ())
}

fn row(there: &Secret, ring: &KeyRing) -> secret::ActiveModel {
    let name = (&there.realm, &there.key);
    let sealed = seal_params(name, there.version, &there.params, ring);
    secret::ActiveModel {
        id: NotSet,
        realm_id: Set(there.realm.as_str().to_owned()),
        key_name: Set(there.key.as_str().to_owned()),
        params: Set(sealed.params),
        mac: Set(Some(sealed.mac)),
        version: Set(there.version.0),
        created_at: Set(there.created_at),
        updated_at: Set(there.updated_at),
    }
}

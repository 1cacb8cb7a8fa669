//! The versions of secrets and realms that results are obtained with.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, DbErr};
use token_server_entity::token::{Column, Entity};
use token_server_entity::{realm, secret};

use super::locked::with_ids;
use crate::foundation::ids::{SecretId, Version};

/// Of a secret and its realm.
pub(super) type Versions = HashMap<SecretId, (Version, Version)>;

/// The versions of secrets and their realms. Asked for when the rows are locked, and not with
/// that: whoever changes a secret has its row locked until that can be seen.
pub(super) async fn versions(
    database: &impl ConnectionTrait,
    ids: &[SecretId],
) -> Result<Versions, DbErr> {
    let query = Query::select()
        .column((Entity, Column::SecretId))
        .column((secret::Entity, secret::Column::Version))
        .column((realm::Entity, realm::Column::Version))
        .from(Entity)
        .inner_join(
            secret::Entity,
            Expr::col((secret::Entity, secret::Column::Id)).equals((Entity, Column::SecretId)),
        )
        .inner_join(
            realm::Entity,
            Expr::col((realm::Entity, realm::Column::Id)).equals((Entity, Column::RealmId)),
        )
        .cond_where(with_ids(ids))
        .to_owned();
    let mut versions = Versions::new();
    for row in database.query_all(&query).await? {
        let of_secret = Version(row.try_get_by_index(1)?);
        let of_realm = Version(row.try_get_by_index(2)?);
        versions.insert(SecretId(row.try_get_by_index(0)?), (of_secret, of_realm));
    }
    Ok(versions)
}

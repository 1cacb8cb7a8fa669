//! API keys copied from another database: by their hashes, so callers keep their keys.

use sea_orm::{
    ActiveModelTrait,
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
};
use token_server_entity::api_key::{ActiveModel, Column, Entity, Model};

use super::store::{mac_of, verify};
use crate::feed::{self, FeedChange};
use crate::foundation::sealing::{KeyRing, OpenError};

/// An API key as another database has it.
pub struct StoredKey(Model);

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopiedKey {
    Made,
    Replaced,
    AsItIs,
    /// Another key has its name here.
    Differs(Vec<&'static str>),
    /// The same key has another name here.
    Named(String),
}

impl StoredKey {
    pub fn id(&self) -> i64 {
        self.0.id
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn verify(&self, ring: &KeyRing) -> Result<(), OpenError> {
        verify(ring, &self.0)
    }
}

pub async fn all(database: &impl ConnectionTrait) -> Result<Vec<StoredKey>, DbErr> {
    let rows = Entity::find()
        .order_by_asc(Column::Id)
        .all(database)
        .await?;
    Ok(rows.into_iter().map(StoredKey).collect())
}

/// Makes a key here, or writes it over its earlier copy. Inside a transaction.
pub async fn copy(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    there: &StoredKey,
    over_copy: bool,
) -> Result<CopiedKey, DbErr> {
    let StoredKey(there) = there;
    let of_hash = Entity::find().filter(Column::Hash.eq(there.hash.as_str()));
    if let Some(other) = of_hash.one(database).await?
        && other.name != there.name
    {
        return Ok(CopiedKey::Named(other.name));
    }
    // The database gives it a number of its own.
    let row = ActiveModel {
        id: NotSet,
        mac: Set(Some(mac_of(ring, there))),
        ..there.clone().into_active_model().reset_all()
    };
    let named = Entity::find().filter(Column::Name.eq(there.name.as_str()));
    let Some(here) = named.one(database).await? else {
        Entity::insert(row).exec_without_returning(database).await?;
        return Ok(CopiedKey::Made);
    };
    let differing: Vec<_> = [
        ("its authentication", verify(ring, &here).is_err()),
        ("the key itself", here.hash != there.hash),
        ("scopes", here.scopes != there.scopes),
        (
            "patterns",
            (&here.realms, &here.secret_keys) != (&there.realms, &there.secret_keys),
        ),
        (
            "times",
            (here.expires_at, here.revoked_at) != (there.expires_at, there.revoked_at),
        ),
        ("rate", here.rate != there.rate),
    ]
    .into_iter()
    .filter_map(|(part, differs)| differs.then_some(part))
    .collect();
    if differing.is_empty() {
        return Ok(CopiedKey::AsItIs);
    }
    // Nobody gets a revocation undone.
    let is_revoked_here = here.revoked_at.is_some() && there.revoked_at.is_none();
    if !over_copy || is_revoked_here {
        return Ok(CopiedKey::Differs(differing));
    }
    Entity::update_many()
        .set(row)
        .filter(Column::Id.eq(here.id))
        .exec(database)
        .await?;
    feed::append(database, &[FeedChange::Keys]).await?;
    Ok(CopiedKey::Replaced)
}

//! A caller's key, stored as its hash.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_api_key")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub name: String,
    /// SHA-256 of the key, lower-case hexadecimal.
    pub hash: String,
    /// The first characters, to recognise a key by.
    pub hint: String,
    /// Comma-separated scopes.
    pub scopes: String,
    /// Patterns of realms that reading and flushing is limited to, as a JSON list; absent: all.
    pub realms: Option<String>,
    /// Patterns of secret keys, likewise.
    pub secret_keys: Option<String>,
    pub created_at: EpochMs,
    pub expires_at: Option<EpochMs>,
    pub revoked_at: Option<EpochMs>,
    /// Calls a second that it may make of each replica; absent: as many as the configuration says.
    pub rate: Option<i64>,
    /// Authenticates all but id and hint; absent where an earlier version wrote it.
    pub mac: Option<Sealed>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

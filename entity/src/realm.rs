//! A provider's token endpoint and its rules.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_realm")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub comment: Option<String>,
    /// The realm document as JSON text; absent for custom logic and fixed tokens.
    pub config: Option<String>,
    /// The URL of custom logic.
    pub logic_code: Option<String>,
    /// Rises by one with each change.
    pub version: i64,
    /// No request to this realm before then (a rate limit that holds for all of it).
    pub blocked_until: Option<EpochMs>,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
    /// Authenticates id, version, document and URL; absent where an earlier version wrote it.
    pub mac: Option<Sealed>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

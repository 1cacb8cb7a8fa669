//! Who did what: append-only.

use sea_orm::entity::prelude::*;

use crate::EpochMs;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_audit")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub at: EpochMs,
    /// The caller's key by name; absent where none was recognised.
    pub actor: Option<String>,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub detail: Option<String>,
    pub request_id: Option<String>,
    /// How many calls the entry stands for; absent in those of older servers: one.
    pub count: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

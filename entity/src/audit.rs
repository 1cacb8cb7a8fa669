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
    /// The chain that the entry is in; absent in those of older servers.
    pub chain: Option<String>,
    /// Its place there, from 1.
    pub seq: Option<i64>,
    /// Authenticates the entry, its place, and the entry before it.
    pub mac: Option<Vec<u8>>,
    /// What was there before a change, as JSON, masked.
    pub before_value: Option<String>,
    /// What there is after it.
    pub after_value: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

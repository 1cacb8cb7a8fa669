//! One attempt to obtain a token: history.

use sea_orm::entity::prelude::*;

use crate::EpochMs;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_renewal")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub realm_id: String,
    pub key_name: String,
    /// The claim this attempt ran under.
    pub attempt_id: String,
    pub cause: String,
    pub outcome: String,
    pub class: Option<String>,
    pub detail: Option<String>,
    /// The generation this attempt stored.
    pub generation: Option<i64>,
    pub started_at: EpochMs,
    pub duration_ms: i64,
    pub replica: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

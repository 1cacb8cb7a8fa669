//! The last generation of a secret that was deleted: one made again goes on from there.

use sea_orm::entity::prelude::*;

use crate::EpochMs;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_retired")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub realm_id: String,
    pub key_name: String,
    pub generation: i64,
    /// When the secret was deleted.
    pub at: EpochMs,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

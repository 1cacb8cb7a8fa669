//! Servers and commands that work with this database, and the sealing keys that each has.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_replica")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub replica: String,
    /// The ids of its keys: a list in JSON, in their order.
    pub key_ids: String,
    /// The id of the key that it seals with.
    pub seals: String,
    /// It has gone, unless it says by then that it lives.
    pub live_until: EpochMs,
    /// Authenticates all of that.
    pub mac: Sealed,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! One sealed check value for each key id, so that a wrong key is noticed at start.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_sealing_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    pub check_value: Sealed,
    pub created_at: EpochMs,
    /// All servers seal with the key whose time is the latest; where none has one, each with the
    /// first of its own.
    pub seals_since: Option<EpochMs>,
    /// Authenticates that, with the key itself.
    pub seals_mac: Option<Sealed>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

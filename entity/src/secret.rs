//! One set of credentials in a realm.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_secret")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub realm_id: String,
    pub key_name: String,
    /// The parameters, as sealed JSON.
    pub params: Sealed,
    /// Rises by one with each change of the parameters.
    pub version: i64,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
    /// Authenticates the parameters as those of this version.
    pub mac: Option<Sealed>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! An issuer of JWTs that are let in, and what its tokens are good for.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_issuer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// What the claim `iss` of its tokens says; unique.
    pub issuer: String,
    /// The whole registration as JSON text.
    pub config: String,
    /// Rises by one with each change.
    pub version: i64,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
    /// Authenticates name, issuer, registration and version.
    pub mac: Option<Sealed>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

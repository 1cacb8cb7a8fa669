//! How far copies of the audit are, by chain.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_audit_sink")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// `file`, `syslog` or `https`.
    pub sink: String,
    pub chain: String,
    /// The place of the last entry that was taken.
    pub seq: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

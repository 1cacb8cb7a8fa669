//! How many requests were reserved in a provider's quota: one row a quota and subject.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_quota")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub realm_id: String,
    /// The secret, or 0 where the realm's secrets share the quota.
    #[sea_orm(primary_key, auto_increment = false)]
    pub secret_id: i64,
    /// Which of the realm's quotas: its window, and whether it counts forced requests.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// JSON: `[[begin of a part of the window in milliseconds, requests], …]`.
    pub reserved: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! A ticket that a provider pushed: one row an application.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_ticket")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub realm_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub app_id: String,
    pub value: Sealed,
    /// When the provider made it; an older push never replaces a newer one.
    pub sent_at: EpochMs,
    pub received_at: EpochMs,
    pub expires_at: EpochMs,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

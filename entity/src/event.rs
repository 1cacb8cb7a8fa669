//! What the webhook has still to be told: one row an event, deleted when it was taken.

use sea_orm::entity::prelude::*;

use crate::EpochMs;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_event")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The same at every try.
    pub message_id: String,
    /// The JSON that is sent.
    pub body: String,
    pub at: EpochMs,
    pub tries: i64,
    /// Sent from then on; moved on by whoever sends it, before it is sent.
    pub next_try_at: EpochMs,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

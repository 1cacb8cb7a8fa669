//! What was changed, for those who hold it in memory.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_change")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub subject: String,
    /// Of the row that was changed, where it is one.
    pub row_id: Option<i64>,
    /// Of what was changed, where nobody could look it up any more, or by nothing else.
    pub realm_id: Option<String>,
    pub key_name: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

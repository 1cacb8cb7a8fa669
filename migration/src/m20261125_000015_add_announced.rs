//! Adds to tokens what the webhook was last told of their trouble.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";
const COLUMN: &str = "announced";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(manager, TABLE, Dialect::of(manager).name(COLUMN)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_column(manager, TABLE, COLUMN).await
    }
}

//! Adds to secrets the code (MAC) that authenticates their parameters as those of their version.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_secret";
const COLUMN: &str = "mac";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = Dialect::of(manager).bytes(COLUMN);
        add_column(manager, TABLE, column).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_column(manager, TABLE, COLUMN).await
    }
}

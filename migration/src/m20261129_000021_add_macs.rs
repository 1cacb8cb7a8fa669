//! Adds to realms and API keys the code that authenticates them (MAC).

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: [&str; 2] = ["ts_realm", "ts_api_key"];
const COLUMN: &str = "mac";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let column = Dialect::of(manager).bytes(COLUMN);
            add_column(manager, table, column).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            drop_column(manager, table, COLUMN).await?;
        }
        Ok(())
    }
}

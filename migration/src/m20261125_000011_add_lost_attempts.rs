//! Adds to tokens what is known of an attempt whose outcome never came, and of the refresh token.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";

fn columns(d: Dialect) -> Vec<ColumnDef> {
    vec![
        d.integer("refresh_line").not_null().default(0).take(),
        d.name("lost_attempt"),
        d.integer("lost_at"),
        d.boolean("lost_awaited").not_null().default(false).take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            add_column(manager, TABLE, column).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            drop_column(manager, TABLE, &column.get_column_name()).await?;
        }
        Ok(())
    }
}

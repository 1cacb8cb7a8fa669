//! Adds to tokens what more is known of an attempt whose outcome never came.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, create_index, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";
const INDEX: &str = "ix_ts_token_lost_owner";

fn columns(d: Dialect) -> Vec<ColumnDef> {
    vec![
        d.boolean("lost_again").not_null().default(false).take(),
        d.name("lost_owner"),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            add_column(manager, TABLE, column).await?;
        }
        create_index(manager, TABLE, INDEX, &["lost_owner"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(Index::drop().name(INDEX).table(TABLE).to_owned())
            .await?;
        for column in columns(Dialect::of(manager)) {
            drop_column(manager, TABLE, &column.get_column_name()).await?;
        }
        Ok(())
    }
}

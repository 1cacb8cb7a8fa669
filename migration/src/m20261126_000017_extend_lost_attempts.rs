use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column};

/// What more a token's row knows of an attempt whose outcome never came.
#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";

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
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            let name = column.get_column_name();
            manager
                .alter_table(Table::alter().table(TABLE).drop_column(name).take())
                .await?;
        }
        Ok(())
    }
}

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column};

/// Whether more than one attempt may have used up the same refresh token.
#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";
const COLUMN: &str = "lost_again";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut column = Dialect::of(manager).boolean(COLUMN);
        let column = column.not_null().default(false).take();
        add_column(manager, TABLE, column).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(Table::alter().table(TABLE).drop_column(COLUMN).take())
            .await
    }
}

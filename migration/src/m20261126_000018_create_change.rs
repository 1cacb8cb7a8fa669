//! Makes the table of the feed of changes.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, drop_table};

/// The feed of changes that readers follow.
#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_change";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.name("subject").not_null())
                    .col(d.integer("row_id"))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

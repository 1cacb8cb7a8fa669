//! Makes the table of what is spent of quotas.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_quota";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .if_not_exists()
                    .col(d.name("realm_id").not_null())
                    .col(d.integer("secret_id").not_null())
                    .col(d.name("name").not_null())
                    .col(d.text("reserved").not_null())
                    .primary_key(Index::create().col("realm_id").col("secret_id").col("name"))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

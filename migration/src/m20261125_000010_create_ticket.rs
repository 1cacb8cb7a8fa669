//! Makes the table of pushed tickets.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table("ts_ticket")
                    .if_not_exists()
                    .col(d.name("realm_id").not_null())
                    .col(d.name("app_id").not_null())
                    .col(d.bytes("value").not_null())
                    .col(d.integer("sent_at").not_null())
                    .col(d.integer("received_at").not_null())
                    .col(d.integer("expires_at").not_null())
                    .primary_key(Index::create().col("realm_id").col("app_id"))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_ticket").await
    }
}

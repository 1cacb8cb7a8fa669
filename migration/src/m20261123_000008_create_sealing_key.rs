//! Makes the table of sealing keys.

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
                    .table("ts_sealing_key")
                    .if_not_exists()
                    .col(d.name("key_id").not_null().primary_key())
                    .col(d.bytes("check_value").not_null())
                    .col(d.integer("created_at").not_null())
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_sealing_key").await
    }
}

//! Makes the table of secrets.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table("ts_secret")
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.name("realm_id").not_null())
                    .col(d.name("key_name").not_null())
                    .col(d.bytes("params").not_null())
                    .col(d.integer("version").not_null())
                    .col(d.integer("created_at").not_null())
                    .col(d.integer("updated_at").not_null())
                    .take(),
            )
            .await?;
        create_index(
            manager,
            "ts_secret",
            "ux_ts_secret_realm_key",
            &["realm_id", "key_name"],
            true,
        )
        .await?;
        create_index(
            manager,
            "ts_secret",
            "ix_ts_secret_updated_at",
            &["updated_at"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_secret").await
    }
}

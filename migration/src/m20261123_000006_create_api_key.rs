//! Makes the table of API keys.

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
                    .table("ts_api_key")
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.name("name").not_null())
                    .col(d.name("hash").not_null())
                    .col(d.name("hint").not_null())
                    .col(d.name("scopes").not_null())
                    .col(d.text("realms"))
                    .col(d.text("secret_keys"))
                    .col(d.integer("created_at").not_null())
                    .col(d.integer("expires_at"))
                    .col(d.integer("revoked_at"))
                    .take(),
            )
            .await?;
        create_index(manager, "ts_api_key", "ux_ts_api_key_hash", &["hash"], true).await?;
        create_index(manager, "ts_api_key", "ux_ts_api_key_name", &["name"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_api_key").await
    }
}

//! Makes the table of realms.

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
                    .table("ts_realm")
                    .if_not_exists()
                    .col(d.name("id").not_null().primary_key())
                    .col(d.text("comment"))
                    .col(d.text("config"))
                    .col(d.text("logic_code"))
                    .col(d.integer("version").not_null())
                    .col(d.integer("blocked_until"))
                    .col(d.integer("created_at").not_null())
                    .col(d.integer("updated_at").not_null())
                    .take(),
            )
            .await?;
        create_index(
            manager,
            "ts_realm",
            "ix_ts_realm_updated_at",
            &["updated_at"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_realm").await
    }
}

//! Makes the table of the audit.

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
                    .table("ts_audit")
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.integer("at").not_null())
                    .col(d.name("actor"))
                    .col(d.name("action").not_null())
                    .col(d.text("target").not_null())
                    .col(d.name("outcome").not_null())
                    .col(d.text("detail"))
                    .col(d.name("request_id"))
                    .take(),
            )
            .await?;
        create_index(manager, "ts_audit", "ix_ts_audit_at", &["at"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_audit").await
    }
}

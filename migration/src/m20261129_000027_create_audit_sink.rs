//! Makes the table of how far copies of the audit are.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_audit_sink";

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
                    .col(d.name("sink").not_null())
                    .col(d.name("chain").not_null())
                    .col(d.integer("seq").not_null())
                    .take(),
            )
            .await?;
        let name = "ux_ts_audit_sink_chain_sink";
        create_index(manager, TABLE, name, &["chain", "sink"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

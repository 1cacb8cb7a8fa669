//! Makes the table of attempts.

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
                    .table("ts_renewal")
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.name("realm_id").not_null())
                    .col(d.name("key_name").not_null())
                    .col(d.name("attempt_id").not_null())
                    .col(d.name("cause").not_null())
                    .col(d.name("outcome").not_null())
                    .col(d.name("class"))
                    .col(d.text("detail"))
                    .col(d.integer("generation"))
                    .col(d.integer("started_at").not_null())
                    .col(d.integer("duration_ms").not_null())
                    .col(d.name("replica").not_null())
                    .take(),
            )
            .await?;
        create_index(
            manager,
            "ts_renewal",
            "ix_ts_renewal_realm_key",
            &["realm_id", "key_name", "id"],
            false,
        )
        .await?;
        create_index(
            manager,
            "ts_renewal",
            "ix_ts_renewal_started_at",
            &["started_at"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_renewal").await
    }
}

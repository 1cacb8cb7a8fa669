//! Makes the table of the generations of deleted secrets.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

/// The last generation of secrets that were deleted.
#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_retired";

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
                    .col(d.name("realm_id").not_null())
                    .col(d.name("key_name").not_null())
                    .col(d.integer("generation").not_null())
                    .col(d.integer("at").not_null())
                    .take(),
            )
            .await?;
        let named = ["realm_id", "key_name"];
        create_index(manager, TABLE, "ux_ts_retired_name", &named, true).await?;
        create_index(manager, TABLE, "ix_ts_retired_at", &["at"], false).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

//! Makes the table of events for the webhook.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

/// What the webhook has still to be told.
#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_event";

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
                    .col(d.name("message_id").not_null())
                    .col(d.text("body").not_null())
                    .col(d.integer("at").not_null())
                    .col(d.integer("tries").not_null())
                    .col(d.integer("next_try_at").not_null())
                    .take(),
            )
            .await?;
        create_index(
            manager,
            TABLE,
            "ix_ts_event_next_try",
            &["next_try_at"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

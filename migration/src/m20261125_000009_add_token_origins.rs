//! Adds to tokens what they came from, and how they are served: refresh token, parent, extra fields.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, create_index, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";

fn columns(d: Dialect) -> Vec<ColumnDef> {
    vec![
        d.bytes("served"),
        d.boolean("per_read").not_null().default(false).take(),
        d.bytes("extra"),
        d.bytes("refresh_token"),
        d.integer("refresh_expires_at"),
        d.boolean("forced").not_null().default(false).take(),
        d.text("waiting"),
        d.integer("waits_for"),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            add_column(manager, TABLE, column).await?;
        }
        create_index(
            manager,
            TABLE,
            "ix_ts_token_waits_for",
            &["waits_for"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(
                Index::drop()
                    .name("ix_ts_token_waits_for")
                    .table(TABLE)
                    .to_owned(),
            )
            .await?;
        for column in columns(Dialect::of(manager)) {
            drop_column(manager, TABLE, &column.get_column_name()).await?;
        }
        Ok(())
    }
}

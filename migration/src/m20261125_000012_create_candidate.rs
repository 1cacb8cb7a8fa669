//! Makes the table of pairs that are kept beside a token.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_candidate";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .if_not_exists()
                    .col(d.name("attempt_id").not_null().primary_key())
                    .col(d.integer("secret_id").not_null())
                    .col(d.integer("consumed").not_null())
                    .col(d.integer("refresh_line").not_null())
                    .col(d.integer("secret_version").not_null())
                    .col(d.integer("realm_version").not_null())
                    .col(d.bytes("token").not_null())
                    .col(d.text("token_type"))
                    .col(d.bytes("served"))
                    .col(d.boolean("per_read").not_null())
                    .col(d.bytes("extra"))
                    .col(d.integer("expires_at"))
                    .col(d.integer("obtained_at").not_null())
                    .col(d.integer("renew_at"))
                    .col(d.bytes("refresh_token").not_null())
                    .col(d.integer("refresh_expires_at"))
                    .take(),
            )
            .await?;
        create_index(
            manager,
            TABLE,
            "ix_ts_candidate_secret",
            &["secret_id", "obtained_at"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

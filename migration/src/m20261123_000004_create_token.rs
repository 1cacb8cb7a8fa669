//! Makes the table of tokens.

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
                    .table("ts_token")
                    .if_not_exists()
                    .col(d.integer("secret_id").not_null().primary_key())
                    .col(d.name("realm_id").not_null())
                    .col(d.name("key_name").not_null())
                    .col(d.bytes("token"))
                    .col(d.text("token_type"))
                    .col(d.integer("expires_at"))
                    .col(d.integer("generation").not_null())
                    .col(d.integer("obtained_at"))
                    .col(d.integer("renew_at"))
                    .col(d.boolean("paused").not_null())
                    .col(d.integer("last_attempt_at"))
                    .col(d.integer("failures").not_null())
                    .col(d.integer("failing_since"))
                    .col(d.name("failure_class"))
                    .col(d.text("failure_detail"))
                    .col(d.name("lease_owner"))
                    .col(d.integer("lease_until"))
                    .col(d.name("claim_id"))
                    .col(d.integer("fence").not_null())
                    .col(d.integer("updated_at").not_null())
                    .take(),
            )
            .await?;
        create_index(
            manager,
            "ts_token",
            "ux_ts_token_realm_key",
            &["realm_id", "key_name"],
            true,
        )
        .await?;
        create_index(
            manager,
            "ts_token",
            "ix_ts_token_realm_renew_at",
            &["realm_id", "renew_at"],
            false,
        )
        .await?;
        create_index(
            manager,
            "ts_token",
            "ix_ts_token_claim_id",
            &["claim_id"],
            false,
        )
        .await?;
        create_index(
            manager,
            "ts_token",
            "ix_ts_token_lease_until",
            &["lease_until"],
            false,
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_token").await
    }
}

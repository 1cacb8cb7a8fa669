//! Makes the table of issuers whose JWTs are let in.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, create_index, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_issuer";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .if_not_exists()
                    .col(d.name("name").not_null().primary_key())
                    .col(d.name("issuer").not_null())
                    .col(d.text("config").not_null())
                    .col(d.integer("version").not_null())
                    .col(d.integer("created_at").not_null())
                    .col(d.integer("updated_at").not_null())
                    .col(d.bytes("mac"))
                    .take(),
            )
            .await?;
        create_index(manager, TABLE, "ux_ts_issuer_issuer", &["issuer"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

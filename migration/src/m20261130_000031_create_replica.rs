//! Makes the table of running servers and the sealing keys that each has.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_replica";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        manager
            .create_table(
                Table::create()
                    .table(TABLE)
                    .if_not_exists()
                    .col(d.name("replica").not_null().primary_key())
                    .col(d.text("key_ids").not_null())
                    .col(d.name("seals").not_null())
                    .col(d.integer("live_until").not_null())
                    .col(d.bytes("mac").not_null())
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, TABLE).await
    }
}

//! Makes the table of locks.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, "ts_lock").await
    }
}

pub async fn create_table(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let d = Dialect::of(manager);
    manager
        .create_table(
            Table::create()
                .table("ts_lock")
                .if_not_exists()
                .col(d.name("name").not_null().primary_key())
                .col(d.name("owner"))
                .col(d.integer("held_until").not_null())
                .take(),
        )
        .await
}

//! Drops an index: claims are looked up by their rows.

use sea_orm_migration::prelude::*;

use crate::dialect::{create_index, drop_index};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";
const INDEX: &str = "ix_ts_token_claim_id";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_index(manager, TABLE, INDEX).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_index(manager, TABLE, INDEX, &["claim_id"], false).await
    }
}

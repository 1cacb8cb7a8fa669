//! Adds to sealing keys the code (MAC) that authenticates since when all servers seal with them.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_sealing_key";
const COLUMN: &str = "seals_mac";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = Dialect::of(manager).bytes(COLUMN);
        add_column(manager, TABLE, column).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_column(manager, TABLE, COLUMN).await
    }
}

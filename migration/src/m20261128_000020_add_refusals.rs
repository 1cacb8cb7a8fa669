//! Adds to tokens how often a provider has refused in a row, how often it was asked again while a
//! human was needed, and when the stored refresh token was obtained.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, drop_column};

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "ts_token";

fn columns(d: Dialect) -> Vec<ColumnDef> {
    vec![
        d.integer("refresh_obtained_at"),
        d.integer("refusals").not_null().default(0).take(),
        d.integer("refused_since"),
        d.integer("probes").not_null().default(0).take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            add_column(manager, TABLE, column).await?;
        }
        // What needed a human before still does.
        let parked = Query::update()
            .table(TABLE)
            .value("probes", 1)
            .and_where(Expr::col("failure_class").is_in(["permanent", "ours"]))
            .to_owned();
        manager.execute(parked).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns(Dialect::of(manager)) {
            drop_column(manager, TABLE, &column.get_column_name()).await?;
        }
        Ok(())
    }
}

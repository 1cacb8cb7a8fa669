//! Chains the entries of the audit, and adds what each changed: before and after.

use sea_orm_migration::prelude::*;

use crate::dialect::{Dialect, add_column, create_index, drop_column, drop_index, drop_table};

#[derive(DeriveMigrationName)]
pub struct Migration;

const AUDIT: &str = "ts_audit";
const CHAIN: &str = "ts_audit_chain";
const PLACES: &str = "ux_ts_audit_chain_seq";
const NAMES: &str = "ux_ts_audit_chain_chain";
const REPLICAS: &str = "ux_ts_audit_chain_replica_number";
const COLUMNS: [&str; 5] = ["chain", "seq", "mac", "before_value", "after_value"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let d = Dialect::of(manager);
        let [chain, seq, mac, before, after] = COLUMNS;
        let columns = [
            d.name(chain),
            d.integer(seq),
            d.bytes(mac),
            d.text(before),
            d.text(after),
        ];
        for column in columns {
            add_column(manager, AUDIT, column).await?;
        }
        create_index(manager, AUDIT, PLACES, &[chain, seq], true).await?;
        manager
            .create_table(
                Table::create()
                    .table(CHAIN)
                    .if_not_exists()
                    .col(d.auto_id())
                    .col(d.name("chain").not_null())
                    .col(d.name("replica").not_null())
                    .col(d.integer("number").not_null())
                    .col(d.bytes("sealed_key").not_null())
                    .col(d.integer("opened_at").not_null())
                    .col(d.integer("updated_at").not_null())
                    .col(d.integer("seq").not_null())
                    .col(d.bytes("mac").not_null())
                    .col(d.integer("said_seq").not_null())
                    .col(d.integer("pruned_seq").not_null())
                    .col(d.bytes("pruned_mac").not_null())
                    .col(d.bytes("head_mac").not_null())
                    .take(),
            )
            .await?;
        create_index(manager, CHAIN, NAMES, &["chain"], true).await?;
        create_index(manager, CHAIN, REPLICAS, &["replica", "number"], true).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_table(manager, CHAIN).await?;
        drop_index(manager, AUDIT, PLACES).await?;
        for column in COLUMNS {
            drop_column(manager, AUDIT, column).await?;
        }
        Ok(())
    }
}

//! The schema, step by step. Every step can run again after it was cut off, because
//! MySQL commits each DDL by itself.

mod dialect;
mod m20261123_000001_create_lock;
mod m20261123_000002_create_realm;
mod m20261123_000003_create_secret;
mod m20261123_000004_create_token;
mod m20261123_000005_create_renewal;
mod m20261123_000006_create_api_key;
mod m20261123_000007_create_audit;
mod m20261123_000008_create_sealing_key;
mod m20261125_000009_add_token_origins;
mod m20261125_000010_create_ticket;
mod m20261125_000011_add_lost_attempts;
mod m20261125_000012_create_candidate;
mod m20261125_000013_create_quota;
mod m20261125_000014_create_retired;
mod m20261125_000015_add_announced;
mod m20261125_000016_create_event;
mod m20261126_000017_extend_lost_attempts;
mod m20261126_000018_create_change;
mod m20261127_000019_drop_claim_index;
mod m20261128_000020_add_refusals;
mod m20261129_000021_add_macs;
mod m20261129_000022_authenticate_tokens;
mod m20261129_000023_add_seals_since;
mod m20261129_000024_count_audited_calls;
mod m20261129_000025_create_issuer;
mod m20261129_000026_chain_audit;
mod m20261129_000027_create_audit_sink;
mod m20261129_000028_add_rates;
mod m20261129_000029_authenticate_sealing_key;
mod m20261130_000030_authenticate_secrets;
mod m20261130_000031_create_replica;
mod m20261130_000032_name_changes;

use std::collections::HashSet;

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection};

/// Remembers the steps that were taken.
const TABLE: &str = "ts_migration";

/// All steps, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_lock::Migration),
            Box::new(m20261123_000002_create_realm::Migration),
            Box::new(m20261123_000003_create_secret::Migration),
            Box::new(m20261123_000004_create_token::Migration),
            Box::new(m20261123_000005_create_renewal::Migration),
            Box::new(m20261123_000006_create_api_key::Migration),
            Box::new(m20261123_000007_create_audit::Migration),
            Box::new(m20261123_000008_create_sealing_key::Migration),
            Box::new(m20261125_000009_add_token_origins::Migration),
            Box::new(m20261125_000010_create_ticket::Migration),
            Box::new(m20261125_000011_add_lost_attempts::Migration),
            Box::new(m20261125_000012_create_candidate::Migration),
            Box::new(m20261125_000013_create_quota::Migration),
            Box::new(m20261125_000014_create_retired::Migration),
            Box::new(m20261125_000015_add_announced::Migration),
            Box::new(m20261125_000016_create_event::Migration),
            Box::new(m20261126_000017_extend_lost_attempts::Migration),
            Box::new(m20261126_000018_create_change::Migration),
            Box::new(m20261127_000019_drop_claim_index::Migration),
            Box::new(m20261128_000020_add_refusals::Migration),
            Box::new(m20261129_000021_add_macs::Migration),
            Box::new(m20261129_000022_authenticate_tokens::Migration),
            Box::new(m20261129_000023_add_seals_since::Migration),
            Box::new(m20261129_000024_count_audited_calls::Migration),
            Box::new(m20261129_000025_create_issuer::Migration),
            Box::new(m20261129_000026_chain_audit::Migration),
            Box::new(m20261129_000027_create_audit_sink::Migration),
            Box::new(m20261129_000028_add_rates::Migration),
            Box::new(m20261129_000029_authenticate_sealing_key::Migration),
            Box::new(m20261130_000030_authenticate_secrets::Migration),
            Box::new(m20261130_000031_create_replica::Migration),
            Box::new(m20261130_000032_name_changes::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        TABLE.into_iden()
    }
}

/// How many steps are still to be taken. Those that only a newer version knows are its own:
/// they leave everything in place that this one uses.
pub async fn pending(database: &DatabaseConnection) -> Result<usize, DbErr> {
    let taken = taken(database).await?;
    let steps = Migrator::migrations();
    let missing = steps.iter().filter(|step| !taken.contains(step.name()));
    Ok(missing.count())
}

/// The names of all steps that were taken.
pub async fn taken(database: &DatabaseConnection) -> Result<HashSet<String>, DbErr> {
    let mut taken = HashSet::new();
    if SchemaManager::new(database).has_table(TABLE).await? {
        let versions = Query::select().column("version").from(TABLE).to_owned();
        for row in database.query_all(&versions).await? {
            taken.insert(row.try_get::<String>("", "version")?);
        }
    }
    Ok(taken)
}

/// Makes the table of locks, so that the lock of the migration itself can be taken.
pub async fn create_lock_table(database: &DatabaseConnection) -> Result<(), DbErr> {
    m20261123_000001_create_lock::create_table(&SchemaManager::new(database)).await
}

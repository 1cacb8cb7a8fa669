//! Chains of audit entries: one for each server that writes some.

use sea_orm::entity::prelude::*;

use crate::{EpochMs, Sealed};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ts_audit_chain")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its random name, in entries.
    #[sea_orm(unique)]
    pub chain: String,
    /// The server that writes it.
    pub replica: String,
    /// Of its chains, from 1: it writes the last.
    pub number: i64,
    /// What its entries are authenticated with.
    pub sealed_key: Sealed,
    pub opened_at: EpochMs,
    /// When its last entry was made.
    pub updated_at: EpochMs,
    /// The place of its last entry; 0 where there is none.
    pub seq: i64,
    /// Of its last entry.
    pub mac: Vec<u8>,
    /// The place of its last entry that is no record of other chains.
    pub said_seq: i64,
    /// The place of the last entry that was pruned; 0 where none was.
    pub pruned_seq: i64,
    /// Of that entry.
    pub pruned_mac: Vec<u8>,
    /// Authenticates this row.
    pub head_mac: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

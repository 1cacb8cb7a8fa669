//! Records in this server's chain where the others end, so that it is found where their last entries
//! are deleted: nobody can take back what another chain holds.

use std::collections::HashMap;
use std::num::NonZeroU32;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};
use token_server_entity::audit_chain::{Column, Entity, Model};
use tokio::sync::Mutex;

use super::entry::{AuditEntry, AuditOutcome, Change, HEADS};
use super::log::AuditLog;
use crate::foundation::clock::{EpochMs, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::hex;

/// Chains that one entry records; the others are recorded by the next.
pub const HEADS_MAX: usize = 100;

/// What came of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// No other chain has grown.
    Nothing,
    /// So many were recorded.
    Heads(usize),
}

/// Remembers what it has recorded.
pub struct HeadSigner {
    database: Database,
    log: AuditLog,
    clock: SharedClock,
    /// By chain, the last of its entries that is recorded.
    recorded: Mutex<HashMap<String, i64>>,
}

impl HeadSigner {
    pub fn new(database: Database, log: AuditLog, clock: SharedClock) -> Self {
        Self {
            database,
            log,
            clock,
            recorded: Mutex::default(),
        }
    }

    /// Records the heads of all other chains that have said something since they were recorded.
    /// A chain that holds new records only has said nothing: two servers would go on for ever.
    pub async fn sign(&self) -> Result<Signed, DbError> {
        let mut recorded = self.recorded.lock().await;
        let (known, now) = (&*recorded, self.clock.now());
        let heads = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let heads = self.unrecorded(transaction, known).await?;
                    if !heads.is_empty() {
                        let entry = entry(&heads, now);
                        self.log.append(transaction, vec![entry]).await?;
                    }
                    Ok::<_, DbError>(heads)
                })
            })
            .await?;
        for head in &heads {
            recorded.insert(head.chain.clone(), head.seq);
        }
        Ok(match heads.len() {
            0 => Signed::Nothing,
            count => Signed::Heads(count),
        })
    }

    async fn unrecorded(
        &self,
        transaction: &impl ConnectionTrait,
        known: &HashMap<String, i64>,
    ) -> Result<Vec<Model>, DbErr> {
        let own = self.log.current_id(transaction).await?;
        let newest_first = Entity::find()
            .filter(Column::SaidSeq.gt(0))
            .order_by_desc(Column::UpdatedAt)
            .all(transaction)
            .await?;
        let mut heads: Vec<_> = newest_first
            .into_iter()
            .filter(|head| Some(head.id) != own)
            .filter(|head| {
                let known = known.get(&head.chain);
                known.is_none_or(|known| head.said_seq > *known)
            })
            .collect();
        heads.truncate(HEADS_MAX);
        Ok(heads)
    }
}

fn entry(heads: &[Model], now: EpochMs) -> AuditEntry {
    let recorded = heads
        .iter()
        .map(|head| json!({"chain": head.chain, "seq": head.seq, "mac": hex(&head.mac)}));
    AuditEntry {
        at: now,
        actor: None,
        action: HEADS.to_owned(),
        target: "audit".to_owned(),
        outcome: AuditOutcome::Done,
        detail: None,
        request_id: None,
        count: NonZeroU32::MIN,
        change: Change {
            before: None,
            after: Some(json!({"heads": recorded.collect::<Vec<_>>()})),
        },
    }
}

/// A chain's end, as another chain recorded it.
#[derive(Clone, Debug)]
pub(super) struct RecordedHead {
    pub(super) chain: String,
    pub(super) seq: i64,
    /// In hexadecimal digits.
    pub(super) mac: String,
}

/// What an entry records; nothing where it is not as it was written.
pub(super) fn recorded_in(after: &str) -> Vec<RecordedHead> {
    let after: Value = serde_json::from_str(after).unwrap_or_default();
    let heads = after["heads"].as_array().into_iter().flatten();
    let head = |head: &Value| {
        Some(RecordedHead {
            chain: head["chain"].as_str()?.to_owned(),
            seq: head["seq"].as_i64()?,
            mac: head["mac"].as_str()?.to_owned(),
        })
    };
    heads.filter_map(head).collect()
}

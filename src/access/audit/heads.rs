//! Records in this server's chain where the others end, so that it is found where their last entries
//! are deleted: nobody can take back what another chain holds.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::{Value, json};
use token_server_entity::audit;
use token_server_entity::audit_chain::{Column, Entity, Model};
use tokio::sync::Mutex;

use super::entry::{AuditEntry, HEADS};
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
    let recorded: Vec<_> = recorded.collect();
    AuditEntry::of_audit(HEADS, None, Some(json!({"heads": recorded})), now)
}

/// A chain's end, as another chain recorded it.
#[derive(Clone, Debug)]
pub(super) struct RecordedHead {
    pub(super) seq: i64,
    /// In hexadecimal digits.
    mac: String,
    /// The chain that recorded it, and when.
    pub(super) by: String,
    pub(super) at: EpochMs,
}

/// What the records of one chain say of it.
#[derive(Debug)]
pub(super) struct OfChain {
    pub(super) farthest: RecordedHead,
    /// The farthest whose entry is not there.
    pub(super) absent: Option<RecordedHead>,
    /// The first in whose place another entry is, and the number of that.
    pub(super) replaced: Option<(i64, RecordedHead)>,
}

/// All records that good entries hold, each compared with what is in its place. An entry was
/// there before another chain recorded it, so one that is not there was deleted.
#[derive(Debug, Default)]
pub(super) struct Records(pub(super) BTreeMap<String, OfChain>);

impl Records {
    /// Adds what entries record.
    pub(super) async fn add(
        &mut self,
        database: &impl ConnectionTrait,
        entries: &[audit::Model],
    ) -> Result<(), DbErr> {
        let mut by_chain: BTreeMap<String, Vec<RecordedHead>> = BTreeMap::new();
        for (chain, head) in entries.iter().flat_map(recorded_in) {
            by_chain.entry(chain).or_default().push(head);
        }
        for (chain, heads) in by_chain {
            let there = there(database, &chain, &heads).await?;
            for head in heads {
                let there = there.get(&head.seq);
                self.add_compared(&chain, head, there);
            }
        }
        Ok(())
    }

    fn add_compared(&mut self, chain: &str, head: RecordedHead, there: Option<&(i64, String)>) {
        let of_chain = self.0.entry(chain.to_owned()).or_insert_with(|| OfChain {
            farthest: head.clone(),
            absent: None,
            replaced: None,
        });
        if head.seq > of_chain.farthest.seq {
            of_chain.farthest = head.clone();
        }
        match there {
            None => {
                let known = of_chain.absent.as_ref();
                if known.is_none_or(|known| head.seq > known.seq) {
                    of_chain.absent = Some(head);
                }
            }
            Some((id, mac)) if *mac != head.mac => {
                let known = of_chain.replaced.as_ref();
                if known.is_none_or(|(_, known)| head.seq < known.seq) {
                    of_chain.replaced = Some((*id, head));
                }
            }
            Some(_) => {}
        }
    }
}

/// By place, the number and the code of the entries that are where some were recorded.
async fn there(
    database: &impl ConnectionTrait,
    chain: &str,
    heads: &[RecordedHead],
) -> Result<HashMap<i64, (i64, String)>, DbErr> {
    let rows: Vec<(i64, i64, Option<Vec<u8>>)> = audit::Entity::find()
        .select_only()
        .columns([audit::Column::Id, audit::Column::Seq, audit::Column::Mac])
        .filter(audit::Column::Chain.eq(chain))
        .filter(audit::Column::Seq.is_in(heads.iter().map(|head| head.seq)))
        .into_tuple()
        .all(database)
        .await?;
    let there = rows
        .into_iter()
        .map(|(id, seq, mac)| (seq, (id, hex(mac.as_deref().unwrap_or_default()))));
    Ok(there.collect())
}

/// What an entry records of other chains, by their names.
fn recorded_in(row: &audit::Model) -> Vec<(String, RecordedHead)> {
    if row.action != HEADS {
        return Vec::new();
    }
    let after = row.after_value.as_deref().unwrap_or_default();
    let after: Value = serde_json::from_str(after).unwrap_or_default();
    let heads = after["heads"].as_array().into_iter().flatten();
    let head = |head: &Value| {
        let recorded = RecordedHead {
            seq: head["seq"].as_i64()?,
            mac: head["mac"].as_str()?.to_owned(),
            by: row.chain.clone()?,
            at: row.at,
        };
        Some((head["chain"].as_str()?.to_owned(), recorded))
    };
    heads.filter_map(head).collect()
}

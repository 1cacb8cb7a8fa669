//! Goes through all chains, and names the first entry of each that is not as it was written.

use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use token_server_entity::{audit, audit_chain};

use super::chain::ChainKey;
use super::entry::{HEADS, PRUNE};
use super::fault::{AuditFault, FaultKind};
use super::heads::recorded_in;
use super::prune::ended_in;
use super::store::{AuditFilter, after, in_chain};
use crate::foundation::clock::EpochMs;
use crate::foundation::hex;
use crate::foundation::sealing::KeyRing;

/// Entries read at once.
const PAGE_ROWS: u64 = 500;
/// A chain whose beginning is pruned meanwhile is gone through again.
const TRIES: usize = 5;

/// What a verification has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Entries that are as they were written.
    pub entries: u64,
    pub chains: u64,
    /// Entries that an earlier version wrote, into no chain.
    pub unchained: u64,
    pub faults: Vec<AuditFault>,
}

/// Where another chain has recorded that a chain ended.
struct Recorded {
    seq: i64,
    mac: String,
    by: String,
    at: EpochMs,
}

pub async fn verify(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<Verification, DbErr> {
    let mut verified = Verification::default();
    let recorded = recorded(database).await?;
    let ids: Vec<i64> = audit_chain::Entity::find()
        .select_only()
        .column(audit_chain::Column::Id)
        .order_by_asc(audit_chain::Column::Id)
        .into_tuple()
        .all(database)
        .await?;
    let mut known = HashSet::new();
    for id in ids {
        let mut tries = TRIES;
        while let Some(row) = of_chain(database, ring, id, &recorded, &mut verified).await? {
            tries -= 1;
            if row.is_over || tries == 0 {
                known.insert(row.chain);
                break;
            }
        }
    }
    gone(database, &recorded, &known, &mut verified).await?;
    in_no_chain(database, &mut verified).await?;
    Ok(verified)
}

/// The farthest end of each chain that another has recorded.
async fn recorded(database: &impl ConnectionTrait) -> Result<HashMap<String, Recorded>, DbErr> {
    let mut all: HashMap<String, Recorded> = HashMap::new();
    each_of_action(database, HEADS, |row| {
        let text = row.after_value.as_deref().unwrap_or_default();
        for head in recorded_in(text) {
            let by = row.chain.clone().unwrap_or_default();
            let known = all.get(&head.chain);
            if known.is_none_or(|known| known.seq < head.seq) && by != head.chain {
                let (seq, mac, at) = (head.seq, head.mac, row.at);
                all.insert(head.chain, Recorded { seq, mac, by, at });
            }
        }
    })
    .await?;
    Ok(all)
}

/// Goes through all entries of an action.
async fn each_of_action(
    database: &impl ConnectionTrait,
    action: &str,
    mut each: impl FnMut(&audit::Model),
) -> Result<(), DbErr> {
    let filter = AuditFilter {
        action: Some(action),
        ..AuditFilter::default()
    };
    let mut place = i64::MIN;
    loop {
        let rows = after(database, place, &filter, PAGE_ROWS).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        place = last.id;
        rows.iter().for_each(&mut each);
    }
}

/// A chain that was gone through.
struct Walked {
    chain: String,
    /// False where its beginning was pruned meanwhile.
    is_over: bool,
}

/// Goes through one chain; none where it has ended.
async fn of_chain(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    id: i64,
    recorded: &HashMap<String, Recorded>,
    verified: &mut Verification,
) -> Result<Option<Walked>, DbErr> {
    let Some(first_look) = audit_chain::Entity::find_by_id(id).one(database).await? else {
        return Ok(None);
    };
    // The entries before the head: what is beyond that was not written since.
    let newest = newest(database, &first_look.chain).await?;
    let Some(head) = audit_chain::Entity::find_by_id(id).one(database).await? else {
        return Ok(None);
    };
    let chain = head.chain.clone();
    let walk = Walk {
        database,
        head: &head,
        recorded: recorded.get(&chain),
    };
    let key = ChainKey::open(&head, ring);
    let (entries, fault) = match key {
        Err(error) => (0, Some(walk.of_head(FaultKind::Closed(error.to_string())))),
        Ok(key) if !key.is_of_head(&head) => (0, Some(walk.of_head(FaultKind::Altered))),
        Ok(key) => walk.go(&key, newest).await?,
    };
    if fault.is_some() {
        let now = audit_chain::Entity::find_by_id(id).one(database).await?;
        if now.is_none_or(|now| now.pruned_seq != head.pruned_seq) {
            let is_over = false;
            return Ok(Some(Walked { chain, is_over }));
        }
    }
    verified.entries += entries;
    verified.chains += 1;
    verified.faults.extend(fault);
    let is_over = true;
    Ok(Some(Walked { chain, is_over }))
}

/// The number and the place of the last entry of a chain.
async fn newest(database: &impl ConnectionTrait, chain: &str) -> Result<Option<(i64, i64)>, DbErr> {
    let newest = audit::Entity::find()
        .filter(audit::Column::Chain.eq(chain))
        .filter(audit::Column::Seq.is_not_null())
        .order_by_desc(audit::Column::Seq)
        .one(database)
        .await?;
    Ok(newest.map(|row| (row.id, row.seq.unwrap_or(0))))
}

/// The way through a chain whose key and row are good.
struct Walk<'a, C> {
    database: &'a C,
    head: &'a audit_chain::Model,
    recorded: Option<&'a Recorded>,
}

impl<C: ConnectionTrait> Walk<'_, C> {
    fn of_head(&self, kind: FaultKind) -> AuditFault {
        AuditFault {
            table: "ts_audit_chain",
            id: Some(self.head.id),
            chain: Some(self.head.chain.clone()),
            seq: None,
            kind,
        }
    }

    fn at(&self, id: Option<i64>, seq: i64, kind: FaultKind) -> AuditFault {
        AuditFault {
            table: "ts_audit",
            id,
            chain: Some(self.head.chain.clone()),
            seq: Some(seq),
            kind,
        }
    }

    /// How many entries are good, and the first that is not.
    async fn go(
        &self,
        key: &ChainKey,
        newest: Option<(i64, i64)>,
    ) -> Result<(u64, Option<AuditFault>), DbErr> {
        let head = self.head;
        let (mut entries, mut place) = (0, head.pruned_seq);
        let mut mac = head.pruned_mac.clone();
        let mut before: Option<i64> = None;
        let pruned = in_chain(self.database, &head.chain, i64::MIN, 1).await?;
        if let Some((row, seq)) = pruned.first().and_then(|row| Some((row, row.seq?)))
            && seq <= head.pruned_seq
        {
            let fault = self.at(Some(row.id), seq, FaultKind::Inserted);
            return Ok((entries, Some(fault)));
        }
        while place < head.seq {
            let rows = in_chain(self.database, &head.chain, place, PAGE_ROWS).await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            for (index, row) in rows.into_iter().enumerate() {
                let seq = row.seq.unwrap_or(0);
                if place == head.seq {
                    break;
                }
                if seq != place + 1 {
                    let fault = self.at(None, place + 1, FaultKind::Missing);
                    return Ok((entries, Some(fault)));
                }
                let follows = before.is_none_or(|before| before < row.id);
                let is_followed = ids.get(index + 1).is_none_or(|next| row.id < *next);
                let good = key.is_of_entry(&row, &mac);
                let kind = match (follows, good, is_followed) {
                    (false, _, _) | (_, false, false) => Some(FaultKind::Reordered),
                    (true, false, true) => Some(FaultKind::Altered),
                    (true, true, _) => self.contradicted(&row).then_some(FaultKind::Altered),
                };
                if let Some(kind) = kind {
                    return Ok((entries, Some(self.at(Some(row.id), seq, kind))));
                }
                (entries, place, before) = (entries + 1, seq, Some(row.id));
                mac = row.mac.unwrap_or_default();
            }
            if ids.is_empty() {
                let fault = self.at(None, place + 1, FaultKind::Missing);
                return Ok((entries, Some(fault)));
            }
        }
        if mac != head.mac {
            return Ok((entries, Some(self.of_head(FaultKind::Altered))));
        }
        if let Some(recorded) = self.recorded.filter(|recorded| recorded.seq > head.seq) {
            let (by, at) = (recorded.by.clone(), recorded.at);
            let fault = self.at(None, recorded.seq, FaultKind::CutOff { by, at });
            return Ok((entries, Some(fault)));
        }
        let beyond = newest.filter(|(_, seq)| *seq > head.seq);
        let fault = beyond.map(|(id, seq)| self.at(Some(id), seq, FaultKind::Inserted));
        Ok((entries, fault))
    }

    /// Whether another chain has recorded another entry in this place.
    fn contradicted(&self, row: &audit::Model) -> bool {
        let here = self.recorded.filter(|known| Some(known.seq) == row.seq);
        here.is_some_and(|known| row.mac.as_deref().map(hex).as_ref() != Some(&known.mac))
    }
}

/// Chains that others have recorded, that did not end by their age, and that are not there.
async fn gone(
    database: &impl ConnectionTrait,
    recorded: &HashMap<String, Recorded>,
    known: &HashSet<String>,
    verified: &mut Verification,
) -> Result<(), DbErr> {
    let mut missing: Vec<_> = recorded
        .iter()
        .filter(|(chain, _)| !known.contains(*chain))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort_by_key(|(chain, _)| chain.as_str());
    let mut ended = HashSet::new();
    each_of_action(database, PRUNE, |row| {
        ended.extend(ended_in(row.after_value.as_deref().unwrap_or_default()));
    })
    .await?;
    for (chain, recorded) in missing {
        if !ended.contains(chain) {
            verified.faults.push(AuditFault {
                table: "ts_audit_chain",
                id: None,
                chain: Some(chain.clone()),
                seq: Some(recorded.seq),
                kind: FaultKind::CutOff {
                    by: recorded.by.clone(),
                    at: recorded.at,
                },
            });
        }
    }
    Ok(())
}

/// Entries that are in no chain: those of an earlier version come before all others.
async fn in_no_chain(
    database: &impl ConnectionTrait,
    verified: &mut Verification,
) -> Result<(), DbErr> {
    let names = Query::select()
        .column(audit_chain::Column::Chain)
        .from(audit_chain::Entity)
        .to_owned();
    let of_no_row = audit::Entity::find()
        .filter(audit::Column::Chain.is_not_null())
        .filter(Expr::col(audit::Column::Chain).not_in_subquery(names))
        .order_by_asc(audit::Column::Id)
        .one(database)
        .await?;
    let first = audit::Entity::find()
        .filter(audit::Column::Chain.is_not_null())
        .order_by_asc(audit::Column::Id)
        .one(database)
        .await?;
    let unchained = audit::Entity::find().filter(audit::Column::Chain.is_null());
    let later = match &first {
        Some(first) => {
            let later = unchained.clone().filter(audit::Column::Id.gt(first.id));
            later.order_by_asc(audit::Column::Id).one(database).await?
        }
        None => None,
    };
    let older = match &first {
        Some(first) => unchained.filter(audit::Column::Id.lt(first.id)),
        None => unchained,
    };
    verified.unchained = older.count(database).await?;
    for row in [of_no_row, later].into_iter().flatten() {
        verified.faults.push(AuditFault {
            table: "ts_audit",
            id: Some(row.id),
            chain: row.chain,
            seq: row.seq,
            kind: FaultKind::Inserted,
        });
    }
    Ok(())
}

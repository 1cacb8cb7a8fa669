//! Goes through all chains, and names the first entry of each that is not as it was written.

use std::collections::HashSet;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use token_server_entity::{audit, audit_chain};

use super::chain::ChainKey;
use super::earlier::{FoundNote, UnchainedNote};
use super::fault::{AuditFault, FaultKind};
use super::heads::{RecordedHead, Records};
use super::outside::in_no_chain;
use super::prune::ended_in;
use super::store::in_chain;
use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::KeyRing;

/// Entries read at once.
const PAGE_ROWS: u64 = 500;
/// A chain whose beginning is pruned meanwhile is gone through again, and all of them where one
/// ends meanwhile.
const TRIES: usize = 5;

/// What a verification has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Entries that are as they were written.
    pub entries: u64,
    pub chains: u64,
    /// Entries that an earlier version wrote, into no chain.
    pub unchained: u64,
    /// Since when it would be found that one of these was changed; none: it would not be.
    pub noted_since: Option<EpochMs>,
    pub faults: Vec<AuditFault>,
    /// Inserted entries beyond those that are named.
    pub more_inserted: u64,
}

/// What good entries tell of other chains. Nobody else is believed.
#[derive(Default)]
struct Told {
    records: Records,
    /// Chains that ended by their age.
    ended: HashSet<String>,
    /// Of the entries in no chain.
    notes: Vec<UnchainedNote>,
}

pub async fn verify(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
) -> Result<Verification, DbErr> {
    let mut tries = TRIES;
    loop {
        let ids = chains(database).await?;
        let verified = verify_once(database, ring, &ids).await?;
        tries -= 1;
        if tries == 0 || verified.faults.is_empty() {
            return Ok(verified);
        }
        // The entry that tells of an end may be in a chain that was gone through before it.
        let now: HashSet<i64> = chains(database).await?.into_iter().collect();
        if ids.iter().all(|id| now.contains(id)) {
            return Ok(verified);
        }
    }
}

/// The numbers of the rows of all chains.
async fn chains(database: &impl ConnectionTrait) -> Result<Vec<i64>, DbErr> {
    audit_chain::Entity::find()
        .select_only()
        .column(audit_chain::Column::Id)
        .order_by_asc(audit_chain::Column::Id)
        .into_tuple()
        .all(database)
        .await
}

async fn verify_once(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    ids: &[i64],
) -> Result<Verification, DbErr> {
    let (mut verified, mut told) = (Verification::default(), Told::default());
    let mut walked = Vec::new();
    for id in ids {
        let mut tries = TRIES;
        while let Some(one) = of_chain(database, ring, *id, &mut told).await? {
            tries -= 1;
            if one.is_over || tries == 0 {
                walked.push(one);
                break;
            }
        }
    }
    let mut known = HashSet::new();
    for one in walked {
        verified.entries += one.entries;
        verified.chains += 1;
        let fault = with_records(database, &one, &told.records).await?;
        verified.faults.extend(fault);
        known.insert(one.head.chain);
    }
    gone(&told, &known, &mut verified);
    // It may have been written since its chain was gone through.
    told.notes
        .extend(FoundNote::find(database, ring).await?.note());
    let note = UnchainedNote::that_counts(told.notes);
    let outside = in_no_chain(database, ring, note).await?;
    verified.unchained = outside.unchained;
    verified.noted_since = outside.noted_since;
    verified.faults.extend(outside.faults);
    verified.more_inserted = outside.more_inserted;
    Ok(verified)
}

/// A chain that was gone through.
struct Walked {
    head: audit_chain::Model,
    entries: u64,
    fault: Option<AuditFault>,
    /// False where its beginning was pruned meanwhile.
    is_over: bool,
}

/// Goes through one chain; none where it has ended.
async fn of_chain(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    id: i64,
    told: &mut Told,
) -> Result<Option<Walked>, DbErr> {
    let Some(first_look) = audit_chain::Entity::find_by_id(id).one(database).await? else {
        return Ok(None);
    };
    // The entries before the head: what is beyond that was not written since.
    let newest = newest(database, &first_look.chain).await?;
    let Some(head) = audit_chain::Entity::find_by_id(id).one(database).await? else {
        return Ok(None);
    };
    let walk = Walk {
        database,
        head: &head,
    };
    let (entries, fault) = match ChainKey::open(&head, ring) {
        Err(error) => {
            let kind = FaultKind::Closed(error.to_string());
            (0, Some(of_head(&head, kind)))
        }
        Ok(key) if !key.is_of_head(&head) => (0, Some(of_head(&head, FaultKind::Altered))),
        Ok(key) => walk.go(&key, newest, told).await?,
    };
    let is_over = fault.is_none() || {
        let now = audit_chain::Entity::find_by_id(id).one(database).await?;
        now.is_some_and(|now| now.pruned_seq == head.pruned_seq)
    };
    Ok(Some(Walked {
        head,
        entries,
        fault,
        is_over,
    }))
}

/// The first fault of a chain, by its entries and by what others have recorded of it.
async fn with_records(
    database: &impl ConnectionTrait,
    walked: &Walked,
    records: &Records,
) -> Result<Option<AuditFault>, DbErr> {
    let (head, fault) = (&walked.head, walked.fault.clone());
    let Some(of_chain) = records.0.get(&head.chain) else {
        return Ok(fault);
    };
    // A fault of the row says that nothing of the chain is sure.
    let is_before = |recorded: &RecordedHead| match &fault {
        Some(fault) => fault.seq.is_some_and(|seq| recorded.seq < seq),
        None => true,
    };
    if let Some((id, recorded)) = &of_chain.replaced
        && recorded.seq > head.pruned_seq
        && is_before(recorded)
    {
        return Ok(Some(at(head, Some(*id), recorded.seq, cut_off(recorded))));
    }
    if let Some(recorded) = &of_chain.absent
        && is_before(recorded)
    {
        // It may have been pruned since the chain was gone through.
        let now = audit_chain::Entity::find_by_id(head.id)
            .one(database)
            .await?;
        if recorded.seq > now.map_or(head.pruned_seq, |now| now.pruned_seq) {
            return Ok(Some(at(head, None, recorded.seq, cut_off(recorded))));
        }
    }
    Ok(fault)
}

fn cut_off(recorded: &RecordedHead) -> FaultKind {
    FaultKind::CutOff {
        by: recorded.by.clone(),
        at: recorded.at,
    }
}

fn of_head(head: &audit_chain::Model, kind: FaultKind) -> AuditFault {
    AuditFault {
        table: "ts_audit_chain",
        id: Some(head.id),
        chain: Some(head.chain.clone()),
        seq: None,
        kind,
    }
}

fn at(head: &audit_chain::Model, id: Option<i64>, seq: i64, kind: FaultKind) -> AuditFault {
    AuditFault {
        table: "ts_audit",
        id,
        chain: Some(head.chain.clone()),
        seq: Some(seq),
        kind,
    }
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
}

/// How far a walk is: all up to there is good.
struct Place {
    entries: u64,
    seq: i64,
    mac: Vec<u8>,
    /// The number of the last entry.
    id: Option<i64>,
}

impl<C: ConnectionTrait> Walk<'_, C> {
    /// How many entries are good, and the first that is not.
    async fn go(
        &self,
        key: &ChainKey,
        newest: Option<(i64, i64)>,
        told: &mut Told,
    ) -> Result<(u64, Option<AuditFault>), DbErr> {
        let head = self.head;
        let mut place = Place {
            entries: 0,
            seq: head.pruned_seq,
            mac: head.pruned_mac.clone(),
            id: None,
        };
        let pruned = in_chain(self.database, &head.chain, i64::MIN, 1).await?;
        if let Some((row, seq)) = pruned.first().and_then(|row| Some((row, row.seq?)))
            && seq <= head.pruned_seq
        {
            let fault = at(head, Some(row.id), seq, FaultKind::Inserted);
            return Ok((0, Some(fault)));
        }
        while place.seq < head.seq {
            let mut rows = in_chain(self.database, &head.chain, place.seq, PAGE_ROWS).await?;
            let (good, fault) = self.page(key, &rows, &mut place);
            rows.truncate(good);
            told.ended.extend(rows.iter().flat_map(ended_in));
            told.notes
                .extend(rows.iter().filter_map(UnchainedNote::in_entry));
            told.records.add(self.database, &rows).await?;
            if fault.is_some() {
                return Ok((place.entries, fault));
            }
        }
        if place.mac != head.mac {
            let fault = of_head(head, FaultKind::Altered);
            return Ok((place.entries, Some(fault)));
        }
        let beyond = newest.filter(|(_, seq)| *seq > head.seq);
        let fault = beyond.map(|(id, seq)| at(head, Some(id), seq, FaultKind::Inserted));
        Ok((place.entries, fault))
    }

    /// Goes on through some entries: how many of them are good, and the first that is not.
    fn page(
        &self,
        key: &ChainKey,
        rows: &[audit::Model],
        place: &mut Place,
    ) -> (usize, Option<AuditFault>) {
        for (index, row) in rows.iter().enumerate() {
            if place.seq == self.head.seq {
                return (index, None);
            }
            let seq = place.seq + 1;
            if row.seq != Some(seq) {
                let fault = at(self.head, None, seq, FaultKind::Missing);
                return (index, Some(fault));
            }
            let follows = place.id.is_none_or(|before| before < row.id);
            let is_followed = rows.get(index + 1).is_none_or(|next| row.id < next.id);
            let good = key.is_of_entry(row, &place.mac);
            let kind = match (follows, good, is_followed) {
                (false, _, _) | (_, false, false) => Some(FaultKind::Reordered),
                (true, false, true) => Some(FaultKind::Altered),
                (true, true, _) => None,
            };
            if let Some(kind) = kind {
                let fault = at(self.head, Some(row.id), seq, kind);
                return (index, Some(fault));
            }
            place.entries += 1;
            (place.seq, place.id) = (seq, Some(row.id));
            place.mac = row.mac.clone().unwrap_or_default();
        }
        let fault = rows
            .is_empty()
            .then(|| at(self.head, None, place.seq + 1, FaultKind::Missing));
        (rows.len(), fault)
    }
}

/// Chains that others have recorded, that did not end by their age, and that are not there.
fn gone(told: &Told, known: &HashSet<String>, verified: &mut Verification) {
    for (chain, of_chain) in &told.records.0 {
        if !known.contains(chain) && !told.ended.contains(chain) {
            verified.faults.push(AuditFault {
                table: "ts_audit_chain",
                id: None,
                chain: Some(chain.clone()),
                seq: Some(of_chain.farthest.seq),
                kind: cut_off(&of_chain.farthest),
            });
        }
    }
}

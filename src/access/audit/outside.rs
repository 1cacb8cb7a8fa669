//! Entries that are in no chain, compared with what is noted of them.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use token_server_entity::{audit, audit_chain};

use super::earlier::{self, FoundNote, UnchainedNote};
use super::fault::{AuditFault, FaultKind};
use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::KeyRing;

/// Inserted entries that are named.
const NAMED_MAX: u64 = 1000;
/// Entries are gone through again where some were pruned meanwhile.
const TRIES: usize = 5;

/// What there is beside the chains.
#[derive(Default)]
pub(super) struct Outside {
    /// Entries of an earlier version.
    pub(super) unchained: u64,
    /// Since when it would be found that one of these was changed; none: it would not be.
    pub(super) noted_since: Option<EpochMs>,
    pub(super) faults: Vec<AuditFault>,
    /// Inserted entries beyond those that are named.
    pub(super) more_inserted: u64,
}

/// Entries that are in no chain: those of an earlier version, as they are noted, and others, which
/// somebody else has put in. Without a note those of an earlier version come before all in chains.
pub(super) async fn in_no_chain(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    note: Option<UnchainedNote>,
) -> Result<Outside, DbErr> {
    let mut found = Outside::default();
    let earlier = match note {
        Some(note) => as_noted(database, ring, note, &mut found).await?,
        None => {
            let first = earlier::first_chained(database).await?;
            let last_id = first.map_or(i64::MAX, |first| first.id.saturating_sub(1));
            found.unchained = earlier::look(database, last_id).await?.entries;
            Some(last_id)
        }
    };
    let names = Query::select()
        .column(audit_chain::Column::Chain)
        .from(audit_chain::Entity)
        .to_owned();
    let mut later = Condition::any().add(audit::Column::Seq.is_not_null());
    later = match earlier {
        Some(last_id) => later.add(audit::Column::Id.gt(last_id)),
        None => later.add(audit::Column::Seq.is_null()),
    };
    let of_none = Condition::all()
        .add(audit::Column::Chain.is_null())
        .add(later);
    let inserted = audit::Entity::find().filter(
        Condition::any()
            // A chain of this name has no row.
            .add(Expr::col(audit::Column::Chain).not_in_subquery(names))
            .add(of_none),
    );
    let named = inserted.clone().order_by_asc(audit::Column::Id);
    let named = named.limit(NAMED_MAX).all(database).await?;
    let count = inserted.count(database).await?;
    found.more_inserted = count.saturating_sub(named.len() as u64);
    found.faults.extend(named.into_iter().map(|row| AuditFault {
        table: "ts_audit",
        id: Some(row.id),
        chain: row.chain,
        seq: row.seq,
        kind: FaultKind::Inserted,
    }));
    Ok(found)
}

/// Compares the entries in no chain with what is noted of them. Answers the last number that one
/// of them may have.
async fn as_noted(
    database: &impl ConnectionTrait,
    ring: &KeyRing,
    mut note: UnchainedNote,
    outside: &mut Outside,
) -> Result<Option<i64>, DbErr> {
    outside.noted_since = Some(note.since);
    for _ in 0..TRIES {
        let Some(last_id) = note.last_id else {
            return Ok(None);
        };
        let seen = earlier::look(database, last_id).await?;
        outside.unchained = seen.entries;
        if note.tells(&seen) {
            return Ok(Some(last_id));
        }
        // Some may have been pruned meanwhile.
        let now = FoundNote::find(database, ring).await?.note();
        match now.filter(|now| now.is_of_line(&note) && now.number > note.number) {
            Some(now) => note = now,
            None => break,
        }
    }
    if let Some(last_id) = note.last_id {
        outside.faults.push(AuditFault {
            table: "ts_audit",
            id: None,
            chain: None,
            seq: None,
            kind: FaultKind::Earlier {
                last_id,
                noted: note.entries,
                found: outside.unchained,
            },
        });
    }
    Ok(note.last_id)
}

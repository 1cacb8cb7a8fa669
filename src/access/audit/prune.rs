//! Deletes entries that are older than they are kept. A chain then begins later: its row says
//! where, and with the code of which entry, so that a verification can tell this from a theft.
//! Only what is as it was written is deleted so: the row of the chain then vouches for it.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::{Value, json};
use token_server_entity::{audit, audit_chain, audit_sink};

use super::chain::ChainKey;
use super::earlier::FoundNote;
use super::entry::{AuditEntry, PRUNE};
use super::log::{AuditLog, write_head};
use super::noting::{carry, prune_noted};
use super::store::in_chain;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::database::{Database, DbError, delete_in_pieces, delete_some};

/// Deletes entries made before then, `limit` at once; answers how many. Says so in the audit.
pub async fn prune(
    database: &Database,
    log: &AuditLog,
    before: EpochMs,
    now: EpochMs,
    limit: u64,
) -> Result<u64, DbError> {
    let mut deleted = prune_unchained(database, log, before, now, limit).await?;
    let chains: Vec<i64> = audit_chain::Entity::find()
        .select_only()
        .column(audit_chain::Column::Id)
        .order_by_asc(audit_chain::Column::Id)
        .into_tuple()
        .all(database.reader())
        .await
        .map_err(DbError::from)?;
    for id in &chains {
        deleted += delete_in_pieces(limit, || {
            database.write(|transaction, _| {
                Box::pin(
                    async move { prune_chain(transaction, log, *id, (before, limit), now).await },
                )
            })
        })
        .await?;
    }
    let chains = &chains;
    database
        .write(|transaction, _| {
            Box::pin(async move {
                let ended = end_chains(transaction, log, chains, before).await?;
                if deleted > 0 || !ended.is_empty() {
                    let entry = entry(deleted, &ended, before, now);
                    log.append(transaction, vec![entry]).await?;
                }
                Ok::<_, DbError>(())
            })
        })
        .await?;
    Ok(deleted)
}

/// Deletes entries that are in no chain: those that a note tells of as it says, and others, which a
/// verification names for as long as they are there, by their age alone.
async fn prune_unchained(
    database: &Database,
    log: &AuditLog,
    before: EpochMs,
    now: EpochMs,
    limit: u64,
) -> Result<u64, DbError> {
    let reader = database.causal();
    let noted = FoundNote::find(reader, log.ring()).await;
    let mut deleted = 0;
    let mut others = Condition::all().add(audit::Column::Chain.is_null());
    match noted.map_err(DbError::from)? {
        FoundNote::So(at, note) => {
            if let Some(last_id) = note.last_id {
                let later = Condition::any()
                    .add(audit::Column::Id.gt(last_id))
                    .add(audit::Column::Seq.is_not_null());
                others = others.add(later);
            }
            let old = (before, limit);
            deleted += prune_noted(database, log, (at, note), old, now).await?;
        }
        FoundNote::Unreadable => {
            tracing::error!(
                name: "audit.note_unreadable",
                table = "ts_audit",
                "what is noted of the entries of the audit in no chain cannot be read: they are not pruned, and audit verify says more"
            );
            return Ok(0);
        }
        FoundNote::Never | FoundNote::Pruned(_) => {}
    }
    let others = || {
        audit::Entity::find()
            .filter(others.clone())
            .filter(audit::Column::At.lt(before))
            .order_by_asc(audit::Column::At)
    };
    deleted += delete_in_pieces(limit, || {
        database.write_alone(|writer| delete_some(writer, others(), audit::Column::Id, limit))
    })
    .await?;
    Ok(deleted)
}

/// Deletes the first entries of a chain, up to one that is to be kept.
async fn prune_chain(
    transaction: &impl ConnectionTrait,
    log: &AuditLog,
    id: i64,
    (before, limit): (EpochMs, u64),
    now: EpochMs,
) -> Result<u64, DbError> {
    let row = audit_chain::Entity::find_by_id(id).lock_exclusive();
    let Some(mut head) = row.one(transaction).await? else {
        return Ok(0);
    };
    // What nobody can verify any more has no beginning to be kept.
    let key = ChainKey::open(&head, log.ring());
    let key = key.ok().filter(|key| key.is_of_head(&head));
    let from = match key {
        Some(_) => head.pruned_seq,
        None => i64::MIN,
    };
    let rows = in_chain(transaction, &head.chain, from, limit).await?;
    let old = rows.into_iter().take_while(|row| row.at < before);
    let old = match &key {
        Some(key) => good(&head, key, old),
        None => old.collect(),
    };
    let Some(last) = old.last().cloned() else {
        return Ok(0);
    };
    let deleted = audit::Entity::delete_many()
        .filter(audit::Column::Chain.eq(head.chain.as_str()))
        .filter(audit::Column::Seq.gt(from))
        .filter(audit::Column::Seq.lte(last.seq))
        .exec(transaction)
        .await?;
    if let (Some(key), Some(seq), Some(mac)) = (key, last.seq, last.mac) {
        head.pruned_seq = seq;
        head.pruned_mac = mac;
        write_head(transaction, head, &key).await?;
        carry(transaction, log, &old, now).await?;
    }
    Ok(deleted.rows_affected)
}

/// The first entries of a chain, up to one that is not as it was written: a verification names it
/// as long as it is there.
fn good(
    head: &audit_chain::Model,
    key: &ChainKey,
    rows: impl Iterator<Item = audit::Model>,
) -> Vec<audit::Model> {
    let mut good = Vec::new();
    let (mut seq, mut mac) = (head.pruned_seq, head.pruned_mac.clone());
    for row in rows {
        let is_next = row.seq == Some(seq + 1) && seq < head.seq;
        let is_end = row.seq == Some(head.seq);
        if !is_next
            || !key.is_of_entry(&row, &mac)
            || (is_end && row.mac.as_ref() != Some(&head.mac))
        {
            tracing::error!(
                name: "audit.entry_altered",
                table = "ts_audit",
                row = row.id,
                chain = head.chain,
                "an entry of the audit is not as it was written: it and what follows are not pruned, and audit verify says more"
            );
            break;
        }
        seq += 1;
        mac = row.mac.clone().unwrap_or_default();
        good.push(row);
    }
    good
}

/// Deletes the rows of chains whose last entry was pruned; answers their names. A row that is not
/// as it was written stays, for a verification to name it.
async fn end_chains(
    transaction: &impl ConnectionTrait,
    log: &AuditLog,
    ids: &[i64],
    before: EpochMs,
) -> Result<Vec<String>, DbErr> {
    let own = log.current_id(transaction).await?;
    let rows = audit_chain::Entity::find()
        .filter(audit_chain::Column::Id.is_in(ids.iter().copied()))
        .filter(audit_chain::Column::UpdatedAt.lt(before))
        .all(transaction)
        .await?;
    let mut ended = Vec::new();
    for row in rows.into_iter().filter(|row| Some(row.id) != own) {
        let locked = audit_chain::Entity::find_by_id(row.id).lock_exclusive();
        let Some(row) = locked.one(transaction).await? else {
            continue;
        };
        let key = ChainKey::open(&row, log.ring());
        let is_good = key.is_ok_and(|key| key.is_of_head(&row)) && row.pruned_seq == row.seq;
        let entries = audit::Entity::find().filter(audit::Column::Chain.eq(row.chain.as_str()));
        if is_good && entries.count(transaction).await? == 0 {
            audit_chain::Entity::delete_by_id(row.id)
                .exec(transaction)
                .await?;
            audit_sink::Entity::delete_many()
                .filter(audit_sink::Column::Chain.eq(row.chain.as_str()))
                .exec(transaction)
                .await?;
            ended.push(row.chain);
        }
    }
    Ok(ended)
}

fn entry(deleted: u64, ended: &[String], before: EpochMs, now: EpochMs) -> AuditEntry {
    let detail = format!("{deleted} entries from before {}", before.to_rfc3339());
    let after = (!ended.is_empty()).then(|| json!({"ended_chains": ended}));
    AuditEntry::of_audit(PRUNE, Some(detail), after, now)
}

/// The chains that an entry says have ended.
pub(super) fn ended_in(row: &audit::Model) -> Vec<String> {
    if row.action != PRUNE {
        return Vec::new();
    }
    let after = row.after_value.as_deref().unwrap_or_default();
    let after: Value = serde_json::from_str(after).unwrap_or_default();
    let ended = after["ended_chains"].as_array().into_iter().flatten();
    ended
        .filter_map(|chain| chain.as_str().map(str::to_owned))
        .collect()
}

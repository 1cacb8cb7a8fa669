//! Writes what is known of the entries in no chain: once, and again when some of them are pruned.

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};
use token_server_entity::audit::{Column, Entity, Model};

use super::earlier::{self, Cuts, FoundNote, UnchainedNote, place};
use super::log::AuditLog;
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::named_row;

/// What had a lower number than the first entry in a chain is committed by then, or never.
const SETTLED_AFTER: Ms = Ms::from_secs(60);
/// Where a note is that is being written.
const NOWHERE: &str = "";

/// Notes the entries that are in no chain, of a version before chains or before notes. Where there
/// are none, the first entry in a chain has said so.
pub struct EarlierNoter {
    database: Database,
    log: AuditLog,
    clock: SharedClock,
    is_noted: AtomicBool,
}

impl EarlierNoter {
    pub fn new(database: Database, log: AuditLog, clock: SharedClock) -> Self {
        Self {
            database,
            log,
            clock,
            is_noted: AtomicBool::new(false),
        }
    }

    /// Notes them, where nobody has. They are only read, and no write waits for that.
    pub async fn note(&self) -> Result<(), DbError> {
        if !self.is_noted.load(Ordering::Relaxed) {
            let is_noted = self.note_once().await?;
            self.is_noted.store(is_noted, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn note_once(&self) -> Result<bool, DbError> {
        let reader = self.database.causal();
        let noted = FoundNote::find(reader, self.log.ring()).await;
        let instead_of = &match noted.map_err(DbError::from)? {
            FoundNote::Never => None,
            FoundNote::Pruned(place) => Some(place),
            FoundNote::So(..) | FoundNote::Unreadable => return Ok(true),
        };
        let first = earlier::first_chained(reader).await;
        let now = self.clock.now();
        let Some(first) = first
            .map_err(DbError::from)?
            .filter(|first| now.since(first.at) >= SETTLED_AFTER)
        else {
            return Ok(false);
        };
        // Later ones are of no version that goes on with chains.
        let seen = earlier::look(reader, first.id.saturating_sub(1)).await;
        let (seen, log) = (&seen.map_err(DbError::from)?, &self.log);
        let chain = first.chain.as_deref().unwrap_or_default();
        let note = &UnchainedNote::first(chain, seen, now);
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let is_first = match instead_of {
                        None => named_row::begin_audit_note(transaction, NOWHERE).await?,
                        Some(from) => {
                            named_row::move_audit_note(transaction, from, NOWHERE).await?
                        }
                    };
                    if is_first {
                        let place = log.append_note(transaction, note, now).await?;
                        named_row::move_audit_note(transaction, NOWHERE, &place).await?;
                    }
                    Ok::<_, DbError>(())
                })
            })
            .await?;
        tracing::info!(
            name: "audit.unchained_noted",
            entries = seen.entries,
            "the entries of the audit that are in no chain were noted"
        );
        Ok(true)
    }
}

/// Writes those of the notes again that still count, of entries that were pruned. Inside the
/// transaction that has deleted them, as the last of what locks something there.
pub(super) async fn carry(
    transaction: &impl ConnectionTrait,
    log: &AuditLog,
    pruned: &[Model],
    now: EpochMs,
) -> Result<(), DbErr> {
    let notes: Vec<_> = pruned
        .iter()
        .filter_map(|row| {
            Some((
                place(row.chain.as_deref()?, row.seq?),
                UnchainedNote::in_entry(row)?,
            ))
        })
        .collect();
    if notes.is_empty() {
        return Ok(());
    }
    let current = FoundNote::find(transaction, log.ring()).await?.note();
    for (index, (from, note)) in notes.iter().enumerate() {
        let follows = |other: &UnchainedNote| other.is_of_line(note) && other.number >= note.number;
        let mut later = notes[index + 1..].iter().map(|(_, later)| later);
        if !later.any(follows) && !current.as_ref().is_some_and(follows) {
            let to = log.append_note(transaction, note, now).await?;
            named_row::move_audit_note(transaction, from, &to).await?;
        }
    }
    Ok(())
}

/// Deletes entries in no chain that were made before then, `limit` at once, with a new note of what
/// is left each time. Answers how many. None are deleted that are not those of the note.
pub(super) async fn prune_noted(
    database: &Database,
    log: &AuditLog,
    (mut at, mut note): (String, UnchainedNote),
    (before, limit): (EpochMs, u64),
    now: EpochMs,
) -> Result<u64, DbError> {
    let Some(last_id) = note.last_id else {
        return Ok(0);
    };
    let cuts = Cuts {
        before,
        every: limit,
    };
    let looked = earlier::look_for_old(database.causal(), last_id, cuts).await;
    let (seen, cuts) = looked.map_err(DbError::from)?;
    if !note.tells(&seen) {
        tracing::error!(
            name: "audit.unchained_altered",
            table = "ts_audit",
            last_row = last_id,
            "the entries of the audit that are in no chain are not as they were noted: they are not pruned, and audit verify says more"
        );
        return Ok(0);
    }
    let mut deleted = 0;
    for cut in cuts.iter().rev() {
        let next = note.next(cut);
        let (from, following) = (&at, &next);
        let done = database
            .write(|transaction, _| {
                Box::pin(async move {
                    // Kept from everybody else until the transaction ends.
                    if !named_row::move_audit_note(transaction, from, from).await? {
                        return Ok::<_, DbError>(None);
                    }
                    let mut old = Entity::delete_many()
                        .filter(Column::Chain.is_null())
                        .filter(Column::Seq.is_null())
                        .filter(Column::Id.lte(last_id));
                    if let Some(first) = cut.first {
                        old = old.filter(Column::Id.lt(first));
                    }
                    let deleted = old.exec(transaction).await?.rows_affected;
                    let to = log.append_note(transaction, following, now).await?;
                    named_row::move_audit_note(transaction, from, &to).await?;
                    Ok(Some((deleted, to)))
                })
            })
            .await?;
        // Another server prunes them.
        let Some((count, to)) = done else { break };
        deleted += count;
        (at, note) = (to, next);
    }
    Ok(deleted)
}

//! Entries that are in no chain: those of a version before chains. A note in a chain says how many
//! there are and what they say, so that it is found where one is altered, deleted or put in.

use std::cmp::Reverse;

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use token_server_entity::audit::{Column, Entity, Model};
use token_server_entity::audit_chain;

use super::chain::{ChainKey, entry_values};
use super::entry::{AuditEntry, NOTE};
use super::store::{in_chain, rows_before};
use crate::foundation::clock::EpochMs;
use crate::foundation::hex;
use crate::foundation::named_row;
use crate::foundation::sealing::KeyRing;

/// Entries read at once.
const PAGE_ROWS: u64 = 2000;

/// What a chain says of the entries that are in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnchainedNote {
    /// When the first note of its line was written, and by which chain. Another line is begun only
    /// where somebody has hidden the first from the servers, so that one counts.
    pub(super) since: EpochMs,
    by: String,
    /// Its place in the line: the last counts.
    pub(super) number: i64,
    /// How many entries there are.
    pub(super) entries: u64,
    /// The number of the last of them.
    pub(super) last_id: Option<i64>,
    /// In hexadecimal digits.
    digest: String,
}

impl UnchainedNote {
    /// The first of a line.
    pub(super) fn first(chain: &str, seen: &UnchainedSum, now: EpochMs) -> Self {
        Self {
            since: now,
            by: chain.to_owned(),
            number: 1,
            entries: seen.entries,
            last_id: seen.last_id,
            digest: hex(&seen.digest),
        }
    }

    /// The next one of the line, of what a cut leaves.
    pub(super) fn next(&self, cut: &Cut) -> Self {
        Self {
            number: self.number + 1,
            entries: cut.entries,
            last_id: cut.first.and(self.last_id),
            digest: hex(&cut.digest),
            ..self.clone()
        }
    }

    pub(super) fn is_of_line(&self, other: &Self) -> bool {
        (self.since, &self.by) == (other.since, &other.by)
    }

    pub(super) fn tells(&self, seen: &UnchainedSum) -> bool {
        self.entries == seen.entries && self.digest == hex(&seen.digest)
    }

    pub(super) fn entry(&self, now: EpochMs) -> AuditEntry {
        let Self {
            since,
            by,
            number,
            entries,
            last_id,
            digest,
        } = self;
        let note = json!({
            "since": since.0, "by": by, "number": number,
            "entries": entries, "last_id": last_id, "digest": digest,
        });
        AuditEntry::of_audit(
            NOTE,
            Some(format!("{entries} entries are in no chain")),
            Some(json!({"unchained": note})),
            now,
        )
    }

    /// What an entry says of those in no chain.
    pub(super) fn in_entry(row: &Model) -> Option<Self> {
        if row.action != NOTE {
            return None;
        }
        let after: Value = serde_json::from_str(row.after_value.as_deref()?).ok()?;
        let note = &after["unchained"];
        Some(Self {
            since: EpochMs(note["since"].as_i64()?),
            by: note["by"].as_str()?.to_owned(),
            number: note["number"].as_i64()?,
            entries: note["entries"].as_u64()?,
            last_id: note["last_id"].as_i64(),
            digest: note["digest"].as_str()?.to_owned(),
        })
    }

    /// The one of several that counts: the last of the first line.
    pub(super) fn that_counts(notes: impl IntoIterator<Item = Self>) -> Option<Self> {
        let key = |note: &Self| (note.since, note.by.clone(), Reverse(note.number));
        notes.into_iter().min_by_key(key)
    }
}

/// What servers go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundNote {
    Never,
    /// A note, and where it is.
    So(String, UnchainedNote),
    /// The note that was there was pruned by a version that knows no notes.
    Pruned(String),
    /// What is there was not written by a token server, or with a key that is not here.
    Unreadable,
}

impl FoundNote {
    pub(super) async fn find(
        database: &impl ConnectionTrait,
        ring: &KeyRing,
    ) -> Result<Self, DbErr> {
        let Some(place) = named_row::audit_note(database).await? else {
            return Ok(Self::Never);
        };
        let parts = place.split_once('/');
        let parts = parts.and_then(|(chain, seq)| Some((chain, seq.parse::<i64>().ok()?)));
        let Some((chain, seq)) = parts else {
            return Ok(Self::Unreadable);
        };
        let of_name = audit_chain::Entity::find().filter(audit_chain::Column::Chain.eq(chain));
        let Some(head) = of_name.one(database).await? else {
            return Ok(Self::Pruned(place));
        };
        let Ok(key) = ChainKey::open(&head, ring) else {
            return Ok(Self::Unreadable);
        };
        let rows = in_chain(database, chain, seq.saturating_sub(2), 2).await?;
        let at = |seq: i64| rows.iter().find(|row| row.seq == Some(seq));
        let before = match at(seq.saturating_sub(1)) {
            Some(before) => before.mac.clone().unwrap_or_default(),
            None => head.pruned_mac.clone(),
        };
        let note = match at(seq) {
            None if seq <= head.pruned_seq && key.is_of_head(&head) => {
                return Ok(Self::Pruned(place));
            }
            Some(row) if key.is_of_entry(row, &before) => UnchainedNote::in_entry(row),
            Some(_) | None => None,
        };
        Ok(note.map_or(Self::Unreadable, |note| Self::So(place, note)))
    }

    pub(super) fn note(self) -> Option<UnchainedNote> {
        match self {
            Self::So(_, note) => Some(note),
            Self::Never | Self::Pruned(_) | Self::Unreadable => None,
        }
    }
}

/// The place of an entry, as it is written down.
pub(super) fn place(chain: &str, seq: i64) -> String {
    format!("{chain}/{seq}")
}

/// What the entries in no chain are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnchainedSum {
    pub(super) entries: u64,
    last_id: Option<i64>,
    /// Of each entry with the digest of all after it, so that the digest of what is left is known
    /// when the oldest are pruned.
    digest: Vec<u8>,
}

/// A place before which all entries are old.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    /// The first entry that is left.
    pub(super) first: Option<i64>,
    /// How many are left.
    entries: u64,
    digest: Vec<u8>,
}

/// Where cuts are wanted.
#[derive(Clone, Copy)]
pub(super) struct Cuts {
    /// Entries made before then are old.
    pub(super) before: EpochMs,
    /// Entries between two cuts.
    pub(super) every: u64,
}

impl UnchainedSum {
    fn add(&mut self, row: &Model) {
        let values = entry_values(row, &self.digest).number(Some(row.id));
        self.digest = Sha256::digest(values.into_bytes()).to_vec();
        self.entries += 1;
        self.last_id = self.last_id.or(Some(row.id));
    }

    fn cut(&self, first: &Model) -> Cut {
        Cut {
            first: Some(first.id),
            entries: self.entries,
            digest: self.digest.clone(),
        }
    }
}

/// Goes through the entries in no chain up to a number, the last first.
pub(super) async fn look(
    database: &impl ConnectionTrait,
    last_id: i64,
) -> Result<UnchainedSum, DbErr> {
    let mut seen = UnchainedSum::default();
    each(database, last_id, |row| seen.add(row)).await?;
    Ok(seen)
}

/// The same, with cuts, the one that leaves most last; none where nothing is old.
pub(super) async fn look_for_old(
    database: &impl ConnectionTrait,
    last_id: i64,
    cuts: Cuts,
) -> Result<(UnchainedSum, Vec<Cut>), DbErr> {
    let mut seen = UnchainedSum::default();
    let mut found = vec![Cut::default()];
    each(database, last_id, |row| {
        seen.add(row);
        let left = found.last().map_or(0, |cut| cut.entries);
        if row.at >= cuts.before {
            // Those that were found have it pruned.
            found = vec![seen.cut(row)];
        } else if seen.entries - left >= cuts.every {
            found.push(seen.cut(row));
        }
    })
    .await?;
    found.retain(|cut| cut.entries < seen.entries);
    Ok((seen, found))
}

async fn each(
    database: &impl ConnectionTrait,
    last_id: i64,
    mut does: impl FnMut(&Model),
) -> Result<(), DbErr> {
    let mut until = Some(last_id);
    while let Some(last) = until {
        let rows = rows_before(database, last, PAGE_ROWS).await?;
        rows.iter().for_each(&mut does);
        let is_full = rows.len() as u64 == PAGE_ROWS;
        let first = rows.last().filter(|_| is_full);
        until = first.and_then(|first| first.id.checked_sub(1));
    }
    Ok(())
}

/// Whether there is an entry in no chain, whoever wrote it.
pub(super) async fn any(database: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let one = Entity::find().filter(Column::Chain.is_null());
    Ok(one.one(database).await?.is_some())
}

/// The first entry that is in a chain.
pub(super) async fn first_chained(database: &impl ConnectionTrait) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::Chain.is_not_null())
        .order_by_asc(Column::Id)
        .one(database)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(since: i64, by: &str, number: i64) -> UnchainedNote {
        UnchainedNote {
            since: EpochMs(since),
            number,
            ..UnchainedNote::first(by, &UnchainedSum::default(), EpochMs(0))
        }
    }

    #[test]
    fn the_last_note_of_the_first_line_counts() {
        let notes = [
            note(5, "a", 1),
            note(3, "b", 1),
            note(3, "b", 2),
            note(3, "c", 7),
            note(5, "a", 9),
        ];
        assert_eq!(UnchainedNote::that_counts(notes), Some(note(3, "b", 2)));
        assert_eq!(UnchainedNote::that_counts([]), None);
    }

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let written = UnchainedNote {
            entries: 3,
            last_id: Some(9),
            ..note(5, "a", 2)
        };
        let row = written.entry(EpochMs(7)).into_row();
        assert_eq!(UnchainedNote::in_entry(&row), Some(written));
        let other = Model {
            action: "realm.save".to_owned(),
            ..row
        };
        assert_eq!(UnchainedNote::in_entry(&other), None);
    }
}

//! What became of every row of another database.

use std::collections::BTreeMap;

use crate::foundation::clock::EpochMs;
use crate::registry::Imported;

/// A row by its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Realm(String),
    Secret { realm: String, key: String },
    Ticket { realm: String, application: String },
    ApiKey(String),
    Issuer(String),
}

/// What becomes of a stored token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFate {
    /// There is none.
    None,
    Kept(Option<EpochMs>),
    Expired,
    /// One of a provider that does not say when it ends.
    NoExpiry,
    /// One of a provider that ends in more than ten years.
    Implausible,
}

/// What became of a row.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: Name,
    pub outcome: Imported,
    pub token: TokenFate,
    /// What else is to be known of it.
    pub notes: Vec<String>,
}

/// Rows that have no names of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedRows {
    pub taken: u64,
    pub unchanged: u64,
}

/// What became of all rows.
#[derive(Default)]
pub struct Accounts {
    pub rows: BTreeMap<Name, Row>,
    /// Attempts in the history.
    pub attempts: CountedRows,
    /// Generations of deleted secrets.
    pub generations: CountedRows,
    /// Requests reserved in providers' quotas.
    pub quotas: CountedRows,
}

impl Name {
    pub(super) fn secret(realm: &str, key: &str) -> Self {
        Self::Secret {
            realm: realm.to_owned(),
            key: key.to_owned(),
        }
    }
}

impl Row {
    pub fn of(name: Name, outcome: Imported) -> Self {
        Self {
            name,
            outcome,
            token: TokenFate::None,
            notes: Vec::new(),
        }
    }
}

impl Accounts {
    /// Notes what became of a row, which may be met again: what was taken since the import began
    /// stays so.
    pub(super) fn note(&mut self, row: Row) {
        match self.rows.get_mut(&row.name) {
            Some(known)
                if known.outcome == Imported::Taken && row.outcome == Imported::Unchanged =>
            {
                known.token = row.token;
            }
            _ => {
                self.rows.insert(row.name.clone(), row);
            }
        }
    }

    /// Says of a row what else is to be known.
    pub(super) fn add_note(&mut self, name: &Name, note: &str) {
        if let Some(row) = self.rows.get_mut(name) {
            row.notes.push(note.to_owned());
        }
    }

    pub(super) fn is_refused(&self, name: &Name) -> bool {
        let row = self.rows.get(name);
        row.is_some_and(|row| matches!(row.outcome, Imported::Refused(_)))
    }

    pub(super) fn refuse(&mut self, name: Name, why: impl Into<String>) {
        self.note(Row::of(name, Imported::Refused(why.into())));
    }
}

//! What is wrong with an entry of the audit, in words.

use std::cmp::Ordering;
use std::fmt;

use crate::foundation::clock::{EpochMs, Timeline};

/// What is wrong with an entry, or with a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It says something else than was written, or somebody else wrote it.
    Altered,
    /// It is gone, and was not pruned.
    Missing,
    /// It is not where it was written.
    Reordered,
    /// It is in no chain, or beyond the end of its chain.
    Inserted,
    /// The chain ends before where another chain has recorded its end.
    CutOff { by: String, at: EpochMs },
    /// Those in no chain up to a row are not those that were noted.
    Earlier {
        last_id: i64,
        noted: u64,
        found: u64,
    },
    /// What authenticates the chain cannot be opened.
    Closed(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered => f.write_str(
                "altered: it is not as a token server wrote it, or none of them wrote it",
            ),
            Self::Missing => f.write_str("missing: it was deleted, and not because of its age"),
            Self::Reordered => {
                f.write_str("reordered: it is not in the place that it was written in")
            }
            Self::Inserted => f.write_str("inserted: no chain of a token server holds it"),
            Self::CutOff { by, at } => write!(
                f,
                "cut off at the end: it is missing, with all that followed; chain {by} recorded it at {}",
                at.to_rfc3339()
            ),
            Self::Earlier {
                last_id,
                noted,
                found,
            } => {
                let what = match found.cmp(noted) {
                    Ordering::Greater => "inserted",
                    Ordering::Less => "deleted",
                    Ordering::Equal => "altered",
                };
                write!(
                    f,
                    "of the entries in no chain up to row {last_id} some were {what}: {noted} were noted, and {found} are there"
                )
            }
            Self::Closed(why) => write!(f, "cannot be verified: {why}"),
        }
    }
}

/// The first of a chain that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFault {
    pub table: &'static str,
    /// Of the row; none where it is gone.
    pub id: Option<i64>,
    pub chain: Option<String>,
    pub seq: Option<i64>,
    pub kind: FaultKind,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table)?;
        if let Some(id) = self.id {
            write!(f, " row {id}")?;
        }
        match (&self.chain, self.seq) {
            (Some(chain), Some(seq)) => write!(f, " (entry {seq} of chain {chain})")?,
            (Some(chain), None) => write!(f, " (chain {chain})")?,
            (None, _) => {}
        }
        write!(f, ": {}", self.kind)
    }
}

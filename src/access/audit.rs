//! Who did what: append-only. Entries are chained, so that one that was changed, deleted, moved or
//! put in is found.

mod chain;
mod earlier;
mod entry;
mod export;
mod fault;
mod heads;
mod log;
mod noting;
mod outside;
mod positions;
mod prune;
mod store;
mod verify;

pub use chain::opens;
pub use entry::{AuditEntry, AuditOutcome, Change};
pub use export::line;
pub use fault::{AuditFault, FaultKind};
pub use heads::{HEADS_MAX, HeadSigner, Signed};
pub use log::AuditLog;
pub use noting::EarlierNoter;
pub use positions::{Behind, advance, behind, next};
pub use prune::prune;
pub use store::{AuditFilter, after, append_unchained, list};
pub use verify::{Verification, verify};

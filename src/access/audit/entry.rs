//! An entry of the audit.

use std::num::NonZeroU32;

use serde_json::Value;
use strum::VariantArray;
use token_server_entity::audit;

use crate::foundation::clock::EpochMs;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum AuditOutcome {
    Done,
    Denied,
}

impl AuditOutcome {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
        }
    }
}

/// What a change replaced, and with what: only what differs, and no value that is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// None where there was nothing.
    pub before: Option<Value>,
    /// None where nothing is left.
    pub after: Option<Value>,
}

#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub at: EpochMs,
    /// The caller's key by name; none where no key was recognised.
    pub actor: Option<String>,
    /// `realm.save`, `secret.delete`, …; of a denied call its method.
    pub action: String,
    /// What it was done to; of a denied call its path, unless the entry stands for several paths.
    pub target: String,
    pub outcome: AuditOutcome,
    pub detail: Option<String>,
    pub request_id: Option<String>,
    /// How many calls the entry stands for. Of several, `at` and `request_id` are those of the last.
    pub count: NonZeroU32,
    pub change: Change,
}

impl AuditEntry {
    /// What a server says of the audit itself.
    pub(super) fn of_audit(
        action: &str,
        detail: Option<String>,
        after: Option<Value>,
        now: EpochMs,
    ) -> Self {
        Self {
            at: now,
            actor: None,
            action: action.to_owned(),
            target: "audit".to_owned(),
            outcome: AuditOutcome::Done,
            detail,
            request_id: None,
            count: NonZeroU32::MIN,
            change: Change {
                before: None,
                after,
            },
        }
    }

    /// The row of the entry, in no chain.
    pub(super) fn into_row(self) -> audit::Model {
        let text = |value: Option<Value>| value.map(|value| value.to_string());
        audit::Model {
            id: 0,
            at: self.at,
            actor: self.actor,
            action: self.action,
            target: self.target,
            outcome: self.outcome.as_str().to_owned(),
            detail: self.detail,
            request_id: self.request_id,
            count: Some(i64::from(self.count.get())),
            chain: None,
            seq: None,
            mac: None,
            before_value: text(self.change.before),
            after_value: text(self.change.after),
        }
    }
}

/// The action of an entry that records where other chains end.
pub(super) const HEADS: &str = "audit.heads";
/// The action of an entry that tells which entries are too old, and gone.
pub(super) const PRUNE: &str = "audit.prune";
/// The action of an entry that tells which entries are in no chain.
pub(super) const NOTE: &str = "audit.unchained";

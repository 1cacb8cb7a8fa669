//! What a run did, and what it left.

use std::collections::HashSet;

use crate::foundation::clock::Ms;
use crate::foundation::database::DbError;
use crate::foundation::ids::{AttemptId, KeyName, RealmId, SecretId};
use crate::realm::failure::{Failure, FailureClass};
use crate::renewal::outcome::Attempted;
use crate::token::TokenRecord;

/// Secrets of one kind that a summary names; beyond, it counts.
pub const NAMED_MAX: usize = 100;

/// What the audit says of what came of a run.
pub fn came_of(run: &Result<RunSummary, DbError>) -> String {
    match run {
        Ok(summary) => format!("{} renewed, {} failed", summary.renewed, summary.failed),
        Err(_) => "the database failed".to_owned(),
    }
}

/// A secret whose attempt failed, or that needs attention.
#[derive(Clone, Debug)]
pub struct NamedFailure {
    pub realm: RealmId,
    pub key: KeyName,
    pub class: FailureClass,
    pub detail: String,
}

impl NamedFailure {
    /// Of a secret in trouble.
    pub(super) fn of_trouble(record: TokenRecord) -> Option<Self> {
        let trouble = record.trouble?;
        Some(Self {
            realm: record.realm,
            key: record.key,
            class: trouble.class,
            detail: trouble.detail,
        })
    }
}

/// A secret that was to be renewed, and was not attempted.
#[derive(Clone, Debug)]
pub struct NamedLeft {
    pub realm: RealmId,
    pub key: KeyName,
    /// For humans.
    pub why: String,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct RunSummary {
    pub renewed: u64,
    pub failed: u64,
    /// What something else must come before, and that did not come.
    pub waiting: u64,
    /// Results that were discarded because something changed meanwhile, or could not be stored.
    pub discarded: u64,
    /// What was to be renewed and was not attempted. Not counted for a call without a time limit.
    pub left: u64,
    /// Secrets in scope that need attention after the run. Counted for a job only.
    pub needs_attention: u64,
    pub failures: Vec<NamedFailure>,
    pub left_secrets: Vec<NamedLeft>,
    pub needs_attention_secrets: Vec<NamedFailure>,
    pub duration: Ms,
    /// Its attempts that have failed, and whose answers may still come.
    pub(super) late: Vec<AttemptId>,
    /// Attempts that ended in waiting, and those that ended otherwise.
    waited: HashSet<SecretId>,
    attempted: HashSet<SecretId>,
    left_ids: HashSet<SecretId>,
    elsewhere: Elsewhere,
}

/// What others made of what was to be renewed: the sweep of a server, another job.
#[derive(Clone, Debug, Default)]
struct Elsewhere {
    failed: u64,
    failures: Vec<NamedFailure>,
    waiting: u64,
}

impl RunSummary {
    /// Whether all that was due was renewed, and nothing needs a human.
    pub fn is_clean(&self) -> bool {
        let Self {
            failed,
            waiting,
            discarded,
            left,
            needs_attention,
            ..
        } = self;
        [failed, waiting, discarded, left, needs_attention]
            .into_iter()
            .all(|count| *count == 0)
    }

    pub(super) fn count(&mut self, record: TokenRecord, outcome: Attempted) {
        if let Attempted::Waiting(_) | Attempted::HasCome(_) = &outcome {
            self.waited.insert(record.secret_id);
        } else {
            self.attempted.insert(record.secret_id);
        }
        match outcome {
            Attempted::Stored(_) => self.renewed += 1,
            Attempted::Waiting(_) | Attempted::HasCome(_) | Attempted::Spent(_) => {}
            Attempted::Discarded | Attempted::Unstored => self.discarded += 1,
            Attempted::Sealed(error) => self.fail(
                record,
                Failure::internal(format!(
                    "{error}: put that key into sealing.keys of this job"
                )),
            ),
            Attempted::Failed { failure, .. } => self.fail(record, failure),
        }
    }

    fn fail(&mut self, record: TokenRecord, failure: Failure) {
        self.failed += 1;
        if self.failures.len() < NAMED_MAX {
            self.failures.push(NamedFailure {
                realm: record.realm,
                key: record.key,
                class: failure.class,
                detail: failure.detail,
            });
        }
    }

    /// Another's attempt came first, and brought no token.
    pub(super) fn count_elsewhere(&mut self, record: TokenRecord) {
        let is_waiting = record.waiting.is_some();
        match NamedFailure::of_trouble(record) {
            Some(failure) => {
                self.elsewhere.failed += 1;
                if self.elsewhere.failures.len() < NAMED_MAX {
                    self.elsewhere.failures.push(failure);
                }
            }
            None => self.elsewhere.waiting += u64::from(is_waiting),
        }
    }

    /// At the end of a run.
    pub(super) fn with_others(mut self) -> Self {
        let others = std::mem::take(&mut self.elsewhere);
        self.failed += others.failed;
        self.failures.extend(others.failures);
        self.failures.truncate(NAMED_MAX);
        self.waiting = self.still_waiting() + others.waiting;
        self
    }

    pub(super) fn leave(&mut self, id: SecretId, realm: &RealmId, key: KeyName, why: &str) {
        if !self.left_ids.insert(id) {
            return;
        }
        self.left += 1;
        if self.left_secrets.len() < NAMED_MAX {
            self.left_secrets.push(NamedLeft {
                realm: realm.clone(),
                key,
                why: why.to_owned(),
            });
        }
    }

    /// Before it is counted anew.
    pub(super) fn forget_left(&mut self) {
        self.elsewhere = Elsewhere::default();
        self.left = 0;
        self.left_secrets.clear();
        self.left_ids.clear();
    }

    pub(super) fn has_left(&self, id: SecretId) -> bool {
        self.left_ids.contains(&id)
    }

    pub(super) fn has_tried(&self, id: SecretId) -> bool {
        self.attempted.contains(&id) || self.waited.contains(&id)
    }

    pub(super) fn still_waiting(&self) -> u64 {
        self.waited.difference(&self.attempted).count() as u64
    }

    pub(super) fn attempts(&self) -> u64 {
        self.renewed + self.failed + self.discarded
    }

    pub(super) fn add(&mut self, other: Self) {
        self.renewed += other.renewed;
        self.failed += other.failed;
        self.discarded += other.discarded;
        self.late.extend(other.late);
        self.waited.extend(other.waited);
        self.attempted.extend(other.attempted);
        self.failures.extend(other.failures);
        self.failures.truncate(NAMED_MAX);
    }
}

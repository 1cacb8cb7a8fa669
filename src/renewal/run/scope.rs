//! What a run covers.

use tokio_util::sync::CancellationToken;

use crate::foundation::clock::{Deadline, EpochMs, Moment, Ms, Timeline};
use crate::foundation::ids::RealmId;
use crate::renewal::settings::can_end;
use crate::token::due::Wanted;

/// How far a run reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// What is due.
    #[default]
    Due,
    /// What is due, then what will be due within that time.
    Within(Ms),
    /// Due or not.
    All,
}

/// Who runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunBy {
    /// A call to a server: what the sweep beside it has under way is left to that.
    #[default]
    Call,
    /// A call that ends in time, since the process may be frozen after it: it begins nothing that could
    /// not end by then, and waits for what its own attempts may still bring. What others have under way
    /// in its scope is waited for until it is told to stop, and what is left is counted.
    TimedCall { ends: Deadline },
    /// A process without a sweep: leases that a killed process left are watched and taken over, as
    /// a server does, and what is left and what needs attention is counted.
    Job,
}

/// What a run covers.
#[derive(Clone, Debug, Default)]
pub struct RunScope {
    /// One realm only.
    pub realm: Option<RealmId>,
    pub reach: Reach,
    pub by: RunBy,
    /// Ends the run early: nothing more is claimed, attempts under way end.
    pub stop: CancellationToken,
}

impl RunScope {
    /// What the audit says that it covers.
    pub fn target(&self) -> String {
        match &self.realm {
            Some(realm) => realm.to_string(),
            None => "(all realms)".to_owned(),
        }
    }

    /// Whether an attempt that may take so long can end before the run must.
    pub(super) fn can_end(&self, now: Moment, timeout: Ms) -> bool {
        match self.by {
            RunBy::TimedCall { ends } => can_end(ends, now, timeout),
            RunBy::Call | RunBy::Job => true,
        }
    }

    /// What its rounds claim, one after the other. What waits for its parent is due again once
    /// that is stored: later rounds look for that only.
    pub(super) fn wanted(&self, round: usize, begun: EpochMs) -> Vec<Option<Wanted>> {
        match self.reach {
            Reach::Within(time) if round == 0 => vec![None, Some(soon(time, begun))],
            Reach::All if round == 0 => vec![Some(Wanted::Any { begun })],
            Reach::Due | Reach::Within(_) | Reach::All => vec![None],
        }
    }

    /// What it should have renewed, of what was stored when it began.
    pub(super) fn should_have_renewed(&self, begun: EpochMs) -> Vec<Wanted> {
        match self.reach {
            Reach::Due => vec![Wanted::DueAt(begun)],
            Reach::Within(time) => vec![Wanted::DueAt(begun), soon(time, begun)],
            Reach::All => vec![Wanted::Any { begun }],
        }
    }
}

fn soon(time: Ms, begun: EpochMs) -> Wanted {
    Wanted::Soon {
        by: begun.plus(time),
        begun,
    }
}

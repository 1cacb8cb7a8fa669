//! Rows that a run would have claimed while somebody else was changing them: a save, a look of another
//! replica. They are passed over, so that nobody holds up the others, and looked at again at the end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::foundation::ids::SecretId;
use crate::token::claim::Claimed;

/// Before the first look; each time it is twice as long.
const FIRST_AFTER: Duration = Duration::from_millis(100);
/// Looks in a row that find none of them free. Whoever stands still in a transaction is not waited for.
const LOOKS_MAX: u32 = 5;

/// The rows of a realm that were passed over.
#[derive(Default)]
pub(super) struct LockedRows {
    ids: Vec<SecretId>,
    /// Looks since one of them was claimed.
    looks: u32,
    is_looking: bool,
}

impl LockedRows {
    /// Notes which of those that were chosen could not be claimed, and answers them.
    pub(super) fn note(&mut self, chosen: &[SecretId], claimed: &[Claimed]) -> Vec<SecretId> {
        let is_claimed = |id: &SecretId| claimed.iter().any(|one| one.record.secret_id == *id);
        let missed: Vec<_> = chosen
            .iter()
            .copied()
            .filter(|id| !is_claimed(id))
            .collect();
        self.ids.retain(|id| !chosen.contains(id));
        self.ids.extend(&missed);
        if claimed.is_empty() {
            self.is_looking = false;
        } else {
            self.looks = 0;
        }
        missed
    }

    /// Those that are looked at now; none where anything else is to be claimed first.
    pub(super) fn looked_at(&self) -> Option<&[SecretId]> {
        self.is_looking.then_some(&*self.ids)
    }

    /// Waits until they are looked at once more, where there are any. Answers whether they are to
    /// be. A look that found none of them due and free was the last.
    pub(super) async fn next_look(&mut self, stop: &CancellationToken) -> bool {
        if self.is_looking || self.ids.is_empty() || self.looks == LOOKS_MAX {
            return false;
        }
        let wait = FIRST_AFTER * 2_u32.pow(self.looks);
        self.looks += 1;
        self.is_looking = true;
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

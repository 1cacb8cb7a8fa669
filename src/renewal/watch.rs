//! Taking over needs more than a deadline that passed on somebody's wall clock: the
//! challenger has watched the same fence unchanged for the whole length of the lease, on
//! its own clock that never steps.

use std::collections::HashMap;

use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::ids::{Fence, SecretId};
use crate::token::suspect::Suspect;

#[derive(Debug, Default)]
pub struct FenceWatch {
    first_seen: HashMap<SecretId, (Fence, BootMs)>,
}

impl FenceWatch {
    /// Takes note of all leases that are held, and names those watched long enough.
    pub fn observe(&mut self, suspects: &[Suspect], now: BootMs) -> Vec<Suspect> {
        let seen_before = std::mem::take(&mut self.first_seen);
        for suspect in suspects {
            let first = match seen_before.get(&suspect.id) {
                Some(&(fence, since)) if fence == suspect.fence => since,
                _ => now,
            };
            self.first_seen.insert(suspect.id, (suspect.fence, first));
        }
        let abandoned = suspects.iter().filter(|suspect| {
            let since = self
                .first_seen
                .get(&suspect.id)
                .map_or(now, |(_, since)| *since);
            now.since(since) >= suspect.lease
        });
        abandoned.cloned().collect()
    }

    /// How long until the next of them was watched long enough.
    pub fn next(&self, suspects: &[Suspect], now: BootMs) -> Option<Ms> {
        let left = suspects.iter().filter_map(|suspect| {
            let (_, since) = self.first_seen.get(&suspect.id)?;
            Some(Ms(suspect.lease.0 - now.since(*since).0))
        });
        left.filter(|left| *left > Ms::ZERO).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::clock::EpochMs;
    use crate::foundation::ids::RealmId;

    fn suspect(fence: i64) -> Suspect {
        Suspect {
            id: SecretId(1),
            realm: RealmId::stored("r".to_owned()),
            fence: Fence(fence),
            until: EpochMs(0),
            lease: Ms(1000),
        }
    }

    #[test]
    fn a_lease_is_taken_over_only_after_its_fence_stood_still_for_the_whole_lease() {
        let mut watch = FenceWatch::default();
        assert!(watch.observe(&[suspect(7)], BootMs(0)).is_empty());
        assert!(watch.observe(&[suspect(7)], BootMs(999)).is_empty());
        assert_eq!(watch.next(&[suspect(7)], BootMs(900)), Some(Ms(100)));
        assert_eq!(watch.observe(&[suspect(7)], BootMs(1000)), [suspect(7)]);
        assert_eq!(watch.next(&[suspect(7)], BootMs(1000)), None);
    }

    #[test]
    fn a_fence_that_moved_or_a_lease_that_was_given_back_starts_the_watch_anew() {
        let mut watch = FenceWatch::default();
        watch.observe(&[suspect(7)], BootMs(0));
        assert!(watch.observe(&[suspect(8)], BootMs(1500)).is_empty());
        watch.observe(&[], BootMs(2000));
        assert!(watch.observe(&[suspect(8)], BootMs(2600)).is_empty());
        assert_eq!(watch.observe(&[suspect(8)], BootMs(3600)), [suspect(8)]);
    }
}

//! Names of realms as labels. Admins make realms at will, and a label must be bounded.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// The label of the realms that have none of their own.
const OTHER: &str = "other";

/// The realms that were seen first have a label of their own, until the process ends: a label
/// that changes its meaning would look like a change of what is measured.
#[derive(Debug)]
pub struct RealmLabels {
    max: usize,
    own: RwLock<HashSet<String>>,
}

impl RealmLabels {
    /// At most `max` realms have a label of their own.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            own: RwLock::default(),
        }
    }

    pub fn of(&self, realm: &str) -> String {
        if self.has(realm) || self.take(realm) {
            realm.to_owned()
        } else {
            OTHER.to_owned()
        }
    }

    fn has(&self, realm: &str) -> bool {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.contains(realm)
    }

    /// False where there are as many as there may be.
    fn take(&self, realm: &str) -> bool {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.len() < self.max {
            own.insert(realm.to_owned());
        }
        own.contains(realm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_realms_as_allowed_keep_their_names_and_the_rest_share_one() {
        let labels = RealmLabels::new(2);
        for _ in 0..2 {
            let seen = ["a", "b", "c", "a", "d"].map(|realm| labels.of(realm));
            assert_eq!(seen, ["a", "b", "other", "a", "other"]);
        }
    }
}

//! Bounds on attempts under way: in all, and in each realm, so that a slow or hanging
//! provider never takes another's place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::foundation::ids::RealmId;

#[derive(Clone, Debug)]
pub struct Permits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_realm: HashMap<RealmId, usize>,
}

/// The right to one attempt; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    realm: RealmId,
}

impl Permits {
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            max,
            taken: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// As many as are free, at most `realm_max` of the realm's.
    pub fn take_free(&self, realm: &RealmId, realm_max: usize) -> Vec<Permit> {
        let mut taken = self.taken();
        let in_realm = taken.by_realm.get(realm).copied().unwrap_or(0);
        let free = (self.0.max - taken.total).min(realm_max.saturating_sub(in_realm));
        self.take(&mut taken, realm, free)
    }

    /// Waits for one.
    pub async fn take_one(&self, realm: &RealmId, realm_max: usize) -> Permit {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let mut free = self.take_free(realm, realm_max);
            // What is not needed goes back by being dropped.
            if let Some(permit) = free.pop() {
                return permit;
            }
            freed.await;
        }
    }

    fn take(&self, taken: &mut Taken, realm: &RealmId, count: usize) -> Vec<Permit> {
        if count == 0 {
            return Vec::new();
        }
        taken.total += count;
        *taken.by_realm.entry(realm.clone()).or_default() += count;
        let permit = |_| Permit {
            permits: self.clone(),
            realm: realm.clone(),
        };
        (0..count).map(permit).collect()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // The counts are consistent whenever the lock is free.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken();
        taken.total -= 1;
        if let Some(count) = taken.by_realm.get_mut(&self.realm) {
            *count -= 1;
            if *count == 0 {
                taken.by_realm.remove(&self.realm);
            }
        }
        drop(taken);
        self.permits.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(name: &str) -> RealmId {
        RealmId::new(name).unwrap()
    }

    #[tokio::test]
    async fn bounds_hold_for_the_process_and_for_each_realm() {
        let permits = Permits::new(5);
        let (a, b) = (realm("a"), realm("b"));
        let of_a = permits.take_free(&a, 3);
        assert_eq!(of_a.len(), 3);
        assert!(permits.take_free(&a, 3).is_empty());
        let of_b = permits.take_free(&b, 3);
        assert_eq!(of_b.len(), 2);
        drop(of_a);
        assert_eq!(permits.take_free(&b, 3).len(), 1);
    }

    #[tokio::test]
    async fn who_waits_for_a_permit_gets_the_next_one_given_back() {
        let permits = Permits::new(1);
        let a = realm("a");
        let held = permits.take_free(&a, 1);
        let waiting = tokio::spawn({
            let (permits, a) = (permits.clone(), a.clone());
            async move { permits.take_one(&a, 1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        drop(waiting.await.unwrap());
        assert_eq!(permits.take_free(&a, 1).len(), 1);
    }
}

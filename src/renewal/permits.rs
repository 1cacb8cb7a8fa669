//! Bounds on attempts under way: in all, and in each realm, so that a slow or hanging
//! provider never takes another's place; and on how fast they start in each realm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::pace::Pace;
use crate::foundation::clock::SharedClock;
use crate::foundation::ids::RealmId;

#[derive(Clone, Debug)]
pub struct Permits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    clock: SharedClock,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug)]
struct Taken {
    held: usize,
    by_realm: HashMap<RealmId, usize>,
    pace: Pace,
}

/// The right to one attempt; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    realm: RealmId,
    begun: bool,
}

impl Permit {
    /// The attempt starts: it counts for the pace.
    pub fn begin(mut self) -> Self {
        self.begun = true;
        self
    }
}

impl Permits {
    /// `realm_rate`: attempts that start in one realm in a second.
    pub fn new(max: usize, realm_rate: u32, clock: SharedClock) -> Self {
        Self(Arc::new(Shared {
            max,
            clock,
            taken: Mutex::new(Taken {
                held: 0,
                by_realm: HashMap::new(),
                pace: Pace::new(realm_rate),
            }),
            freed: Notify::new(),
        }))
    }

    /// As many as are free and may start now, at most `realm_max` of the realm's.
    pub fn take_free(&self, realm: &RealmId, realm_max: usize) -> Vec<Permit> {
        let mut taken = self.taken();
        let in_realm = taken.by_realm.get(realm).copied().unwrap_or(0);
        let free = (self.0.max - taken.held).min(realm_max.saturating_sub(in_realm));
        let allowed = taken.pace.allowed(realm, self.0.clock.boot());
        self.take(&mut taken, realm, free.min(allowed))
    }

    /// How long the pace lets nothing start in a realm; none: something may.
    pub fn paced(&self, realm: &RealmId) -> Option<Duration> {
        let wait = self.taken().pace.wait_ms(realm, self.0.clock.boot());
        (wait > 0).then(|| Duration::from_millis(wait))
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
            match self.paced(realm) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => freed.await,
            }
        }
    }

    fn take(&self, taken: &mut Taken, realm: &RealmId, count: usize) -> Vec<Permit> {
        if count == 0 {
            return Vec::new();
        }
        taken.held += count;
        *taken.by_realm.entry(realm.clone()).or_default() += count;
        taken.pace.take(realm, count, self.0.clock.boot());
        let permit = |_| Permit {
            permits: self.clone(),
            realm: realm.clone(),
            begun: false,
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
        taken.held -= 1;
        if !self.begun {
            taken.pace.give_back(&self.realm);
        }
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
    use crate::foundation::clock::{EpochMs, ManualClock};

    fn permits(max: usize) -> Permits {
        let clock = ManualClock::at(EpochMs(0));
        Permits::new(max, 1000, Arc::new(clock))
    }

    fn realm(name: &str) -> RealmId {
        RealmId::new(name).unwrap()
    }

    #[tokio::test]
    async fn bounds_hold_for_the_process_and_for_each_realm() {
        let permits = permits(5);
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
        let permits = permits(1);
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

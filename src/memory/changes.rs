//! Tells whoever waits for it what has changed: by the feed, and by this process. It is a hint, and
//! may come twice: whoever is told looks again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::feed::SecretName;
use crate::foundation::ids::{RealmId, SecretId};

/// So many changes are kept for whoever follows all of them; who is behind by more is told that some
/// were missed.
const KEPT: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryChange {
    /// A secret's token may be another.
    Token(SecretId),
    /// A secret's token is gone, and the secret perhaps, or its realm has changed.
    Forgotten(SecretId),
    /// The same, with what the secret is, or was, called.
    Named(SecretId, Arc<SecretName>),
    /// A secret is in another state; its token is the same.
    State(SecretId),
    /// A realm was saved or deleted.
    Realm(RealmId),
    /// A caller that was good may be good no more.
    Callers,
    /// Any of these: what came meanwhile was not followed.
    Anything,
}

/// What wakes who watches one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Its token may be another.
    Token,
    /// Its callers may be good no more.
    Callers,
}

#[derive(Debug)]
pub struct Changes {
    all: broadcast::Sender<MemoryChange>,
    callers: watch::Sender<()>,
    watched: Mutex<HashMap<SecretId, watch::Sender<()>>>,
    /// How many secrets these are: where there is none, telling takes no lock.
    secrets: AtomicUsize,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            all: broadcast::Sender::new(KEPT),
            callers: watch::Sender::new(()),
            watched: Mutex::default(),
            secrets: AtomicUsize::new(0),
        }
    }
}

impl Changes {
    fn watched(&self) -> MutexGuard<'_, HashMap<SecretId, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called once what is remembered is as it was changed.
    pub fn tell(&self, change: MemoryChange) {
        if self.all.receiver_count() > 0 {
            // Nobody listens any more: nobody misses it.
            let _ = self.all.send(change.clone());
        }
        if let MemoryChange::Callers | MemoryChange::Anything = change {
            self.callers.send_replace(());
        }
        if self.secrets.load(Ordering::SeqCst) == 0 {
            return;
        }
        match change {
            MemoryChange::Token(id) | MemoryChange::Forgotten(id) | MemoryChange::Named(id, _) => {
                if let Some(one) = self.watched().get(&id) {
                    one.send_replace(());
                }
            }
            MemoryChange::Anything => self.watched().values().for_each(|one| {
                one.send_replace(());
            }),
            MemoryChange::Callers | MemoryChange::State(_) | MemoryChange::Realm(_) => {}
        }
    }

    /// Wakes whenever a caller may be good no more, from now on.
    pub fn callers(&self) -> watch::Receiver<()> {
        self.callers.subscribe()
    }

    /// Every change from now on. Who is too far behind gets `Lagged`, and has missed some.
    pub fn follow(&self) -> broadcast::Receiver<MemoryChange> {
        self.all.subscribe()
    }

    /// Wakes whenever a secret's token may be another, or a caller good no more, from now on.
    pub fn watch(self: &Arc<Self>, id: SecretId) -> Watched {
        let mut watched = self.watched();
        let token = match watched.entry(id) {
            Entry::Occupied(there) => there.get().subscribe(),
            Entry::Vacant(free) => {
                self.secrets.fetch_add(1, Ordering::SeqCst);
                free.insert(watch::Sender::new(())).subscribe()
            }
        };
        Watched {
            id,
            token,
            callers: self.callers.subscribe(),
            changes: self.clone(),
        }
    }

    /// Whether somebody watches a secret.
    pub fn is_watched(&self, id: SecretId) -> bool {
        self.secrets.load(Ordering::SeqCst) > 0 && self.watched().contains_key(&id)
    }
}

/// One who watches a secret.
#[derive(Debug)]
pub struct Watched {
    id: SecretId,
    token: watch::Receiver<()>,
    callers: watch::Receiver<()>,
    changes: Arc<Changes>,
}

impl Watched {
    pub fn id(&self) -> SecretId {
        self.id
    }

    /// Waits for the next change; several at once are one.
    pub async fn woken(&mut self) -> Woken {
        // Both senders live as long as this does.
        tokio::select! {
            biased;
            _ = self.callers.changed() => Woken::Callers,
            _ = self.token.changed() => Woken::Token,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut watched = self.changes.watched();
        // This one is counted still.
        if watched
            .get(&self.id)
            .is_some_and(|one| one.receiver_count() <= 1)
        {
            watched.remove(&self.id);
            self.changes.secrets.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn who_watches_a_secret_is_woken_by_its_changes_and_by_those_of_callers_only() {
        let changes = Arc::new(Changes::default());
        let (one, other) = (SecretId(1), SecretId(2));
        let mut watched = changes.watch(one);
        let mut woken = || watched.woken().now_or_never();
        assert_eq!(woken(), None);
        for (change, expected) in [
            (MemoryChange::Token(one), Some(Woken::Token)),
            (MemoryChange::Token(other), None),
            (MemoryChange::Forgotten(one), Some(Woken::Token)),
            (MemoryChange::Forgotten(other), None),
            (MemoryChange::Callers, Some(Woken::Callers)),
        ] {
            changes.tell(change.clone());
            assert_eq!(woken(), expected, "{change:?}");
            assert_eq!(woken(), None, "once");
        }
        changes.tell(MemoryChange::Anything);
        assert_eq!(woken(), Some(Woken::Callers));
        assert_eq!(woken(), Some(Woken::Token));
        assert_eq!(woken(), None);
    }

    #[test]
    fn a_secret_is_watched_until_the_last_who_watches_it_has_gone() {
        let changes = Arc::new(Changes::default());
        let id = SecretId(1);
        assert!(!changes.is_watched(id));
        let (first, second) = (changes.watch(id), changes.watch(id));
        drop(first);
        assert!(changes.is_watched(id));
        drop(second);
        assert!(!changes.is_watched(id));
        assert!(changes.watched().is_empty());
    }

    #[test]
    fn who_follows_all_changes_and_is_far_behind_is_told_that_some_were_missed() {
        let changes = Changes::default();
        changes.tell(MemoryChange::Callers);
        let mut all = changes.follow();
        assert_eq!(all.try_recv(), Err(TryRecvError::Empty));
        changes.tell(MemoryChange::Token(SecretId(1)));
        assert_eq!(all.try_recv(), Ok(MemoryChange::Token(SecretId(1))));
        for _ in 0..=KEPT {
            changes.tell(MemoryChange::Anything);
        }
        assert_eq!(all.try_recv(), Err(TryRecvError::Lagged(1)));
        assert_eq!(all.try_recv(), Ok(MemoryChange::Anything));
    }
}

//! The news: what has changed, by name and with its state, for pages that show it. What the memory is
//! told of is looked up once for all who follow, and only while somebody does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use sea_orm::DbErr;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Mutex, broadcast};

use crate::feed::SecretName;
use crate::foundation::clock::{EpochMs, SharedClock};
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::{Generation, RealmId, SecretId};
use crate::memory::changes::{Changes, MemoryChange};
use crate::realm::store as realms;
use crate::token::state::State;
use crate::token::{TokenRecord, store as tokens};

/// So many are kept for who reads them slowly; whoever is behind by more has missed some.
const KEPT: usize = 1024;
/// Secrets looked up at once.
pub const LOOKED_UP_MAX: usize = 500;

/// Something has changed.
#[derive(Clone, Debug)]
pub enum News {
    Secret(Arc<SecretNews>),
    Deleted(Arc<SecretName>),
    /// Saved or deleted.
    Realm(RealmId),
    /// Anything may have changed.
    Anything,
}

/// A secret, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretNews {
    pub name: SecretName,
    pub generation: Generation,
    pub state: State,
    /// Of the stored token; none: it never expires, or there is none.
    pub expires_at: Option<EpochMs>,
}

/// What is told of a secret that is not there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum WhereGone {
    /// Nothing yet: who deleted it says so in the feed, which is read later or was.
    #[default]
    SaidElsewhere,
    /// An earlier version deleted it, which does not say what it was called.
    Nameless,
    Named(Arc<SecretName>),
}

/// What is to be looked up.
#[derive(Default)]
struct Told {
    secrets: BTreeMap<SecretId, WhereGone>,
    realms: BTreeSet<RealmId>,
    anything: bool,
}

/// Looks up what has changed, for all who follow the news.
pub struct Newsroom {
    database: Database,
    clock: SharedClock,
    changes: Mutex<broadcast::Receiver<MemoryChange>>,
    news: broadcast::Sender<News>,
}

impl Newsroom {
    pub fn new(database: Database, clock: SharedClock, changes: &Changes) -> Self {
        Self {
            database,
            clock,
            changes: Mutex::new(changes.follow()),
            news: broadcast::Sender::new(KEPT),
        }
    }

    /// What changes from now on. Who is too far behind gets `Lagged`, and has missed some.
    pub fn follow(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Tells what has changed since the last pass. Answers whether anybody follows.
    ///
    /// # Errors
    /// Where the database cannot be asked: those who follow are told to look again.
    pub async fn pass(&self) -> Result<bool, DbError> {
        let mut changes = self.changes.lock().await;
        // Before the question: who comes after it misses nothing that comes after this.
        let from_now_on = changes.resubscribe();
        if self.news.receiver_count() == 0 {
            *changes = from_now_on;
            return Ok(false);
        }
        let told = drained(&mut changes);
        if told.anything {
            self.tell(News::Anything);
            return Ok(true);
        }
        for realm in told.realms {
            self.tell(News::Realm(realm));
        }
        if told.secrets.is_empty() {
            return Ok(true);
        }
        match self.look_up(told.secrets).await {
            Ok(news) => news.into_iter().for_each(|one| self.tell(one)),
            Err(error) => {
                self.tell(News::Anything);
                return Err(error.into());
            }
        }
        Ok(true)
    }

    /// What was told is lost: those who follow look again.
    pub fn missed_some(&self) {
        self.tell(News::Anything);
    }

    fn tell(&self, news: News) {
        // Whoever followed may have gone.
        let _ = self.news.send(news);
    }

    async fn look_up(&self, told: BTreeMap<SecretId, WhereGone>) -> Result<Vec<News>, DbErr> {
        let (reader, now) = (self.database.reader(), self.clock.now());
        let fixed: HashSet<_> = realms::fixed_ids(reader).await?.into_iter().collect();
        let ids: Vec<_> = told.keys().copied().collect();
        let mut news = Vec::new();
        for ids in ids.chunks(LOOKED_UP_MAX) {
            let records = tokens::find_all(reader, ids).await?;
            for id in ids {
                let record = records.iter().find(|record| record.secret_id == *id);
                news.extend(match (record, told.get(id)) {
                    (Some(record), _) => {
                        let state = State::of(record, fixed.contains(&record.realm), now);
                        Some(News::Secret(Arc::new(SecretNews::of(record, state))))
                    }
                    (None, Some(WhereGone::Named(name))) => Some(News::Deleted(name.clone())),
                    (None, Some(WhereGone::Nameless)) => Some(News::Anything),
                    (None, Some(WhereGone::SaidElsewhere) | None) => None,
                });
            }
        }
        Ok(news)
    }
}

impl SecretNews {
    fn of(record: &TokenRecord, state: State) -> Self {
        let held = record.held.as_ref();
        Self {
            name: SecretName {
                realm: record.realm.clone(),
                key: record.key.clone(),
            },
            generation: record.generation,
            state,
            expires_at: held.and_then(|held| held.payload.expiry.at()),
        }
    }
}

/// All that has come. What comes twice is one.
fn drained(changes: &mut broadcast::Receiver<MemoryChange>) -> Told {
    let mut told = Told::default();
    loop {
        match changes.try_recv() {
            Ok(MemoryChange::Token(id) | MemoryChange::State(id)) => {
                told.secrets.entry(id).or_default();
            }
            Ok(MemoryChange::Forgotten(id)) => {
                let where_gone = told.secrets.entry(id).or_default();
                if *where_gone == WhereGone::SaidElsewhere {
                    *where_gone = WhereGone::Nameless;
                }
            }
            Ok(MemoryChange::Named(id, name)) => {
                told.secrets.insert(id, WhereGone::Named(name));
            }
            Ok(MemoryChange::Realm(id)) => {
                told.realms.insert(id);
            }
            // Each stream looks after its own caller.
            Ok(MemoryChange::Callers) => {}
            Ok(MemoryChange::Anything) | Err(TryRecvError::Lagged(_)) => told.anything = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::ids::KeyName;

    #[test]
    fn what_is_told_twice_is_looked_up_once_and_keeps_its_name() {
        let changes = Changes::default();
        let mut followed = changes.follow();
        let name = Arc::new(SecretName {
            realm: RealmId::stored("r".to_owned()),
            key: KeyName::stored("k".to_owned()),
        });
        for change in [
            MemoryChange::Token(SecretId(1)),
            MemoryChange::Forgotten(SecretId(2)),
            MemoryChange::Named(SecretId(2), name.clone()),
            MemoryChange::State(SecretId(2)),
            MemoryChange::Forgotten(SecretId(2)),
            MemoryChange::State(SecretId(3)),
            MemoryChange::Forgotten(SecretId(3)),
            MemoryChange::Token(SecretId(1)),
            MemoryChange::Callers,
            MemoryChange::Realm(name.realm.clone()),
            MemoryChange::Realm(name.realm.clone()),
        ] {
            changes.tell(change);
        }
        let told = drained(&mut followed);
        let expected = [
            (SecretId(1), WhereGone::SaidElsewhere),
            (SecretId(2), WhereGone::Named(name.clone())),
            (SecretId(3), WhereGone::Nameless),
        ];
        assert_eq!(told.secrets, BTreeMap::from(expected));
        assert_eq!(told.realms, BTreeSet::from([name.realm.clone()]));
        assert!(!told.anything);
        for _ in 0..2000 {
            changes.tell(MemoryChange::Token(SecretId(1)));
        }
        assert!(drained(&mut followed).anything, "some were missed");
    }
}

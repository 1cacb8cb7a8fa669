//! Follows the feed: what other processes have changed is read again, and what they have
//! deleted or revoked is forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sea_orm::DbErr;
use tokio::sync::Mutex;

use super::changes::MemoryChange;
use super::position::Position;
use super::{Memory, Remembered};
use crate::feed::{self, FeedChange};
use crate::foundation::clock::{BootMs, Ms};
use crate::foundation::database::DbError;
use crate::foundation::ids::SecretId;
use crate::foundation::sealing_keys;
use crate::token::store;

/// Entries read at once.
pub const PAGE: u64 = 1000;
/// Rows read at once.
const ROWS_MAX: usize = 500;
/// A follower that is behind for longer forgets all, and begins anew.
const BEHIND_MAX: Ms = Ms::from_secs(30);
/// Entries are deleted when everybody has read them, or is behind for too long.
const KEPT: Ms = Ms::from_secs(60);
/// At the start, so many are read that stand there already: others that came before them may
/// still become visible.
const READ_AGAIN: i64 = 5000;

/// How far a follower has come.
struct Followed {
    position: Position,
    read_at: BootMs,
    /// What was passed then, and may be deleted when it has been kept for long enough.
    passed: (i64, BootMs),
    /// What is to be deleted now.
    old: Option<i64>,
}

/// Follows the feed.
pub struct Follower {
    memory: Memory,
    /// None before the first pass, and after one that was given up.
    followed: Mutex<Option<Followed>>,
}

impl Follower {
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            followed: Mutex::default(),
        }
    }

    /// Reads the feed to its end. One that is dropped begins anew the next time.
    pub async fn follow(&self) -> Result<(), DbError> {
        let mut followed = self.followed.lock().await;
        match self.memory.follow_once(followed.take()).await {
            Ok(now) => {
                *followed = Some(now);
                Ok(())
            }
            Err((before, error)) => {
                *followed = before;
                Err(error)
            }
        }
    }
}

impl Memory {
    /// Reads to the end once.
    async fn follow_once(
        &self,
        before: Option<Followed>,
    ) -> Result<Followed, (Option<Followed>, DbError)> {
        let begun = self.clock.machine();
        let now = begun.boot;
        let current = before.filter(|before| {
            now.since(before.read_at) <= BEHIND_MAX && !self.is_before_thaw(before.read_at)
        });
        let mut followed = match current {
            Some(followed) => followed,
            None => match feed::newest(self.database.reader()).await {
                Ok(newest) => {
                    // What was remembered may have changed while nobody followed.
                    if let Err(error) =
                        sealing_keys::follow(self.database.reader(), &self.ring).await
                    {
                        return Err((None, error.into()));
                    }
                    self.forget_everything();
                    let position = Position::after((newest - READ_AGAIN).max(0));
                    Followed {
                        passed: (position.low(), now),
                        position,
                        read_at: now,
                        old: None,
                    }
                }
                Err(error) => return Err((None, error.into())),
            },
        };
        match self.read_to_end(&mut followed, now).await {
            Ok(()) => {
                followed.read_at = now;
                self.followed.store(now.0, Ordering::Release);
                if let Some(thaw) = &self.thaw {
                    thaw.looked(begun);
                }
                self.times_followed.inc();
                self.prune(&mut followed, now).await;
                Ok(followed)
            }
            Err(error) => Err((Some(followed), error.into())),
        }
    }

    async fn read_to_end(&self, followed: &mut Followed, now: BootMs) -> Result<(), DbErr> {
        let mut after = followed.position.low();
        loop {
            let entries = feed::after(self.database.reader(), after, PAGE).await?;
            let (mut changed, mut another_key) = (Vec::new(), false);
            let full = entries.len() as u64 == PAGE;
            for (number, change) in entries {
                after = number;
                if !followed.position.see(number, now) {
                    continue;
                }
                match change {
                    Some(FeedChange::Token(id)) if self.is_wanted(id) => changed.push(id),
                    Some(FeedChange::Token(id)) => self.changed(id),
                    Some(FeedChange::Forget(id, name)) => {
                        // Nor is it read again because of what came before.
                        changed.retain(|other| *other != id);
                        self.forget(id);
                        self.changes.tell(match name {
                            Some(name) => MemoryChange::Named(id, Arc::new(name)),
                            None => MemoryChange::Forgotten(id),
                        });
                    }
                    Some(FeedChange::State(id)) => self.changes.tell(MemoryChange::State(id)),
                    Some(FeedChange::Realm(id)) => self.changes.tell(MemoryChange::Realm(id)),
                    Some(FeedChange::Keys) => self.keys_changed(),
                    Some(FeedChange::SealingKey) => another_key = true,
                    // Of a newer version: it may concern anything.
                    None => self.forget_everything(),
                }
            }
            if another_key {
                sealing_keys::follow(self.database.reader(), &self.ring).await?;
            }
            changed.sort_unstable();
            changed.dedup();
            for ids in changed.chunks(ROWS_MAX) {
                self.read_again(ids).await;
            }
            followed.position.advance(now);
            if !full {
                return Ok(());
            }
        }
    }

    /// Whether a changed token is read at once: who watches it would each read it else.
    fn is_wanted(&self, id: SecretId) -> bool {
        self.cells.get(id).is_some() || self.changes.is_watched(id)
    }

    fn forget_everything(&self) {
        self.cells.forget_all();
        self.callers.forget_all();
        self.changes.tell(MemoryChange::Anything);
    }

    /// What cannot be read is forgotten.
    async fn read_again(&self, ids: &[SecretId]) {
        // Who reads one just now may read what it was before.
        ids.iter()
            .for_each(|id| self.recent.changed(*id, self.clock.boot(), || ()));
        let (since, read_at) = (self.begin(), self.clock.boot());
        let records = match store::find_all(self.database.reader(), ids).await {
            Ok(records) => records,
            Err(error) => {
                self.database
                    .failed(&DbError::from(error), "reading what has changed");
                Vec::new()
            }
        };
        for id in ids {
            let record = records.iter().find(|record| record.secret_id == *id);
            let cell = record.map(|record| Remembered::of(record, &self.ring, read_at));
            let remembered = match cell {
                Some(Ok(Some(cell))) => self.remember(cell, since),
                Some(Ok(None) | Err(_)) | None => false,
            };
            if !remembered {
                self.forget(*id);
            }
            self.changes.tell(MemoryChange::Token(*id));
        }
    }

    /// Deletes a piece of what everybody has read.
    async fn prune(&self, followed: &mut Followed, now: BootMs) {
        let (passed, since) = followed.passed;
        if now.since(since) >= KEPT {
            followed.old = Some(passed);
            followed.passed = (followed.position.low(), now);
        }
        let Some(old) = followed.old else {
            return;
        };
        let pruned = self
            .database
            .write_alone(|writer| feed::prune(writer, old, PAGE))
            .await;
        match pruned {
            Ok(PAGE..) => {}
            Ok(_) => followed.old = None,
            Err(error) => {
                followed.old = None;
                self.database
                    .failed(&error, "deleting old entries of the feed");
            }
        }
    }
}

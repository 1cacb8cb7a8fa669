//! Which keys a server lacks: of what is stored, and of what others store from now on.

use std::sync::Arc;

use sea_orm::DbErr;

use super::clock::SharedClock;
use super::database::Database;
use super::published_rings::sealing_lacked;
use super::sealing::KeyRing;
use super::sealing_keys::{KeyUse, lacked, registered};

/// Knows which keys a server lacks. Values are counted again only where other keys are registered,
/// or sealed with, than before.
pub struct LackedKeys {
    database: Database,
    ring: Arc<KeyRing>,
    clock: SharedClock,
    known: tokio::sync::Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What there was when values were counted.
    seen: Seen,
    lacked: Vec<KeyUse>,
}

#[derive(Default, PartialEq, Eq)]
struct Seen {
    registered: Vec<String>,
    /// What others seal with, and the ring lacks.
    sealing: Vec<String>,
}

impl LackedKeys {
    pub fn new(database: Database, ring: Arc<KeyRing>, clock: SharedClock) -> Self {
        Self {
            database,
            ring,
            clock,
            known: tokio::sync::Mutex::default(),
        }
    }

    /// Those of stored values, and those that a server which runs seals with.
    pub async fn now(&self) -> Result<Vec<KeyUse>, DbErr> {
        let mut known = self.known.lock().await;
        let reader = self.database.reader();
        let seen = Seen {
            registered: registered(reader).await?,
            sealing: sealing_lacked(reader, &self.ring, self.clock.now()).await?,
        };
        if seen != known.seen || !known.lacked.is_empty() {
            *known = Known {
                lacked: lacked(reader, &self.ring).await?,
                seen,
            };
        }
        let mut all = known.lacked.clone();
        for key_id in &known.seen.sealing {
            if !all.iter().any(|key| key.key_id == *key_id) {
                all.push(KeyUse {
                    key_id: key_id.clone(),
                    values: 0,
                });
            }
        }
        Ok(all)
    }
}

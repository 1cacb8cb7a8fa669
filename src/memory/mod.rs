//! What readers are served from: the tokens and the callers that this process remembers,
//! bounded in size. The truth is the database. What changes there is followed by the feed;
//! beside it, what is remembered is compared with the database now and then.

mod callers;
mod cells;
pub mod changes;
pub mod follower;
mod issuers;
mod known_issuers;
mod known_keys;
mod position;
mod recent;
mod thaw;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::access::Caller;
use crate::access::key::KeyHash;
use crate::foundation::clock::{BootMs, Moment, Ms, SharedClock};
use crate::foundation::database::Database;
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::foundation::metrics::{DamageLabels, Metrics};
use crate::foundation::rate::Rate;
use crate::foundation::sealing::KeyRing;
use crate::foundation::seldom::Seldom;
use crate::token::{Serving, TokenRecord};
use cells::Cells;
pub use cells::{Remembered, Remembering};
use changes::{Changes, MemoryChange};
use known_issuers::IssuerMemory;
pub use known_issuers::KnownIssuers;
use known_keys::Callers;
use recent::Recent;
pub use recent::Since;
use thaw::Thaw;

/// What is remembered is compared with the database so often, whatever the feed says.
const COMPARED_EVERY: Ms = Ms::from_secs(60);
/// The same for what may have changed: a token that is due, or anything while the feed is late.
const DOUBTED_EVERY: Ms = Ms::from_secs(1);
/// The feed is late where it was not followed for so long.
const LATE: Ms = Ms::from_secs(1);
/// How long a comparison waits for the database. What is remembered is good until then.
pub const COMPARING: Duration = Duration::from_millis(250);

/// Limits of what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct MemorySettings {
    /// Tokens take at most so much; 0: none is remembered.
    pub max_bytes: u64,
    /// So long after the database was last heard of, remembered callers are good without it;
    /// zero: it is asked at each call.
    pub trust: Ms,
    /// Of keys that have no rate of their own; none: they are not limited.
    pub key_rate: Option<Rate>,
    /// A platform freezes this process between requests: after that, nothing is served that was not
    /// compared with the database since.
    pub frozen_between_requests: bool,
}

/// Shared by readers, by whoever stores a token, and by the follower of the feed.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

#[doc(hidden)]
pub struct Inner {
    database: Database,
    ring: Arc<KeyRing>,
    clock: SharedClock,
    cells: Cells,
    callers: Callers,
    issuers: IssuerMemory,
    recent: Recent,
    changes: Arc<Changes>,
    /// How long a key is trusted that the database does not confirm.
    trust: Ms,
    key_rate: Option<Rate>,
    /// When the feed was last read to its end, by the boot clock; negative before.
    followed: AtomicI64,
    /// None: nobody freezes this process.
    thaw: Option<Thaw>,
    times_followed: Counter,
    damaged_values: Family<DamageLabels, Counter>,
    /// Calls with keys that are not authentic.
    refused: Mutex<Seldom>,
}

impl std::ops::Deref for Memory {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What is remembered of something.
#[derive(Clone, Debug)]
pub enum MemoryLookup<T> {
    Sure(T),
    /// To be compared with the database, by this reader.
    Doubtful(T),
    Nothing,
}

impl Memory {
    pub fn new(
        settings: MemorySettings,
        database: Database,
        ring: Arc<KeyRing>,
        clock: SharedClock,
        metrics: &Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            cells: Cells::new(settings.max_bytes),
            callers: Callers::new(),
            issuers: IssuerMemory::default(),
            recent: Recent::default(),
            changes: Arc::default(),
            trust: settings.trust,
            key_rate: settings.key_rate,
            followed: AtomicI64::new(i64::MIN),
            thaw: settings
                .frozen_between_requests
                .then(|| Thaw::new(clock.machine())),
            times_followed: metrics.followed.clone(),
            damaged_values: metrics.damaged_values.clone(),
            refused: Mutex::default(),
            database,
            ring,
            clock,
        }))
    }

    /// A token that nothing speaks against; decides nothing for other readers.
    pub fn sure_token(&self, realm: &str, key: &str, now: Moment) -> Option<Arc<Remembered>> {
        let cell = self.cells.find(realm, key)?;
        let due = cell.is_due(now.wall);
        let sure = !self.is_doubtful(&cell.checked, due, now.boot)
            && !self.is_before_thaw(read_at(&cell.checked));
        sure.then_some(cell)
    }

    pub fn token(&self, realm: &RealmId, key: &KeyName) -> MemoryLookup<Arc<Remembered>> {
        match self.cells.find(realm.as_str(), key.as_str()) {
            Some(cell) if self.is_before_thaw(read_at(&cell.checked)) => MemoryLookup::Nothing,
            Some(cell) => {
                let due = cell.is_due(self.clock.now());
                match self.is_to_compare(&cell.checked, due) {
                    true => MemoryLookup::Doubtful(cell),
                    false => MemoryLookup::Sure(cell),
                }
            }
            None => MemoryLookup::Nothing,
        }
    }

    /// A caller that nothing speaks against; decides nothing for others.
    pub fn sure_caller(&self, hash: &KeyHash, now: Moment) -> Option<Arc<Caller>> {
        let known = self.callers.find(hash)?;
        if !self.is_sure(&known, now) {
            return None;
        }
        known.good_at(now.wall)
    }

    /// When the feed was last read to its end, in milliseconds of the boot clock.
    pub fn last_followed(&self) -> Option<BootMs> {
        let followed = self.followed.load(Ordering::Acquire);
        (followed != i64::MIN).then_some(BootMs(followed))
    }

    /// Whether this process was frozen after the database was read then, in a mode in which
    /// somebody freezes it.
    fn is_before_thaw(&self, read_at: BootMs) -> bool {
        let at_work = |thaw: &Thaw| thaw.at_work(self.clock.machine());
        let thawed = self.thaw.as_ref().map(at_work);
        thawed.is_some_and(|thawed| read_at <= thawed)
    }

    /// Whether the feed has not been followed for a while.
    fn is_late(&self, now: BootMs) -> bool {
        now.since(BootMs(self.followed.load(Ordering::Acquire))) > LATE
    }

    fn is_doubtful(&self, checked: &AtomicI64, due: bool, now: BootMs) -> bool {
        let since = now.since(BootMs(checked.load(Ordering::Acquire)));
        since > COMPARED_EVERY || (since > DOUBTED_EVERY && (due || self.is_late(now)))
    }

    /// The same, for one of many who ask at once.
    fn is_to_compare(&self, checked: &AtomicI64, due: bool) -> bool {
        let (before, now) = (checked.load(Ordering::Acquire), self.clock.boot());
        self.is_doubtful(checked, due, now)
            && checked
                .compare_exchange(before, now.0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Taken before the database is read for what will be remembered.
    pub fn begin(&self) -> Since {
        self.recent.now(self.clock.boot())
    }

    /// Remembers what was read since then; false where it was changed meanwhile.
    pub fn remember(&self, cell: Remembered, since: Since) -> bool {
        let (id, now) = (cell.id, self.clock.boot());
        self.recent
            .unless_changed(id, since, now, || self.cells.put(cell))
    }

    /// A token was just stored by this process: readers get it from now on. Where there was
    /// another change since, the first of them compares it with the database.
    pub fn stored(&self, cell: Remembered, since: Since) {
        let (id, now) = (cell.id, self.clock.boot());
        self.recent.changed_since(id, since, now, |only| {
            if !only {
                cell.checked.store(i64::MIN, Ordering::Release);
            }
            self.cells.put(cell);
        });
        self.changes.tell(MemoryChange::Token(id));
    }

    /// A token was just changed, or deleted, by this process.
    pub fn changed(&self, id: SecretId) {
        self.forget(id);
        self.changes.tell(MemoryChange::Token(id));
    }

    /// Nobody is served what is remembered of a token.
    fn forget(&self, id: SecretId) {
        let now = self.clock.boot();
        self.recent.changed(id, now, || self.cells.forget(id));
    }

    /// A record was shown: what is remembered is older, or the same.
    pub fn seen(&self, record: &TokenRecord) {
        let id = record.secret_id;
        let per_read = matches!(&record.held, Some(held) if held.serving == Serving::PerRead);
        if self
            .cells
            .get(id)
            .is_some_and(|cell| per_read || cell.generation < record.generation)
        {
            self.changed(id);
        }
    }

    /// All of a realm were deleted by this process.
    pub fn changed_all_in(&self, realm: &RealmId) {
        for id in self.cells.ids_in(realm) {
            self.changed(id);
        }
    }

    /// An API key was revoked or replaced, or an issuer was changed or deleted.
    pub fn keys_changed(&self) {
        self.callers.forget_all();
        self.changes.tell(MemoryChange::Callers);
    }

    /// Tells what changes from now on.
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }
}

/// When what is remembered was last compared with the database.
fn read_at(checked: &AtomicI64) -> BootMs {
    BootMs(checked.load(Ordering::Acquire))
}

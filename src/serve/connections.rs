//! Who is connected, what each of them is waiting for, and who has kept the server waiting
//! longest. A request touches only what belongs to its own connection, and no lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use prometheus_client::metrics::gauge::Gauge;
use strum::VariantArray;
use tokio::sync::Notify;

use crate::foundation::clock::{BootMs, Ms};

/// Whoever has sent no request for so long is closed before those who have sent some, however long
/// they have been idle. A good caller's first request takes less, so that one who has just come is
/// not closed for the next.
const FIRST_REQUEST: Ms = Ms::from_secs(1);

/// What a connection is told by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Told {
    Nothing,
    /// End, for a newcomer's sake, if the caller is still waited for.
    MakeRoom,
    /// Answer what has been asked, and end.
    Finish,
    /// End now.
    End,
}

impl Told {
    const ALL: &'static [Self] = Self::VARIANTS;
}

/// What is known of one connection. Its own task changes it, and the tasks of its HTTP/2 streams.
#[derive(Debug)]
pub struct Connected {
    /// When the caller was last answered, began to send a body, or connected.
    since: AtomicI64,
    /// Requests that began.
    begun: AtomicU64,
    /// Of them, those that have no answer yet.
    under_way: AtomicU32,
    /// Of those, the ones that wait for more of their body.
    waiting: AtomicU32,
    /// Requests that the caller took back, less those that were answered since.
    taken_back: AtomicU32,
    told: AtomicU8,
    /// How it waited when it was told to make room.
    asked: Mutex<Option<Waits>>,
    waker: AtomicWaker,
}

/// Since when a connection has waited for its caller, and what had happened until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waits {
    since: BootMs,
    begun: u64,
    under_way: u32,
}

impl Connected {
    fn new(now: BootMs) -> Self {
        Self {
            since: AtomicI64::new(now.0),
            begun: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            taken_back: AtomicU32::new(0),
            told: AtomicU8::new(Told::Nothing as u8),
            asked: Mutex::new(None),
            waker: AtomicWaker::new(),
        }
    }

    /// A request has come, and is worked on.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
    }

    /// It is answered, or the caller took it back.
    pub fn end(&self, now: BootMs, answered: bool) {
        self.since.store(now.0, Relaxed);
        if !answered {
            self.taken_back.fetch_add(1, Relaxed);
        } else if self.taken_back.load(Relaxed) > 0 {
            // Two that end at once take off one too many: nothing is below zero.
            let less = |taken_back: u32| taken_back.checked_sub(1);
            let _ = self.taken_back.fetch_update(Relaxed, Relaxed, less);
        }
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// A request has a body, and the caller is sending it.
    pub fn has_body(&self, now: BootMs) {
        self.since.store(now.0, Relaxed);
    }

    /// Work on a request waits for more of its body.
    pub fn wait_for_body(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    pub fn go_on(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    pub fn is_busy(&self) -> bool {
        self.under_way.load(Relaxed) > 0
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    pub fn taken_back(&self) -> u32 {
        self.taken_back.load(Relaxed)
    }

    /// None where a request is worked on.
    fn waits(&self) -> Option<Waits> {
        let under_way = self.under_way.load(Relaxed);
        (under_way <= self.waiting.load(Relaxed)).then(|| Waits {
            since: BootMs(self.since.load(Relaxed)),
            begun: self.begun(),
            under_way,
        })
    }

    fn tell(&self, what: Told) {
        self.told.store(what as u8, Relaxed);
        self.waker.wake();
    }

    fn listens(&self) -> bool {
        self.told.load(Relaxed) == Told::Nothing as u8
    }

    /// What it was told. Its task is woken when it is told anything.
    pub fn told(&self, waker: &Waker) -> Told {
        self.waker.register(waker);
        let told = usize::from(self.told.load(Relaxed));
        let told = Told::ALL.get(told).copied().unwrap_or(Told::End);
        if told == Told::MakeRoom && self.waits() != *locked(&self.asked) {
            // A request has come meanwhile.
            let (from, to) = (told as u8, Told::Nothing as u8);
            let _ = self.told.compare_exchange(from, to, Relaxed, Relaxed);
            return Told::Nothing;
        }
        told
    }
}

/// One that may make room.
#[derive(Debug)]
pub struct WaitingConnection {
    connected: Arc<Connected>,
    waits: Waits,
}

impl WaitingConnection {
    /// Asks it to end. False where it waits no more as it did.
    pub fn ask(&self) -> bool {
        if self.connected.waits() != Some(self.waits) || !self.connected.listens() {
            return false;
        }
        *locked(&self.connected.asked) = Some(self.waits);
        self.connected.tell(Told::MakeRoom);
        true
    }
}

/// All that are open.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<Connected>>>,
    next: AtomicU64,
    left: Notify,
    gauge: Gauge,
}

impl Connections {
    pub fn new(gauge: Gauge) -> Self {
        Self {
            open: Mutex::default(),
            next: AtomicU64::new(0),
            left: Notify::new(),
            gauge,
        }
    }

    /// One more; it is counted until what is answered is dropped.
    pub fn add(self: &Arc<Self>, now: BootMs) -> Slot {
        let slot = Slot {
            id: self.next.fetch_add(1, Relaxed),
            connected: Arc::new(Connected::new(now)),
            connections: self.clone(),
        };
        locked(&self.open).insert(slot.id, slot.connected.clone());
        self.gauge.inc();
        slot
    }

    pub fn count(&self) -> usize {
        locked(&self.open).len()
    }

    /// Waits until one has ended since it was last waited for.
    pub async fn one_ended(&self) {
        self.left.notified().await;
    }

    pub async fn all_ended(&self) {
        while self.count() > 0 {
            self.one_ended().await;
        }
    }

    pub fn tell_all(&self, what: Told) {
        let all: Vec<_> = locked(&self.open).values().cloned().collect();
        all.iter().for_each(|connected| connected.tell(what));
    }

    /// Those that have kept the server waiting longest, at most so many, the longest last.
    pub fn longest_waiting(&self, now: BootMs, count: usize) -> Vec<WaitingConnection> {
        let candidate = |connected: &Arc<Connected>| {
            let waits = connected.waits().filter(|_| connected.listens())?;
            Some(WaitingConnection {
                connected: connected.clone(),
                waits,
            })
        };
        let mut all: Vec<_> = locked(&self.open).values().filter_map(candidate).collect();
        let key = |candidate: &WaitingConnection| {
            let Waits { since, begun, .. } = candidate.waits;
            let has_asked = begun > 0 || now.since(since) < FIRST_REQUEST;
            (has_asked, since)
        };
        if all.len() > count {
            all.select_nth_unstable_by_key(count, key);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|candidate| std::cmp::Reverse(key(candidate)));
        all
    }
}

/// A connection's own entry; it goes when this is dropped.
#[derive(Debug)]
pub struct Slot {
    id: u64,
    pub connected: Arc<Connected>,
    connections: Arc<Connections>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        locked(&self.connections.open).remove(&self.id);
        self.connections.gauge.dec();
        self.connections.left.notify_one();
    }
}

/// Nothing that holds a lock here can leave its value half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: BootMs = BootMs(100_000);
    const NOBODY: [i64; 0] = [];

    /// Those that would be asked, the first first, by the time they came.
    fn order(connections: &Connections) -> Vec<i64> {
        let all = connections.longest_waiting(NOW, 10);
        all.iter().rev().map(|one| one.waits.since.0).collect()
    }

    fn connections() -> Arc<Connections> {
        Arc::new(Connections::new(Gauge::default()))
    }

    /// Has asked and been answered.
    fn idle(connections: &Arc<Connections>, since: i64) -> Slot {
        let slot = connections.add(BootMs(0));
        slot.connected.begin();
        slot.connected.end(BootMs(since), true);
        slot
    }

    #[test]
    fn who_has_sent_no_request_goes_first_and_then_who_is_idle_longest() {
        let connections = connections();
        let _places = [
            idle(&connections, 10),
            idle(&connections, 99_990),
            connections.add(BootMs(98_000)),
            connections.add(BootMs(99_000)),
            // They have only just come.
            connections.add(BootMs(99_001)),
            connections.add(NOW),
        ];
        let expected = [98_000, 99_000, 10, 99_001, 99_990, 100_000];
        assert_eq!(order(&connections), expected);
        let two = connections.longest_waiting(NOW, 2);
        let two: Vec<_> = two.iter().map(|one| one.waits.since.0).collect();
        assert_eq!(two, [99_000, 98_000]);
    }

    #[test]
    fn whose_request_is_worked_on_is_not_asked_but_whose_body_is_waited_for_is() {
        let connections = connections();
        let slot = connections.add(BootMs(10));
        let connected = &slot.connected;
        connected.begin();
        assert_eq!(order(&connections), NOBODY);
        connected.has_body(BootMs(20));
        connected.wait_for_body();
        assert_eq!(order(&connections), [20]);
        // Another stream's request, beside it.
        connected.begin();
        assert_eq!(order(&connections), NOBODY);
        connected.end(BootMs(30), true);
        assert_eq!(order(&connections), [30]);
        connected.go_on();
        assert_eq!(order(&connections), NOBODY);
        connected.end(BootMs(40), true);
        assert_eq!(order(&connections), [40]);
    }

    #[test]
    fn who_was_asked_and_has_sent_a_request_meanwhile_stays() {
        let connections = connections();
        let slot = connections.add(BootMs(10));
        let connected = &slot.connected;
        let candidate = connections.longest_waiting(NOW, 1).remove(0);
        assert!(candidate.ask());
        // It is asked once.
        assert!(!candidate.ask());
        assert_eq!(order(&connections), NOBODY);
        connected.begin();
        connected.end(BootMs(50), true);
        assert_eq!(connected.told(Waker::noop()), Told::Nothing);
        assert!(!candidate.ask());
        let candidate = connections.longest_waiting(NOW, 1).remove(0);
        assert!(candidate.ask());
        assert_eq!(connected.told(Waker::noop()), Told::MakeRoom);
        drop(slot);
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn an_answer_makes_up_for_a_request_that_was_taken_back() {
        let connections = connections();
        let slot = connections.add(BootMs(10));
        for answered in [true, false, false, true] {
            slot.connected.begin();
            slot.connected.end(NOW, answered);
        }
        assert_eq!(slot.connected.taken_back(), 1);
    }
}

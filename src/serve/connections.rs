//! Who is connected, and who has kept the server waiting longest: of all, or of one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use super::connected::{Connected, Told, Waits, locked};
use crate::access::address_rates::CallerAddress;
use crate::foundation::clock::{BootMs, Ms};

/// Whoever has sent no request for so long is closed before those who have sent some, however long
/// they have been idle. A good caller's first request takes less, so that one who has just come is
/// not closed for the next.
const FIRST_REQUEST: Ms = Ms::from_secs(1);

/// Whose connections are looked through for one that makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    Everybody,
    Of(CallerAddress),
}

impl Whose {
    fn has(self, address: Option<CallerAddress>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Of(one) => address == Some(one),
        }
    }

    fn told(self) -> Told {
        match self {
            Self::Everybody => Told::MakeRoom,
            Self::Of(_) => Told::MakeRoomInAddress,
        }
    }
}

/// One that may make room.
#[derive(Debug)]
pub struct WaitingConnection {
    connected: Arc<Connected>,
    waits: Waits,
    asked_for: Whose,
}

impl WaitingConnection {
    /// Asks it to end. False where it waits no more as it did.
    pub fn ask(&self) -> bool {
        if self.connected.waits() != Some(self.waits) || !self.connected.listens() {
            return false;
        }
        self.connected.ask(self.waits, self.asked_for.told());
        true
    }
}

#[derive(Debug, Default)]
struct Open {
    all: HashMap<u64, One>,
    /// How many each address has; none has 0.
    of_address: HashMap<CallerAddress, usize>,
}

#[derive(Debug)]
struct One {
    connected: Arc<Connected>,
    /// None: it counts for no address.
    address: Option<CallerAddress>,
}

impl Open {
    fn remove(&mut self, id: u64) {
        let address = self.all.remove(&id).and_then(|one| one.address);
        if let Some(address) = address
            && let Entry::Occupied(mut count) = self.of_address.entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// All that are open.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<Open>,
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
    pub fn add(self: &Arc<Self>, address: Option<CallerAddress>, now: BootMs) -> Slot {
        let slot = Slot {
            id: self.next.fetch_add(1, Relaxed),
            address,
            connected: Arc::new(Connected::new(now)),
            connections: self.clone(),
        };
        let mut open = locked(&self.open);
        let one = One {
            connected: slot.connected.clone(),
            address,
        };
        open.all.insert(slot.id, one);
        if let Some(address) = address {
            *open.of_address.entry(address).or_default() += 1;
        }
        self.gauge.inc();
        slot
    }

    pub fn count(&self, whose: Whose) -> usize {
        let open = locked(&self.open);
        match whose {
            Whose::Everybody => open.all.len(),
            Whose::Of(address) => open.of_address.get(&address).copied().unwrap_or(0),
        }
    }

    /// Waits until one has ended since it was last waited for.
    pub async fn one_ended(&self) {
        self.left.notified().await;
    }

    pub async fn all_ended(&self) {
        while self.count(Whose::Everybody) > 0 {
            self.one_ended().await;
        }
    }

    pub fn tell_all(&self, what: Told) {
        let connected = |one: &One| one.connected.clone();
        let all: Vec<_> = locked(&self.open).all.values().map(connected).collect();
        all.iter().for_each(|connected| connected.tell(what));
    }

    /// Those that have kept the server waiting longest, at most so many, the longest last.
    pub fn longest_waiting(
        &self,
        whose: Whose,
        now: BootMs,
        count: usize,
    ) -> Vec<WaitingConnection> {
        let waiting = |one: &One| {
            let connected = Some(&one.connected).filter(|_| whose.has(one.address))?;
            connected.waits().filter(|_| connected.listens())
        };
        // Only those that are chosen are cloned: all of them are too many while a flood goes on.
        let open = locked(&self.open);
        let mut all: Vec<_> = open
            .all
            .values()
            .filter_map(|one| Some((waiting(one)?, &one.connected)))
            .collect();
        let key = |(waits, _): &(Waits, &Arc<Connected>)| {
            let has_asked = waits.begun > 0 || now.since(waits.since) < FIRST_REQUEST;
            (has_asked, waits.since)
        };
        if all.len() > count {
            all.select_nth_unstable_by_key(count, key);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|one| std::cmp::Reverse(key(one)));
        all.into_iter()
            .map(|(waits, connected)| WaitingConnection {
                connected: connected.clone(),
                waits,
                asked_for: whose,
            })
            .collect()
    }
}

/// A connection's own entry; it goes when this is dropped.
#[derive(Debug)]
pub struct Slot {
    id: u64,
    /// None: it counts for no address.
    pub address: Option<CallerAddress>,
    pub connected: Arc<Connected>,
    connections: Arc<Connections>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        locked(&self.connections.open).remove(self.id);
        self.connections.gauge.dec();
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const NOW: BootMs = BootMs(100_000);
    const NOBODY: [i64; 0] = [];

    /// Those that would be asked, the first first, by the time they came.
    fn order(connections: &Connections) -> Vec<i64> {
        let all = connections.longest_waiting(Whose::Everybody, NOW, 10);
        all.iter().rev().map(|one| one.waits.since.0).collect()
    }

    fn connections() -> Arc<Connections> {
        Arc::new(Connections::new(Gauge::default()))
    }

    /// Has asked and been answered.
    fn idle(connections: &Arc<Connections>, since: i64) -> Slot {
        let slot = connections.add(None, BootMs(0));
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
            connections.add(None, BootMs(98_000)),
            connections.add(None, BootMs(99_000)),
            // They have only just come.
            connections.add(None, BootMs(99_001)),
            connections.add(None, NOW),
        ];
        let expected = [98_000, 99_000, 10, 99_001, 99_990, 100_000];
        assert_eq!(order(&connections), expected);
        let two = connections.longest_waiting(Whose::Everybody, NOW, 2);
        let two: Vec<_> = two.iter().map(|one| one.waits.since.0).collect();
        assert_eq!(two, [99_000, 98_000]);
    }

    #[test]
    fn whose_request_is_worked_on_is_not_asked_but_whose_body_is_waited_for_is() {
        let connections = connections();
        let slot = connections.add(None, BootMs(10));
        let connected = &slot.connected;
        connected.begin();
        assert_eq!(order(&connections), NOBODY);
        connected.has_body(BootMs(20));
        connected.wait_for_caller();
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
        let slot = connections.add(None, BootMs(10));
        let connected = &slot.connected;
        let candidate = connections
            .longest_waiting(Whose::Everybody, NOW, 1)
            .remove(0);
        assert!(candidate.ask());
        // It is asked once.
        assert!(!candidate.ask());
        assert_eq!(order(&connections), NOBODY);
        connected.begin();
        connected.end(BootMs(50), true);
        assert_eq!(connected.told(Waker::noop()), Told::Nothing);
        assert!(!candidate.ask());
        let candidate = connections
            .longest_waiting(Whose::Everybody, NOW, 1)
            .remove(0);
        assert!(candidate.ask());
        assert_eq!(connected.told(Waker::noop()), Told::MakeRoom);
        drop(slot);
        assert_eq!(connections.count(Whose::Everybody), 0);
    }

    #[test]
    fn each_address_has_a_count_and_makes_room_among_its_own() {
        let connections = connections();
        let [one, other] = ["192.0.2.1", "192.0.2.2"]
            .map(|text| CallerAddress::of(text.parse().expect("an address")));
        let from = |address, since| connections.add(address, BootMs(since));
        let of_nobody = from(None, 5);
        let first = from(Some(one), 20);
        let _others = [from(Some(other), 10), from(Some(one), 30)];
        let counts = || [Whose::Everybody, Whose::Of(one), Whose::Of(other)];
        let counts = || counts().map(|whose| connections.count(whose));
        assert_eq!(counts(), [4, 2, 1]);
        let mut waiting = connections.longest_waiting(Whose::Of(one), NOW, 1);
        let candidate = waiting.remove(0);
        assert_eq!(candidate.waits.since, BootMs(20));
        assert!(candidate.ask());
        let told = first.connected.told(Waker::noop());
        assert_eq!(told, Told::MakeRoomInAddress);
        drop((first, of_nobody));
        assert_eq!(counts(), [2, 1, 1]);
        drop(_others);
        assert_eq!(counts(), [0, 0, 0]);
        assert!(locked(&connections.open).of_address.is_empty());
    }

    #[test]
    fn an_answer_makes_up_for_a_request_that_was_taken_back() {
        let connections = connections();
        let slot = connections.add(None, BootMs(10));
        for answered in [true, false, false, true] {
            slot.connected.begin();
            slot.connected.end(NOW, answered);
        }
        assert_eq!(slot.connected.taken_back(), 1);
    }
}

//! What is known of one connection: what it waits for, and what it is told by others. A request
//! touches only what belongs to its own connection, and no lock.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use strum::VariantArray;

use crate::foundation::clock::BootMs;

/// What a connection is told by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Told {
    Nothing,
    /// End, for a newcomer's sake, if the caller is still waited for: all places are taken.
    MakeRoom,
    /// The same, where all places of one address are taken.
    MakeRoomInAddress,
    /// Answer what has been asked, and end.
    Finish,
    /// End now.
    End,
}

impl Told {
    const ALL: &'static [Self] = Self::VARIANTS;

    /// Why a connection makes room, as metrics name it; none where it is told something else.
    pub fn makes_room(self) -> Option<&'static str> {
        match self {
            Self::MakeRoom => Some("full"),
            Self::MakeRoomInAddress => Some("address"),
            Self::Nothing | Self::Finish | Self::End => None,
        }
    }
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
    /// Of those, the ones that wait for more of their body, or are held back. One that ends while it
    /// begins to wait may be taken off first.
    waiting: AtomicI32,
    /// Requests that the caller took back, less those that were answered since.
    taken_back: AtomicU32,
    told: AtomicU8,
    /// How it waited when it was told to make room.
    asked: Mutex<Option<Waits>>,
    waker: AtomicWaker,
}

/// Since when a connection has waited for its caller, and what had happened until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    pub since: BootMs,
    /// Requests that had begun.
    pub begun: u64,
    under_way: u32,
}

impl Connected {
    pub fn new(now: BootMs) -> Self {
        Self {
            since: AtomicI64::new(now.0),
            begun: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            waiting: AtomicI32::new(0),
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

    /// A request waits for more of its body, or is held back: once, whatever it waits for.
    pub fn wait_for_caller(&self) {
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
    pub fn waits(&self) -> Option<Waits> {
        let under_way = self.under_way.load(Relaxed);
        let waiting = self.waiting.load(Relaxed);
        (i64::from(under_way) <= i64::from(waiting)).then(|| Waits {
            since: BootMs(self.since.load(Relaxed)),
            begun: self.begun(),
            under_way,
        })
    }

    pub fn tell(&self, what: Told) {
        self.told.store(what as u8, Relaxed);
        self.waker.wake();
    }

    /// Has it answer what has been asked, and end, unless it was told something else.
    pub fn finish(&self) {
        let (from, to) = (Told::Nothing as u8, Told::Finish as u8);
        let finishes = self.told.compare_exchange(from, to, Relaxed, Relaxed);
        if finishes.is_ok() {
            self.waker.wake();
        }
    }

    /// Asks it to make room, if it still waits so.
    pub fn ask(&self, waits: Waits, what: Told) {
        *locked(&self.asked) = Some(waits);
        self.tell(what);
    }

    pub fn listens(&self) -> bool {
        self.told.load(Relaxed) == Told::Nothing as u8
    }

    /// What it was told. Its task is woken when it is told anything.
    pub fn told(&self, waker: &Waker) -> Told {
        self.waker.register(waker);
        let told = usize::from(self.told.load(Relaxed));
        let told = Told::ALL.get(told).copied().unwrap_or(Told::End);
        if told.makes_room().is_some() && self.waits() != *locked(&self.asked) {
            // A request has come meanwhile.
            let (from, to) = (told as u8, Told::Nothing as u8);
            let _ = self.told.compare_exchange(from, to, Relaxed, Relaxed);
            return Told::Nothing;
        }
        told
    }
}

/// Nothing that holds a lock here can leave its value half changed.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

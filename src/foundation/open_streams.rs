//! Answers that go on until somebody ends them: how many there are, of all callers and of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Why no other one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooManyStreams {
    /// There are as many as there may be.
    OfAll,
    /// That caller has as many as one may have.
    OfCaller,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    /// By the name of the caller; none has 0.
    of_callers: HashMap<String, usize>,
}

/// Those of one kind.
#[derive(Debug)]
pub struct OpenStreams {
    max: usize,
    caller_max: usize,
    closing: CancellationToken,
    open: Mutex<Open>,
    gauge: Gauge,
}

impl OpenStreams {
    pub fn new(max: usize, caller_max: usize, gauge: Gauge) -> Self {
        Self {
            max,
            caller_max,
            closing: CancellationToken::new(),
            open: Mutex::default(),
            gauge,
        }
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; it is counted until what is answered is dropped.
    pub fn open(self: &Arc<Self>, caller: &str) -> Result<OpenStream, TooManyStreams> {
        let mut open = self.locked();
        let of_caller = open.of_callers.get(caller).copied().unwrap_or(0);
        if of_caller >= self.caller_max {
            return Err(TooManyStreams::OfCaller);
        }
        if open.all >= self.max {
            return Err(TooManyStreams::OfAll);
        }
        open.all += 1;
        open.of_callers.insert(caller.to_owned(), of_caller + 1);
        self.gauge.inc();
        Ok(OpenStream {
            caller: caller.to_owned(),
            streams: self.clone(),
        })
    }

    /// Ends all there are, and all that begin from now on: the server stops.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

/// One that is open.
#[derive(Debug)]
pub struct OpenStream {
    caller: String,
    streams: Arc<OpenStreams>,
}

impl OpenStream {
    /// Ready when it is to end.
    pub fn closing(&self) -> WaitForCancellationFutureOwned {
        self.streams.closing.clone().cancelled_owned()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.locked();
        open.all -= 1;
        if let Some(of_caller) = open.of_callers.get_mut(&self.caller) {
            *of_caller -= 1;
            if *of_caller == 0 {
                open.of_callers.remove(&self.caller);
            }
        }
        self.streams.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn no_more_are_open_than_there_may_be_and_no_caller_has_more_than_its_part() {
        let gauge = Gauge::default();
        let streams = Arc::new(OpenStreams::new(3, 2, gauge.clone()));
        let refused = |caller: &str| streams.open(caller).map(drop).unwrap_err();
        let first = streams.open("a").unwrap();
        let _second = streams.open("a").unwrap();
        assert_eq!(refused("a"), TooManyStreams::OfCaller);
        let third = streams.open("b").unwrap();
        assert_eq!(refused("b"), TooManyStreams::OfAll);
        assert_eq!(gauge.get(), 3);
        drop(third);
        assert_eq!(refused("a"), TooManyStreams::OfCaller);
        drop(first);
        let _again = streams.open("a").unwrap();
        assert_eq!(gauge.get(), 2);
        assert_eq!(streams.locked().of_callers.len(), 1);
    }

    #[test]
    fn all_end_when_they_are_closed_and_so_do_those_that_begin_later() {
        let streams = Arc::new(OpenStreams::new(2, 2, Gauge::default()));
        let early = streams.open("a").unwrap();
        assert_eq!(early.closing().now_or_never(), None);
        streams.close();
        assert_eq!(early.closing().now_or_never(), Some(()));
        let late = streams.open("a").unwrap();
        assert_eq!(late.closing().now_or_never(), Some(()));
    }
}

//! A request on a connection, from its head to its answer; tells the connection when the caller is
//! waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_util::Stream;
use poem::{Body, Request};

use super::connected::Connected;
use crate::foundation::clock::{Ms, SharedClock};

/// Set in [`Waiting`] once the request is answered, or was taken back.
const ENDED: u32 = 1 << 31;

/// A request that is under way.
pub struct Turn {
    waiting: Arc<Waiting>,
    clock: SharedClock,
    answered: bool,
}

impl Turn {
    pub fn begin(connected: Arc<Connected>, clock: SharedClock) -> Self {
        connected.begin();
        Self {
            waiting: Arc::new(Waiting {
                connected,
                reasons: AtomicU32::new(0),
            }),
            clock,
            answered: false,
        }
    }

    pub fn has_body(&self, request: &mut Request) {
        self.waiting.connected.has_body(self.clock.boot());
        let body = Coming {
            body: Box::pin(request.take_body().into_bytes_stream()),
            waiting: self.waiting.clone(),
            waits: false,
        };
        request.set_body(Body::from_bytes_stream(body));
    }

    /// Waits as if for the caller: the connection may be asked to make room.
    pub async fn hold_back(&self, delay: Ms) {
        let _held_back = HeldBackTurn::begin(&self.waiting);
        tokio::time::sleep(delay.as_duration()).await;
    }

    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.waiting.end();
        let connected = &self.waiting.connected;
        connected.end(self.clock.boot(), self.answered);
    }
}

/// Why a request waits. Its connection counts it once, whatever the reasons, and not after its end:
/// what is left of its body may be read beside its answer, and after it.
struct Waiting {
    connected: Arc<Connected>,
    /// How many, and [`ENDED`].
    reasons: AtomicU32,
}

impl Waiting {
    fn one_more(&self) {
        if self.reasons.fetch_add(1, Relaxed) == 0 {
            self.connected.wait_for_caller();
        }
    }

    fn one_less(&self) {
        if self.reasons.fetch_sub(1, Relaxed) == 1 {
            self.connected.go_on();
        }
    }

    fn end(&self) {
        if self.reasons.fetch_or(ENDED, Relaxed) > 0 {
            self.connected.go_on();
        }
    }
}

/// An answer that is not sent yet.
struct HeldBackTurn<'a>(&'a Waiting);

impl<'a> HeldBackTurn<'a> {
    fn begin(waiting: &'a Waiting) -> Self {
        waiting.one_more();
        Self(waiting)
    }
}

impl Drop for HeldBackTurn<'_> {
    fn drop(&mut self) {
        self.0.one_less();
    }
}

/// A body as it comes; tells while it is waited for.
struct Coming<S> {
    body: Pin<Box<S>>,
    waiting: Arc<Waiting>,
    waits: bool,
}

impl<S: Stream> Stream for Coming<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = self.body.as_mut().poll_next(context);
        match (polled.is_pending(), self.waits) {
            (true, false) => self.waiting.one_more(),
            (false, true) => self.waiting.one_less(),
            _ => {}
        }
        self.waits = polled.is_pending();
        polled
    }
}

impl<S> Drop for Coming<S> {
    fn drop(&mut self) {
        if self.waits {
            self.waiting.one_less();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::FutureExt;
    use futures_util::stream;

    use super::*;
    use crate::foundation::clock::{BootMs, EpochMs, ManualClock};

    #[tokio::test]
    async fn a_refused_upload_that_is_held_back_does_not_hide_a_request_that_is_worked_on() {
        let connected = Arc::new(Connected::new(BootMs(0)));
        let clock: SharedClock = Arc::new(ManualClock::at(EpochMs(0)));
        let begin = || Turn::begin(connected.clone(), clock.clone());
        let mut context = Context::from_waker(Waker::noop());
        let (worked_on, refused) = (begin(), begin());
        let mut upload = Request::default();
        let never = stream::pending::<std::io::Result<Vec<u8>>>();
        upload.set_body(Body::from_bytes_stream(never));
        refused.has_body(&mut upload);
        // What is left of it is read beside the answer.
        let mut rest = Box::pin(upload.take_body().into_bytes_stream());
        assert!(rest.as_mut().poll_next(&mut context).is_pending());
        assert_eq!(connected.waits(), None, "while the body is waited for");
        let mut held_back = Box::pin(refused.hold_back(Ms::from_secs(3600)));
        assert!(held_back.as_mut().poll_unpin(&mut context).is_pending());
        assert_eq!(connected.waits(), None, "while it is held back");
        drop(held_back);
        assert_eq!(connected.waits(), None, "when it is answered");
        refused.answered();
        assert_eq!(connected.waits(), None, "after its answer");
        worked_on.answered();
        assert!(connected.waits().is_some(), "nothing is worked on");
        let another = begin();
        assert_eq!(connected.waits(), None, "the next request");
        drop(rest);
        assert_eq!(connected.waits(), None, "without the rest");
        another.answered();
        assert!(connected.waits().is_some(), "nothing is left");
    }
}

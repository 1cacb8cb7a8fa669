//! A request on a connection, from its head to its answer; tells the connection when the caller is
//! waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use poem::{Body, Request};

use super::connected::Connected;
use crate::foundation::clock::{Ms, SharedClock};

/// A request that is under way.
pub struct Turn {
    connected: Arc<Connected>,
    clock: SharedClock,
    answered: bool,
}

impl Turn {
    pub fn begin(connected: Arc<Connected>, clock: SharedClock) -> Self {
        connected.begin();
        Self {
            connected,
            clock,
            answered: false,
        }
    }

    pub fn has_body(&self, request: &mut Request) {
        self.connected.has_body(self.clock.boot());
        let body = Coming {
            body: Box::pin(request.take_body().into_bytes_stream()),
            connected: self.connected.clone(),
            waits: false,
        };
        request.set_body(Body::from_bytes_stream(body));
    }

    /// Waits as if for the caller: the connection may be asked to make room.
    pub async fn hold_back(&self, delay: Ms) {
        let _waiting = WaitingTurn::begin(&self.connected);
        tokio::time::sleep(delay.as_duration()).await;
    }

    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.connected.end(self.clock.boot(), self.answered);
    }
}

/// A request on which no work is done.
struct WaitingTurn<'a>(&'a Connected);

impl<'a> WaitingTurn<'a> {
    fn begin(connected: &'a Connected) -> Self {
        connected.wait_for_caller();
        Self(connected)
    }
}

impl Drop for WaitingTurn<'_> {
    fn drop(&mut self) {
        self.0.go_on();
    }
}

/// A body as it comes; tells while it is waited for.
struct Coming<S> {
    body: Pin<Box<S>>,
    connected: Arc<Connected>,
    waits: bool,
}

impl<S: Stream> Stream for Coming<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = self.body.as_mut().poll_next(context);
        match (polled.is_pending(), self.waits) {
            (true, false) => self.connected.wait_for_caller(),
            (false, true) => self.connected.go_on(),
            _ => {}
        }
        self.waits = polled.is_pending();
        polled
    }
}

impl<S> Drop for Coming<S> {
    fn drop(&mut self) {
        if self.waits {
            self.connected.go_on();
        }
    }
}

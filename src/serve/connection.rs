//! Connections that end when no request comes on them, when its head does not come in time, when
//! its answer does not, or when the caller does not read that. It is told by the bytes that pass, so
//! that a request costs no timer and no task.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connected::Connected;
use super::frames::{Frames, PREFACE};
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::metrics::ClosedLabels;

/// How long callers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte of a request's head to its last; at first, from the start of the
    /// connection.
    pub header: Ms,
    /// Between an answer and the next request; also how long the caller may read nothing of what is
    /// sent.
    pub idle: Ms,
    /// From the first byte of a request to the first of its answer.
    pub request: Ms,
}

impl Limits {
    /// Whatever happens, nothing runs out before.
    fn shorter(self) -> Ms {
        self.header.min(self.idle).min(self.request)
    }
}

#[derive(Debug)]
enum Protocol {
    /// So much of what HTTP/2 begins with has come, and nothing else.
    Unknown(usize),
    Http1,
    Http2(Frames),
}

/// The caller does not take what is sent, since then.
#[derive(Clone, Copy, Debug)]
enum Unread {
    /// There is no room for more.
    Write(BootMs),
    /// TLS has taken it, and cannot pass it on: it takes more beside that.
    Flush(BootMs),
}

pub struct Connection<T> {
    inner: T,
    limits: Limits,
    clock: SharedClock,
    connected: Arc<Connected>,
    closed: Family<ClosedLabels, Counter>,
    protocol: Protocol,
    /// Since when a head is waited for, or the rest of one.
    head_since: Option<BootMs>,
    /// When the request that is under way began to come, or when it was last written, whichever is
    /// later.
    since: BootMs,
    unread: Option<Unread>,
    /// Looks at the clock now and then, no later than something may have run out.
    look: Pin<Box<Sleep>>,
    given_up: bool,
}

impl<T> Connection<T> {
    /// `begun`: when the caller connected; a handshake takes of the time of the first head.
    pub fn new(
        inner: T,
        begun: BootMs,
        limits: Limits,
        clock: SharedClock,
        connected: Arc<Connected>,
        closed: Family<ClosedLabels, Counter>,
    ) -> Self {
        let first = limits.shorter().0 - clock.boot().since(begun).0;
        Self {
            inner,
            limits,
            clock,
            connected,
            closed,
            protocol: Protocol::Unknown(0),
            head_since: Some(begun),
            since: begun,
            unread: None,
            look: Box::pin(sleep(Ms(first.max(0)).as_duration())),
            given_up: false,
        }
    }

    fn has_read(&mut self, mut bytes: &[u8]) {
        if let Protocol::Unknown(come) = self.protocol {
            if come == 0 {
                self.since = self.clock.boot();
            }
            let rest = &PREFACE[come..];
            let same = rest.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            self.protocol = if same == rest.len() {
                Protocol::Http2(Frames::default())
            } else if same == bytes.len() {
                Protocol::Unknown(come + same)
            } else {
                Protocol::Http1
            };
            bytes = &bytes[same..];
        }
        match &mut self.protocol {
            Protocol::Unknown(_) => {}
            // The rest of a head and what belongs to a request that is under way change nothing.
            // Where a part of the next head came along with that, it counts from its next byte.
            Protocol::Http1 => {
                if self.head_since.is_none() && !self.connected.is_busy() {
                    self.since = self.clock.boot();
                    self.head_since = Some(self.since);
                }
            }
            Protocol::Http2(frames) => {
                let heads = frames.heads();
                frames.take(bytes);
                let another = frames.heads() > heads;
                let now = self.clock.boot();
                if frames.in_head() {
                    if another || self.head_since.is_none() {
                        self.head_since = Some(now);
                    }
                } else if frames.heads() > 0 {
                    self.head_since = None;
                }
                if !self.connected.is_busy() {
                    self.since = now;
                }
            }
        }
    }

    fn has_written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        // Nothing is written before a head has come. Frames of HTTP/2 may be.
        let answers = matches!(self.protocol, Protocol::Http1) && self.head_since.take().is_some();
        if written.is_ready() || answers {
            self.since = self.clock.boot();
        }
        if written.is_ready() {
            if let Some(Unread::Write(_)) = self.unread {
                self.unread = None;
            }
            return written;
        }
        // Once there is room again, the caller has read something.
        self.unread = Some(Unread::Write(self.unread_since()));
        ready!(self.poll_left(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn unread_since(&self) -> BootMs {
        match self.unread {
            Some(Unread::Write(since) | Unread::Flush(since)) => since,
            None => self.clock.boot(),
        }
    }

    /// All that was written has been passed on, or not yet.
    fn has_flushed(
        &mut self,
        context: &mut Context<'_>,
        flushed: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if flushed.is_ready() {
            self.unread = None;
            return flushed;
        }
        if self.unread.is_none() {
            self.unread = Some(Unread::Flush(self.clock.boot()));
        }
        ready!(self.poll_left(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// How long until it is given up, if nothing happens, and which limit that is.
    fn left(&self) -> (Ms, &'static str) {
        let now = self.clock.boot();
        let left = |limit: Ms, since: BootMs| Ms(limit.0 - now.since(since).0);
        let request = (left(self.limits.request, self.since), "request_timeout");
        let waits = match self.head_since {
            _ if self.connected.is_busy() => request,
            Some(since) => request.min((left(self.limits.header, since), "header_timeout")),
            None => (left(self.limits.idle, self.since), "idle_timeout"),
        };
        // Who does not read keeps the connection no longer than who asks nothing, whatever else he
        // sends.
        match self.unread {
            Some(_) => waits.min((left(self.limits.idle, self.unread_since()), "idle_timeout")),
            None => waits,
        }
    }

    /// Ready when it is given up.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(context));
            let (left, reason) = self.left();
            if left <= Ms::ZERO {
                if !std::mem::replace(&mut self.given_up, true) {
                    self.closed.get_or_create(&ClosedLabels { reason }).inc();
                }
                return Poll::Ready(());
            }
            // Another limit may count the next moment.
            let wait = left.min(self.limits.shorter());
            self.look.set(sleep(wait.as_duration()));
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if Pin::new(&mut self.inner)
            .poll_read(context, buffer)?
            .is_ready()
        {
            if buffer.filled().len() > before {
                self.has_read(&buffer.filled()[before..]);
            }
            return Poll::Ready(Ok(()));
        }
        // As if the caller had closed it.
        self.poll_left(context).map(Ok)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.has_written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.has_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.has_flushed(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.has_flushed(context, shut)
    }
}

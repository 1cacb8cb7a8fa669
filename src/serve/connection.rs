//! Connections that end when nothing is asked on them, or when a request takes too long. It
//! is told by the bytes that pass, so that a request costs no timer and no task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::foundation::clock::{BootMs, Ms, SharedClock};

/// How long callers may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between an answer and the next request.
    pub idle: Ms,
    /// From the first byte of a request to the first of its answer.
    pub request: Ms,
}

impl Limits {
    /// Whatever happens, nothing runs out before.
    fn shorter(self) -> Ms {
        self.idle.min(self.request)
    }
}

/// Accepts connections with limits.
pub struct Limited<A> {
    inner: A,
    limits: Limits,
    clock: SharedClock,
}

impl<A> Limited<A> {
    pub fn new(inner: A, limits: Limits, clock: SharedClock) -> Self {
        Self {
            inner,
            limits,
            clock,
        }
    }
}

impl<A: Acceptor> Acceptor for Limited<A> {
    type Io = Connection<A::Io>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (io, local, remote, scheme) = self.inner.accept().await?;
        let connection = Connection::new(io, self.limits, self.clock.clone());
        Ok((connection, local, remote, scheme))
    }
}

#[derive(Clone, Copy, Debug)]
enum Since {
    /// Nothing was asked since the last answer.
    Answered(BootMs),
    /// Something was, and nothing is answered yet.
    Asked(BootMs),
}

pub struct Connection<T> {
    inner: T,
    limits: Limits,
    clock: SharedClock,
    since: Since,
    /// Looks at the clock now and then, no later than something may have run out.
    look: Pin<Box<Sleep>>,
}

impl<T> Connection<T> {
    fn new(inner: T, limits: Limits, clock: SharedClock) -> Self {
        Self {
            inner,
            limits,
            since: Since::Answered(clock.boot()),
            clock,
            look: Box::pin(sleep(limits.shorter().as_duration())),
        }
    }

    fn has_read(&mut self) {
        if let Since::Answered(_) = self.since {
            self.since = Since::Asked(self.clock.boot());
        }
    }

    /// Who does not read the answer keeps the connection no longer than who asks nothing.
    fn has_written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.since = Since::Answered(self.clock.boot());
            return written;
        }
        ready!(self.poll_left(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// How long until it is given up, if nothing happens.
    fn left(&self) -> Ms {
        let (limit, since) = match self.since {
            Since::Answered(since) => (self.limits.idle, since),
            Since::Asked(since) => (self.limits.request, since),
        };
        Ms(limit.0 - self.clock.boot().since(since).0)
    }

    /// Ready when it is given up.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.look.as_mut().poll(context));
            let left = self.left();
            if left <= Ms::ZERO {
                return Poll::Ready(());
            }
            // The other limit may count the next moment.
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
                self.has_read();
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
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

//! Serves one connection: HTTP/1.1, or HTTP/2 where the caller begins with it. poem's own server
//! tells neither when a request is worked on, nor lets a head be limited.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use poem::http::header::STRICT_TRANSPORT_SECURITY;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connection::{Connection, Limits};
use super::connections::{Connected, Slot, Told};
use super::secured::SecuredBy;
use crate::access::certified::CertifiedAs;
use crate::config::HttpSettings;
use crate::foundation::clock::{BootMs, SharedClock};
use crate::foundation::metrics::{ClosedLabels, Metrics};

/// Of a head that is too large, so many times the limit is read: then the front can say so, in a
/// problem document. Beyond, hyper answers 431 without a body.
const HEAD_READ: usize = 2;
/// Streams that a caller took back before their request was taken up, the default of h2.
const PENDING_RESETS: usize = 20;
/// Streams that were reset for a caller's own fault, the default of h2.
const FAULTY_STREAMS: usize = 1024;
/// Requests that a caller may take back, beside as many as he lets be answered. Each is finished
/// nevertheless, so their number is not bounded by that of the streams (CVE-2023-44487).
const TAKEN_BACK_MAX: u32 = 100;

/// Serves connections.
pub struct Http<E> {
    endpoint: E,
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    tls: Option<SecuredBy>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
}

impl<E: Endpoint + 'static> Http<E> {
    pub fn new(
        endpoint: E,
        settings: &HttpSettings,
        tls: Option<SecuredBy>,
        clock: SharedClock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let head = settings.max_header_bytes * HEAD_READ;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Answers are short: to copy one costs less than a write of several parts.
        builder.http1().max_buf_size(head).writev(false);
        builder
            .http2()
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(FAULTY_STREAMS);
        Self {
            endpoint,
            builder,
            limits: Limits {
                header: settings.header_timeout,
                idle: settings.idle_timeout,
                request: settings.request_timeout,
            },
            tls,
            clock,
            metrics,
        }
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, remote: RemoteAddr, slot: Slot) {
        let Ok(local) = stream.local_addr() else {
            // It has ended already.
            return;
        };
        let mut ends = Ends {
            begun: self.clock.boot(),
            local: LocalAddr(local.into()),
            remote,
            scheme: Scheme::HTTP,
            certified: None,
        };
        let Some(secured) = &self.tls else {
            return self.serve_on(stream, ends, slot).await;
        };
        let shaken = secured
            .accept(stream, &slot.connected, self.limits.header)
            .await;
        match shaken {
            Ok(stream) => {
                ends.scheme = Scheme::HTTPS;
                ends.certified = secured.certified(&stream);
                self.serve_on(stream, ends, slot).await;
            }
            Err(why) => {
                if let Some(reason) = why.reason() {
                    self.count(reason);
                }
            }
        }
    }

    async fn serve_on<S>(self: Arc<Self>, stream: S, ends: Ends, slot: Slot)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connected = &slot.connected;
        let io = Connection::new(
            stream,
            ends.begun,
            self.limits,
            self.clock.clone(),
            connected.clone(),
            self.metrics.connections_closed.clone(),
        );
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let turn = Turn::begin(connected.clone(), self.clock.clone());
            let has_body = !request.body().is_end_stream();
            let (local, remote) = (ends.local.clone(), ends.remote.clone());
            let mut request: Request = (request, local, remote, ends.scheme.clone()).into();
            if let Some(certified) = &ends.certified {
                request.set_data(certified.clone());
            }
            if has_body {
                turn.has_body(&mut request);
            }
            let http = self.clone();
            async move {
                let mut response = http.endpoint.get_response(request).await;
                if let Some(hsts) = http.tls.as_ref().and_then(|tls| tls.hsts.clone()) {
                    let headers = response.headers_mut();
                    headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
                }
                turn.answered();
                Ok::<_, Infallible>(hyper::Response::from(response))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(io), service));
        let mut finishes = false;
        poll_fn(|context| {
            // Whatever it has to send is sent before it is ended.
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let told = connected.told(context.waker());
            if told == Told::Finish && !finishes {
                finishes = true;
                connection.as_mut().graceful_shutdown();
                context.waker().wake_by_ref();
            }
            if told == Told::MakeRoom {
                self.count("full");
                return Poll::Ready(());
            }
            if connected.taken_back() > TAKEN_BACK_MAX {
                self.count("resets");
                return Poll::Ready(());
            }
            if told == Told::End {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    fn count(&self, reason: &'static str) {
        let closed = &self.metrics.connections_closed;
        closed.get_or_create(&ClosedLabels { reason }).inc();
    }
}

/// Who talks on a connection, and how.
struct Ends {
    /// When the caller connected.
    begun: BootMs,
    local: LocalAddr,
    remote: RemoteAddr,
    scheme: Scheme,
    /// By the caller's certificate.
    certified: Option<CertifiedAs>,
}

/// A request that is under way.
struct Turn {
    connected: Arc<Connected>,
    clock: SharedClock,
    answered: bool,
}

impl Turn {
    fn begin(connected: Arc<Connected>, clock: SharedClock) -> Self {
        connected.begin();
        Self {
            connected,
            clock,
            answered: false,
        }
    }

    fn has_body(&self, request: &mut Request) {
        self.connected.has_body(self.clock.boot());
        let body = Coming {
            body: Box::pin(request.take_body().into_bytes_stream()),
            connected: self.connected.clone(),
            waits: false,
        };
        request.set_body(Body::from_bytes_stream(body));
    }

    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.connected.end(self.clock.boot(), self.answered);
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
            (true, false) => self.connected.wait_for_body(),
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

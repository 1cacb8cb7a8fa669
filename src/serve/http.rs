//! Serves one connection: HTTP/1.1, or HTTP/2 where the caller begins with it. poem's own server
//! tells neither when a request is worked on, nor lets a head be limited.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use poem::http::header::STRICT_TRANSPORT_SECURITY;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connected::Told;
use super::connection::{Connection, Limits};
use super::connections::Slot;
use super::secured::{Certified, SecuredBy};
use super::turn::Turn;
use crate::access::address_rates::ChargedHandshake;
use crate::api::HeldBack;
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
            charged: None,
        };
        let Some(secured) = &self.tls else {
            return self.serve_on(stream, ends, slot).await;
        };
        let shaken = secured
            .accept(stream, slot.address, &slot.connected, self.limits.header)
            .await;
        match shaken {
            Ok(shaken) => {
                ends.scheme = Scheme::HTTPS;
                ends.certified = secured.certified(&shaken);
                ends.charged = shaken.charged;
                self.serve_on(shaken.stream, ends, slot).await;
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
                match certified.now(self.clock.now()) {
                    Some(stands_for) => request.set_data(stands_for.clone()),
                    // The next connection is made with what its caller has now.
                    None => connected.finish(),
                }
            }
            if let Some(charged) = ends.charged.as_ref().filter(|charged| charged.stands()) {
                request.set_data(charged.clone());
            }
            if has_body {
                turn.has_body(&mut request);
            }
            let http = self.clone();
            async move {
                let mut response = http.endpoint.get_response(request).await;
                if let Some(HeldBack(delay)) = response.extensions_mut().remove() {
                    turn.hold_back(delay).await;
                }
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
            // What goes on is for whoever had the certificate; what is answered already is sent.
            let counts = |certified: &Certified| certified.now(self.clock.now()).is_some();
            let is_out = !connected.is_busy() && !ends.certified.as_ref().is_none_or(counts);
            if (told == Told::Finish || is_out) && !finishes {
                finishes = true;
                connection.as_mut().graceful_shutdown();
                context.waker().wake_by_ref();
            }
            if let Some(reason) = told.makes_room() {
                self.count(reason);
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
    certified: Option<Certified>,
    /// The handshake, until a good key comes.
    charged: Option<ChargedHandshake>,
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use poem::endpoint::make_sync;
    use prometheus_client::metrics::gauge::Gauge;
    use rcgen::generate_simple_self_signed;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{interval, timeout};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::config::{Env, Settings};
    use crate::foundation::clock::{Ms, SystemClock};
    use crate::serve::connections::Connections;

    /// Far more than the way to the caller holds, and no more than TLS takes at once.
    const ANSWER: usize = 16 * 1024;
    const HELD: usize = 1024;
    const PATIENCE: Duration = Duration::from_secs(30);

    const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    /// The preface, empty SETTINGS, and a head: GET, https, `/`, an authority (RFC 7541).
    const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x09\x01\x05\0\0\0\x01\x82\x87\x84\x41\x04test";
    /// A WINDOW_UPDATE of the whole connection, which belongs to no request.
    const NO_REQUEST: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01";

    async fn secured(
        theirs: DuplexStream,
        ours: DuplexStream,
    ) -> (impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite) {
        let made = generate_simple_self_signed(["test".to_owned()]).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let name = "test".try_into().unwrap();
        let (theirs, ours) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(name, theirs),
            TlsAcceptor::from(Arc::new(server)).accept(ours),
        );
        (theirs.unwrap(), ours.unwrap())
    }

    /// A caller asks, and reads nothing; now and then it sends `more`.
    async fn is_given_up(
        mut caller: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        asks: &'static [u8],
        more: &'static [u8],
    ) {
        let settings = Settings::load(None, &Env::new()).unwrap();
        let (clock, metrics) = (Arc::new(SystemClock), Arc::new(Metrics::new(1)));
        let endpoint = make_sync(|_| vec![b'x'; ANSWER]);
        let mut http = Http::new(
            endpoint,
            &settings.http,
            None,
            clock.clone(),
            metrics.clone(),
        );
        http.limits.idle = Ms(100);
        let slot = Arc::new(Connections::new(Gauge::default())).add(None, http.clock.boot());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let ends = Ends {
            begun: http.clock.boot(),
            local: LocalAddr(address.into()),
            remote: RemoteAddr(address.into()),
            scheme: Scheme::HTTPS,
            certified: None,
            charged: None,
        };
        let asking = tokio::spawn(async move {
            caller.write_all(asks).await.unwrap();
            caller.flush().await.unwrap();
            let mut pace = interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                let _ = caller.write_all(more).await;
                let _ = caller.flush().await;
            }
        });
        let ended = timeout(PATIENCE, Arc::new(http).serve_on(stream, ends, slot)).await;
        asking.abort();
        assert!(ended.is_ok(), "the connection stays open");
        let reason = "idle_timeout";
        let closed = &metrics.connections_closed;
        assert_eq!(closed.get_or_create(&ClosedLabels { reason }).get(), 1);
    }

    #[tokio::test]
    async fn who_asks_and_does_not_read_the_answer_is_given_up() {
        for (asks, more) in [(HTTP1, &b""[..]), (HTTP2, b""), (HTTP2, NO_REQUEST)] {
            let (theirs, ours) = duplex(HELD);
            is_given_up(theirs, ours, asks, more).await;
        }
    }

    #[tokio::test]
    async fn who_asks_over_tls_and_does_not_read_the_answer_is_given_up() {
        for (asks, more) in [(HTTP1, &b""[..]), (HTTP2, b""), (HTTP2, NO_REQUEST)] {
            let (theirs, ours) = duplex(HELD);
            let (theirs, ours) = secured(theirs, ours).await;
            is_given_up(theirs, ours, asks, more).await;
        }
    }
}

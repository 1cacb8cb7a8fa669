//! The handshake of TLS with a caller, within the time of a head. Whoever speaks plain HTTP is told.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use poem::http::HeaderValue;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::connected::{Connected, Told, locked};
use crate::access::address_rates::{AddressRates, CallerAddress, ChargedHandshake};
use crate::access::certified::{CertifiedAs, CertifiedClients};
use crate::foundation::certificate;
use crate::foundation::clock::{EpochMs, Ms, SharedClock};
use crate::foundation::server_tls::{FilesVersion, ServerTls};

/// What somebody is told who speaks plain HTTP.
const NO_TLS: &str = "This port speaks TLS only: ask https://, not http://.\n";

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSecured {
    /// The handshake was not whole in time.
    TooSlow,
    /// The caller broke it off, trusts another certificate or speaks another TLS.
    Failed,
    /// The caller's address has begun too many that no good key followed.
    TooMany,
    /// The server needs the place, or stops.
    Told(Told),
}

impl NotSecured {
    /// As metrics name it; none where the caller just went.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::TooSlow => Some("header_timeout"),
            Self::Failed => Some("tls"),
            Self::TooMany => Some("handshake_rate"),
            Self::Told(told) => told.makes_room(),
        }
    }
}

/// What a connection is secured by.
pub struct SecuredBy {
    pub tls: Arc<ServerTls>,
    pub hsts: Option<HeaderValue>,
    pub clients: CertifiedClients,
    /// Of handshakes.
    pub rates: Arc<AddressRates>,
    pub clock: SharedClock,
}

/// A connection that is secured.
pub struct Secured {
    pub stream: TlsStream<TcpStream>,
    /// Which content of the files it is secured by.
    version: FilesVersion,
    /// Of its caller's address; none where that is a proxy's.
    pub charged: Option<ChargedHandshake>,
}

/// What a caller's certificate stands for, as long as its authority is one of those in use: these
/// may be replaced while the connection is open.
pub struct Certified {
    chain: Vec<CertificateDer<'static>>,
    stands_for: CertifiedAs,
    tls: Arc<ServerTls>,
    /// Whether a handshake would take it, and by which content of the files.
    taken: Mutex<(bool, FilesVersion)>,
}

impl Certified {
    /// None where a handshake would not take it any more.
    pub fn now(&self, now: EpochMs) -> Option<&CertifiedAs> {
        let mut taken = locked(&self.taken);
        if taken.1 != self.tls.version() {
            *taken = self.tls.takes(&self.chain, now);
        }
        taken.0.then_some(&self.stands_for)
    }
}

/// `Strict-Transport-Security` (RFC 6797).
pub fn hsts(seconds: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("max-age={seconds}")).ok()
}

impl SecuredBy {
    /// Whom a caller's certificate stands for; its authority was verified by the handshake.
    pub fn certified(&self, secured: &Secured) -> Option<Certified> {
        let chain = secured.stream.get_ref().1.peer_certificates()?;
        let ends = certificate::first_end(chain)?;
        let certificate = EndEntityCert::try_from(chain.first()?).ok()?;
        let uris = certificate.valid_uri_names();
        let names = uris.chain(certificate.valid_dns_names());
        Some(Certified {
            stands_for: self.clients.of(names, ends)?,
            chain: chain.to_vec(),
            tls: self.tls.clone(),
            taken: Mutex::new((true, secured.version)),
        })
    }

    /// Shakes hands. A proxy has no address here.
    pub async fn accept(
        &self,
        stream: TcpStream,
        address: Option<CallerAddress>,
        connected: &Connected,
        limit: Ms,
    ) -> Result<Secured, NotSecured> {
        let told = poll_fn(|context| match connected.told(context.waker()) {
            Told::Nothing => Poll::Pending,
            told => Poll::Ready(told),
        });
        tokio::select! {
            shaken = timeout(limit.as_duration(), self.handshake(stream, address)) => {
                shaken.unwrap_or(Err(NotSecured::TooSlow))
            }
            told = told => Err(NotSecured::Told(told)),
        }
    }

    /// Counts a handshake that begins.
    fn charge(&self, address: CallerAddress) -> Result<ChargedHandshake, NotSecured> {
        ChargedHandshake::take(&self.rates, address, self.clock.boot())
            .map_err(|_wait| NotSecured::TooMany)
    }

    async fn handshake(
        &self,
        mut stream: TcpStream,
        address: Option<CallerAddress>,
    ) -> Result<Secured, NotSecured> {
        let failed = |_| NotSecured::Failed;
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(failed)? == 0 {
            return Err(NotSecured::Failed);
        }
        // A handshake begins with 22 (RFC 8446, section 5.1), a request with its method.
        if first[0].is_ascii_alphabetic() {
            // What is left unread would reset the connection before the answer is read.
            let _ = stream.try_read(&mut [0; 4096]);
            let answer = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{NO_TLS}",
                NO_TLS.len()
            );
            stream.write_all(answer.as_bytes()).await.map_err(failed)?;
            let _ = stream.shutdown().await;
            return Err(NotSecured::Failed);
        }
        let charged = address.map(|address| self.charge(address)).transpose()?;
        // Its messages are small, and would wait for each other.
        stream.set_nodelay(true).map_err(failed)?;
        let (config, version) = self.tls.config();
        let stream = TlsAcceptor::from(config)
            .accept(stream)
            .await
            .map_err(failed)?;
        Ok(Secured {
            stream,
            version,
            charged,
        })
    }
}

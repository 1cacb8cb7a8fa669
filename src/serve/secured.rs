//! The handshake of TLS with a caller, within the time of a head. Whoever speaks plain HTTP is told.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use poem::http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::connections::{Connected, Told};
use crate::access::certified::{CertifiedAs, CertifiedClients};
use crate::foundation::clock::Ms;
use crate::foundation::server_tls::ServerTls;

/// What somebody is told who speaks plain HTTP.
const NO_TLS: &str = "This port speaks TLS only: ask https://, not http://.\n";

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSecured {
    /// The handshake was not whole in time.
    TooSlow,
    /// The caller broke it off, trusts another certificate or speaks another TLS.
    Failed,
    /// The server needs the place, or stops.
    Told(Told),
}

impl NotSecured {
    /// As metrics name it; none where the caller just went.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::TooSlow => Some("header_timeout"),
            Self::Failed => Some("tls"),
            Self::Told(Told::MakeRoom) => Some("full"),
            Self::Told(_) => None,
        }
    }
}

/// What a connection is secured by.
pub struct SecuredBy {
    pub tls: Arc<ServerTls>,
    pub hsts: Option<HeaderValue>,
    pub clients: CertifiedClients,
}

/// `Strict-Transport-Security` (RFC 6797).
pub fn hsts(seconds: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("max-age={seconds}")).ok()
}

impl SecuredBy {
    /// Whom a caller's certificate stands for; its authority was verified by the handshake.
    pub fn certified(&self, stream: &TlsStream<TcpStream>) -> Option<CertifiedAs> {
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let uris = certificate.valid_uri_names();
        self.clients.of(uris.chain(certificate.valid_dns_names()))
    }

    /// Shakes hands.
    pub async fn accept(
        &self,
        stream: TcpStream,
        connected: &Connected,
        limit: Ms,
    ) -> Result<TlsStream<TcpStream>, NotSecured> {
        secured(stream, &self.tls, connected, limit).await
    }
}

async fn secured(
    stream: TcpStream,
    tls: &ServerTls,
    connected: &Connected,
    limit: Ms,
) -> Result<TlsStream<TcpStream>, NotSecured> {
    let told = poll_fn(|context| match connected.told(context.waker()) {
        Told::Nothing => Poll::Pending,
        told => Poll::Ready(told),
    });
    tokio::select! {
        shaken = timeout(limit.as_duration(), handshake(stream, tls)) => {
            shaken.unwrap_or(Err(NotSecured::TooSlow))
        }
        told = told => Err(NotSecured::Told(told)),
    }
}

async fn handshake(
    mut stream: TcpStream,
    tls: &ServerTls,
) -> Result<TlsStream<TcpStream>, NotSecured> {
    let failed = |_| NotSecured::Failed;
    let mut first = [0];
    stream.peek(&mut first).await.map_err(failed)?;
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
    // Its messages are small, and would wait for each other.
    stream.set_nodelay(true).map_err(failed)?;
    TlsAcceptor::from(tls.config())
        .accept(stream)
        .await
        .map_err(failed)
}

//! A connection through a proxy: what comes and goes from then on is between this server and the
//! provider. The proxy is asked for an address that policy permits, unless it resolves names
//! itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;
use zeroize::Zeroizing;

use super::error::{ProxyRefusal, TunnelError};
use super::target::ProxyTarget;
use super::{Proxy, ProxyCredentials, ProxyKind, ResolvedBy, socks};
use crate::upstream::causes::{causes, is_no_http};
use crate::upstream::egress::Resolver;

/// What is read of a proxy's answer to CONNECT, at most.
const ANSWER_MAX_BYTES: usize = 16 * 1024;

/// Bytes that come and go.
pub(in crate::upstream) trait Stream:
    AsyncRead + AsyncWrite + Send + Unpin
{
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Proxy {
    pub(in crate::upstream) fn resolves_names(&self) -> bool {
        self.resolved_by == ResolvedBy::Proxy
    }

    /// Connects to the first target that the proxy reaches. `tls` is for the proxy itself.
    pub(in crate::upstream) async fn tunnel(
        &self,
        targets: &[ProxyTarget],
        names: &dyn Resolver,
        tls: &Arc<ClientConfig>,
    ) -> Result<Box<dyn Stream>, TunnelError> {
        let mut refused = TunnelError::NoProxy;
        for target in targets {
            match self.tunnel_to(target, names, tls).await {
                // It may reach another of the provider's addresses.
                Err(error @ TunnelError::Refused(_)) => refused = error,
                done => return done,
            }
        }
        Err(refused)
    }

    async fn tunnel_to(
        &self,
        target: &ProxyTarget,
        names: &dyn Resolver,
        tls: &Arc<ClientConfig>,
    ) -> Result<Box<dyn Stream>, TunnelError> {
        let mut stream = self.connect(names).await?;
        let credentials = self.credentials.as_ref();
        match self.kind {
            ProxyKind::Http => connect_by_http(stream, credentials, target).await,
            ProxyKind::Https => {
                let name = match &self.host {
                    Host::Domain(name) => {
                        ServerName::try_from(name.clone()).map_err(|_| TunnelError::NameOfProxy)?
                    }
                    Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
                    Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
                };
                let connector = TlsConnector::from(tls.clone());
                let stream = connector.connect(name, stream).await;
                connect_by_http(stream.map_err(TunnelError::Tls)?, credentials, target).await
            }
            ProxyKind::Socks5 => {
                socks::ask(&mut stream, credentials, target).await?;
                Ok(Box::new(stream))
            }
        }
    }

    async fn connect(&self, names: &dyn Resolver) -> Result<TcpStream, TunnelError> {
        let addresses = match &self.host {
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
            Host::Domain(name) => {
                let found = names.look_up(name.clone()).await;
                let found = found.map_err(|_| TunnelError::NameOfProxy)?;
                found.iter().map(SocketAddr::ip).collect()
            }
        };
        if addresses.is_empty() {
            return Err(TunnelError::NameOfProxy);
        }
        let addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        let stream = TcpStream::connect(&*addresses).await;
        let stream = stream.map_err(TunnelError::Unreachable)?;
        // Without it the small messages of both handshakes wait for each other.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// RFC 9110, section 9.3.6.
async fn connect_by_http(
    stream: impl Stream + 'static,
    credentials: Option<&ProxyCredentials>,
    target: &ProxyTarget,
) -> Result<Box<dyn Stream>, TunnelError> {
    let target = target.to_string();
    let host = HeaderValue::from_str(&target).map_err(|_| TunnelError::NoProxy)?;
    let mut request = Request::connect(target).header(HOST, host);
    if let Some(ProxyCredentials { user, password }) = credentials {
        let both = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
        let mut basic = HeaderValue::from_str(&basic).map_err(|_| TunnelError::Credentials)?;
        basic.set_sensitive(true);
        request = request.header(PROXY_AUTHORIZATION, basic);
    }
    let request = request
        .body(String::new())
        .map_err(|_| TunnelError::NoProxy)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_MAX_BYTES)
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| of_http(&error))?;
    // Asked before anything is read: else what comes unasked is told as a connection that closed.
    let answer = sender.send_request(request);
    tokio::spawn(connection.with_upgrades());
    let response = answer.await.map_err(|error| of_http(&error))?;
    match response.status().as_u16() {
        200..=299 => {}
        // tinyproxy says 401 of a wrong password, as if it were the server.
        401 | 407 => return Err(TunnelError::Credentials),
        status => return Err(TunnelError::Refused(ProxyRefusal::Http(status))),
    }
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| of_http(&error))?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

fn of_http(error: &hyper::Error) -> TunnelError {
    if causes(error).any(is_no_http) {
        TunnelError::NoProxy
    } else {
        TunnelError::Broken
    }
}

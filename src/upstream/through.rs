//! One exchange through a proxy. TLS is spoken with the provider, by its name: the proxy sees
//! nothing of it, and a proxy that connects elsewhere gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Body;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::connection_failure::{
    broken_in_tunnel, denied_by, not_in_time, of_provider, of_proxy, unresolved,
};
use super::egress::{Egress, NoAddress, Resolver, Scheme, permitted_addresses};
use super::proxy::Proxy;
use super::proxy::target::ProxyTarget;
use super::proxy::tunnel::Stream;
use super::trust::HTTP_TWO;
use crate::realm::failure::Failure;

/// What a connection through a proxy needs.
pub(super) struct Through<'a> {
    pub proxy: &'a Proxy,
    pub egress: &'a Egress,
    pub names: &'a Arc<dyn Resolver>,
    /// For the provider.
    pub tls: Arc<ClientConfig>,
    /// For the proxy itself.
    pub tls_of_proxy: &'a Arc<ClientConfig>,
    pub connect_timeout: Duration,
}

/// A connection with the provider.
struct Connected {
    stream: Box<dyn Stream>,
    is_http2: bool,
}

impl Through<'_> {
    pub async fn exchange(&self, request: reqwest::Request) -> Result<reqwest::Response, Failure> {
        let connected = timeout(self.connect_timeout, self.connect(request.url())).await;
        let connected = connected.map_err(|_| not_in_time(self.proxy.name()))??;
        let url = request.url().clone();
        let request = Request::<Body>::try_from(request);
        let request =
            request.map_err(|_| Failure::internal("the request cannot be made").unsent())?;
        let response = sent(connected, with_usual_headers(request, &url)?).await;
        let response = response.map_err(|error| broken_in_tunnel(&error))?;
        Ok(response.map(Body::wrap).into())
    }

    async fn connect(&self, url: &Url) -> Result<Connected, Failure> {
        let targets = self.targets(url).await?;
        let tunnel = self
            .proxy
            .tunnel(&targets, &**self.names, self.tls_of_proxy);
        let stream = tunnel
            .await
            .map_err(|error| of_proxy(self.proxy.name(), &error))?;
        if Scheme::of(url) == Scheme::Plain {
            let is_http2 = false;
            return Ok(Connected { stream, is_http2 });
        }
        let name = server_name(url).ok_or_else(no_host)?;
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| of_provider(&error))?;
        Ok(Connected {
            is_http2: stream.get_ref().1.alpn_protocol() == Some(HTTP_TWO),
            stream: Box::new(stream),
        })
    }

    /// What the proxy is asked for. What policy does not permit is never said to it.
    async fn targets(&self, url: &Url) -> Result<Vec<ProxyTarget>, Failure> {
        let scheme = Scheme::of(url);
        let port = url.port_or_known_default().ok_or_else(no_host)?;
        let address = |address: IpAddr| ProxyTarget::Address(SocketAddr::new(address, port));
        let name = match url.host().ok_or_else(no_host)? {
            // Checked with the URL.
            Host::Ipv4(literal) => return Ok(vec![address(literal.into())]),
            Host::Ipv6(literal) => return Ok(vec![address(literal.into())]),
            Host::Domain(name) => name.to_owned(),
        };
        if self.proxy.resolves_names() {
            let checked = self.egress.check_unresolved(&name, scheme);
            checked.map_err(|denied| denied_by(&denied))?;
            return Ok(vec![ProxyTarget::Name(name, port)]);
        }
        let found = permitted_addresses(self.egress, &**self.names, scheme, name).await;
        let mut found = found.map_err(|error| match error {
            NoAddress::LookUpFailed(_) => unresolved(),
            NoAddress::Denied(denied) => denied_by(&denied),
        })?;
        // More proxies have IPv4 than IPv6, and allow-lists of providers mostly name the former.
        found.sort_by_key(SocketAddr::is_ipv6);
        let targets = found.into_iter().map(|mut found| {
            if found.port() == 0 {
                found.set_port(port);
            }
            ProxyTarget::Address(found)
        });
        Ok(targets.collect())
    }
}

fn no_host() -> Failure {
    Failure::internal("the URL has no host").unsent()
}

fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        Host::Ipv4(address) => Some(IpAddr::V4(address).into()),
        Host::Ipv6(address) => Some(IpAddr::V6(address).into()),
    }
}

/// As the direct way sends them.
fn with_usual_headers(mut request: Request<Body>, url: &Url) -> Result<Request<Body>, Failure> {
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let host = HeaderValue::from_str(&host).map_err(|_| no_host())?;
    let headers = request.headers_mut();
    headers.entry(HOST).or_insert(host);
    headers.entry(USER_AGENT).or_insert(AGENT);
    headers.entry(ACCEPT).or_insert(ANYTHING);
    Ok(request)
}

const AGENT: HeaderValue = HeaderValue::from_static(super::settings::USER_AGENT);
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

async fn sent(
    connected: Connected,
    mut request: Request<Body>,
) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
    let io = TokioIo::new(connected.stream);
    if connected.is_http2 {
        // The authority of the URL says it.
        request.headers_mut().remove(HOST);
        *request.version_mut() = hyper::Version::HTTP_2;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        return sender.send_request(request).await;
    }
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(io)
        .await?;
    // Asked before anything is read: else what comes unasked is told as a connection that closed.
    let answer = sender.send_request(request);
    tokio::spawn(connection);
    answer.await
}

//! Authorities, the certificates that they issue, and servers that have them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs as crypto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use token_server::upstream::egress::{Lookup, Resolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::database_server::free_port;

/// An authority, and what it has issued.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn root(name: &str) -> Self {
        let (key, params) = (key(), authority_params(name));
        let certificate = params.self_signed(&key).expect("the root signs itself");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub fn intermediate(&self, name: &str) -> Self {
        let (key, params) = (key(), authority_params(name));
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's certificate and key.
    pub fn issue(&self, name: &str, years: (i32, i32)) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        self.issue_params(params)
    }

    pub fn issue_params(&self, params: CertificateParams) -> Issued {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        Issued {
            chain: vec![certificate.der().clone()],
            key,
        }
    }
}

pub struct Issued {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

impl Issued {
    pub fn with(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.certificate.der().clone());
        self
    }
}

pub fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let common = rcgen::DnType::CommonName;
    params.distinguished_name.push(common, name);
    params
}

pub const GOOD: (i32, i32) = (2020, 2090);

/// Where names lead.
#[derive(Debug, Default)]
pub struct Hosts(pub HashMap<String, SocketAddr>);

impl Resolver for Hosts {
    fn look_up(&self, host: String) -> Lookup {
        let found = self.0.get(&host).copied();
        Box::pin(async move {
            let no_such = || std::io::Error::other("no such host");
            found.map(|address| vec![address]).ok_or_else(no_such)
        })
    }
}

pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An address where nobody listens, and nobody will.
pub fn closed() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A server that does something with each connection.
pub async fn serve<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// Accepts TLS, from clients of an authority only where there is one.
pub fn acceptor(issued: Issued, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(crypto::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.3");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let root = authority.certificate.der().clone();
            roots.add(root).expect("it is an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = PrivateKeyDer::try_from(issued.key.serialize_der()).expect("a key");
    let config = builder
        .with_single_cert(issued.chain, key)
        .expect("the key belongs to the certificate");
    TlsAcceptor::from(Arc::new(config))
}

/// A TLS server that answers a token.
pub async fn tls_server(issued: Issued, clients: Option<&Authority>) -> SocketAddr {
    let acceptor = acceptor(issued, clients);
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                let body = r#"{"access_token":"t","expires_in":3600}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        }
    })
    .await
}

//! The internet of a test: every name leads to one TLS server on loopback, which has a
//! certificate for whatever name it is asked by. Requests arrive as they would at the real
//! provider: the host's name, TLS, and a client certificate where one is sent.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as crypto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use token_server::upstream::egress::{Lookup, Resolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    /// `https://` and the name the client asked for, and the path as it came.
    pub url: String,
    /// Decoded, in the order they came.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the client showed a certificate.
    pub certificate: bool,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

type Answering = Arc<dyn Fn(Arrived) -> Response + Send + Sync>;

/// Ports that providers name in their URLs; a resolver cannot lead those elsewhere.
const NAMED_PORTS: [u16; 1] = [9443];

/// Answers what the test says, whoever is asked.
pub struct Internet {
    address: SocketAddr,
    authority: CertificateDer<'static>,
    answering: Arc<Mutex<Answering>>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.servers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// An address of loopback that no other test has.
pub fn own_address() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    // Not 127.0: others are there.
    let process = std::process::id();
    let (second, third) = (process % 254 + 1, process / 254 % 256);
    let number = TAKEN.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from(127 << 24 | second << 16 | third << 8 | u32::from(number.max(1)))
}

impl Internet {
    pub async fn start() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("the root signs itself");
        let authority = root.der().clone();
        let certificates = Certificates {
            issuer: Issuer::new(params, key),
            made: Mutex::default(),
        };
        let provider = Arc::new(crypto::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.3")
            .with_client_cert_verifier(Arc::new(AnyCertificate))
            .with_cert_resolver(Arc::new(certificates));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let own = own_address();
        let mut listeners = Vec::new();
        for port in [0].into_iter().chain(NAMED_PORTS) {
            let listener = TcpListener::bind((own, port)).await;
            listeners.push(listener.expect("the port is free at this address"));
        }
        let address = listeners[0]
            .local_addr()
            .expect("a bound socket has an address");
        let nobody: Answering = Arc::new(|_| Response {
            status: 503,
            headers: Vec::new(),
            body: Vec::new(),
        });
        let answering = Arc::new(Mutex::new(nobody));
        let serve = |listener| tokio::spawn(serve(listener, acceptor.clone(), answering.clone()));
        let servers = listeners.into_iter().map(serve).collect();
        Self {
            address,
            authority,
            answering,
            servers,
        }
    }

    /// For the server's options.
    pub fn for_server(&self) -> (Arc<dyn Resolver>, CertificateDer<'static>) {
        (Arc::new(OneAddress(self.address)), self.authority.clone())
    }

    /// Where every name leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn answer(&self, answering: impl Fn(Arrived) -> Response + Send + Sync + 'static) {
        *self.answering.lock().expect("nobody panics with it") = Arc::new(answering);
    }
}

#[derive(Debug)]
struct OneAddress(SocketAddr);

impl Resolver for OneAddress {
    fn look_up(&self, _: String) -> Lookup {
        let address = self.0;
        Box::pin(async move { Ok(vec![address]) })
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, answering: Arc<Mutex<Answering>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, answering) = (acceptor.clone(), answering.clone());
        tokio::spawn(async move { exchange(stream, acceptor, answering).await });
    }
}

/// One request a connection. None where the client goes away.
async fn exchange(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    answering: Arc<Mutex<Answering>>,
) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let (_, tls) = stream.get_ref();
    let name = tls.server_name()?.to_owned();
    let certificate = tls.peer_certificates().is_some();
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&read, b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    // With the port, where the URL names one.
    let host = headers.get("host").cloned().unwrap_or(name);
    let length = headers
        .get("content-length")
        .map_or(Some(0), |text| text.parse().ok())?;
    let mut body = read.split_off(head_end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let arrived = Arrived {
        method,
        url: format!("https://{host}{path}"),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        body,
        certificate,
    };
    let answering = answering.lock().expect("nobody panics with it").clone();
    let response = answering(arrived);
    let mut text = format!(
        "HTTP/1.1 {} X\r\ncontent-length: {}\r\nconnection: close\r\n",
        response.status,
        response.body.len()
    );
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.write_all(&response.body).await.ok()?;
    stream.shutdown().await.ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Makes a certificate for each name it is asked by.
struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_owned();
        let mut made = self.made.lock().expect("nobody panics with it");
        let certified = made.entry(name.clone()).or_insert_with(|| {
            let key = KeyPair::generate().expect("a key can be made");
            let params = CertificateParams::new(vec![name]).expect("it is the name of a host");
            let certificate = params
                .signed_by(&key, &self.issuer)
                .expect("the root signs");
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key");
            let chain = vec![certificate.der().clone()];
            let provider = crypto::default_provider();
            Arc::new(CertifiedKey::from_der(chain, key, &provider).expect("they belong together"))
        });
        Some(certified.clone())
    }
}

/// Asks for a certificate, and takes any: whether one is sent is what the test sees.
#[derive(Debug)]
struct AnyCertificate;

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = crypto::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        crypto::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

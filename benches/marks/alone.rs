//! Load from a process of its own, which may be pinned to a core.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::block_in_place;
use tokio_rustls::TlsConnector;

use crate::load::{self, Connecting, Load};

/// What is started meanwhile runs on one core.
pub fn on_core<T>(core: usize, start: impl FnOnce() -> T) -> T {
    block_in_place(|| {
        let before = sched_getaffinity(None).expect("threads have an affinity");
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).expect("there is such a core");
        let started = start();
        sched_setaffinity(None, &before).expect("it was so before");
        started
    })
}

/// How such a process connects.
#[derive(Clone, Debug)]
pub enum Way {
    Plain,
    /// Over TLS, where the server shows the certificate that this file holds: on connections that
    /// are kept, or with a handshake for each request.
    Kept(PathBuf),
    Handshakes(PathBuf),
}

impl Way {
    fn text(&self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::Kept(path) => format!("kept:{}", path.display()),
            Self::Handshakes(path) => format!("handshakes:{}", path.display()),
        }
    }

    fn read(text: &str) -> Connecting {
        let Some((way, path)) = text.split_once(':') else {
            return Connecting::Plain;
        };
        let certificate = CertificateDer::from_pem_file(path).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it can be trusted");
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Connecting::Tls {
            connector: TlsConnector::from(Arc::new(config)),
            anew: way == "handshakes",
        }
    }
}

/// The argument that makes this program that process.
pub const ARGUMENT: &str = "load-alone";

/// Loads an address with the request that standard input holds, which ends with an empty line;
/// prints requests a second and errors. The size is `CONNECTIONS/MILLISECONDS`.
pub async fn load(address: &str, size: &str, way: &str) {
    let (connections, ms) = size.split_once('/').expect("two numbers");
    let mut request = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input can be read");
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    let seen = load::run(&Load {
        address: address.parse().expect("an address"),
        connecting: Way::read(way),
        requests: Arc::from([request]),
        connections: connections.parse().expect("a number"),
        duration: Duration::from_millis(ms.parse().expect("a number")),
        rate: None,
        check: Arc::new(|_| true),
    })
    .await;
    println!("{} {}", seen.per_second(), seen.errors);
}

pub struct Alone(Child);

impl Alone {
    pub fn start(
        address: SocketAddr,
        request: &[u8],
        way: &Way,
        (connections, time): (usize, Duration),
    ) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let size = format!("{connections}/{}", time.as_millis());
        let mut child = Command::new(program)
            .args([ARGUMENT, &address.to_string(), &size, &way.text()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(request).expect("it reads");
        Self(child)
    }

    /// Requests a second, and errors.
    pub fn ends(self) -> (f64, f64) {
        let output = self.0.wait_with_output().expect("it ends");
        let text = String::from_utf8(output.stdout).expect("it writes text");
        let (rate, errors) = text.trim().split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse().expect("a number");
        (number(rate), number(errors))
    }
}

//! Proxies: tinyproxy (HTTP CONNECT) and microsocks (SOCKS5), and one that does as the test says.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::internet::own_address;
use super::tls::{Issued, acceptor, serve};
use super::{TestDatabase, eventually};

/// Installed, or where tests/setup.sh unpacks them.
const PATHS: &str = concat!(
    "/usr/local/bin:/usr/bin:",
    env!("CARGO_MANIFEST_DIR"),
    "/target/servers/proxies/usr/bin"
);
const PORT: u16 = 3128;

pub const USER: &str = "proxy-user";
pub const PASSWORD: &str = "proxy-canary-secret";

/// A proxy as a process of its own, ended with the test.
pub struct RealProxy {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
    scheme: &'static str,
}

impl Drop for RealProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl RealProxy {
    /// HTTP CONNECT, for who has the password, to the ports that `more` says.
    pub async fn tinyproxy(database: &TestDatabase, more: &str) -> Self {
        let ip = own_address();
        let directory = database.directory.path();
        let (config, log) = (
            directory.join(format!("{ip}.conf")),
            directory.join(format!("{ip}.log")),
        );
        let text = format!(
            "Port {PORT}\nListen {ip}\nTimeout 60\nLogLevel Info\nLogFile \"{}\"\nMaxClients 20\n\
             BasicAuth {USER} {PASSWORD}\n{more}\n",
            log.display()
        );
        std::fs::write(&config, text).expect("the directory is there");
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&config);
        Self::start(command, IpAddr::V4(ip), log, "http").await
    }

    /// SOCKS5, for who has the password.
    pub async fn microsocks(database: &TestDatabase) -> Self {
        let ip = own_address();
        let log = database.directory.path().join(format!("{ip}.log"));
        let mut command = Command::new("microsocks");
        command.args(["-i", &ip.to_string(), "-p", &PORT.to_string()]);
        command.args(["-u", USER, "-P", PASSWORD]);
        Self::start(command, IpAddr::V4(ip), log, "socks5").await
    }

    async fn start(mut command: Command, ip: IpAddr, log: PathBuf, scheme: &'static str) -> Self {
        let said = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log);
        let process = command
            .env("PATH", PATHS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.expect("the directory is there"))
            .spawn()
            .expect("it is there; see tests/setup.sh");
        let address = SocketAddr::new(ip, PORT);
        let proxy = Self {
            process,
            address,
            log,
            scheme,
        };
        eventually("the proxy listens", async || {
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// With user and password.
    pub fn url(&self) -> String {
        format!("{}://{USER}:{PASSWORD}@{}", self.scheme, self.address)
    }

    pub fn url_with(&self, credentials: &str) -> String {
        format!("{}://{credentials}{}", self.scheme, self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("it logs")
    }
}

/// Answers CONNECT as if it connected to what it is asked for, and leads everything to one address.
pub struct LyingProxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl LyingProxy {
    pub async fn leading_to(leads_to: SocketAddr) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = asked.clone();
        let address = serve(move |mut stream| {
            let seen = seen.clone();
            async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let line = head.lines().next().unwrap_or_default().to_owned();
                seen.lock().expect("nobody panics with it").push(line);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                if let Ok(mut other) = TcpStream::connect(leads_to).await {
                    let _ = copy_bidirectional(&mut stream, &mut other).await;
                }
            }
        })
        .await;
        Self { address, asked }
    }

    /// The first line of each request.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

/// TLS in front of something else.
pub async fn tls_in_front(issued: Issued, inner: SocketAddr) -> SocketAddr {
    let acceptor: TlsAcceptor = acceptor(issued, None);
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let (Ok(mut stream), Ok(mut inner)) = (
                acceptor.accept(stream).await,
                TcpStream::connect(inner).await,
            ) {
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            }
        }
    })
    .await
}

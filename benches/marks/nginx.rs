//! nginx, returning a fixed body: what the machine can do.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Installed, or where tests/setup.sh unpacks it.
const PATHS: &str = concat!(
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:",
    env!("CARGO_MANIFEST_DIR"),
    "/target/servers/nginx/usr/sbin"
);

pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    _directory: TempDir,
}

impl Nginx {
    /// One process, which returns this body.
    pub fn start(body: &str) -> Self {
        Self::listening(body, "", "")
    }

    /// The same over TLS, with a certificate and its key.
    pub fn start_tls(body: &str, certificate: &Path, key: &Path) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        let tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
        Self::listening(body, " ssl", &tls)
    }

    fn listening(body: &str, how: &str, tls: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        let at = directory.path().display();
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/pid; \
             error_log {at}/error.log; events {{ worker_connections 1024; }} \
             http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; \
             fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; \
             keepalive_requests 1000000000; default_type application/json; \
             server {{ listen {address}{how}; {tls} location / {{ return 200 '{body}'; }} }} }}"
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).expect("the configuration can be written");
        let child = Command::new("nginx")
            .env("PATH", PATHS)
            .arg("-e")
            .arg(directory.path().join("error.log"))
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts; tests/setup.sh brings it");
        let nginx = Self {
            child,
            address,
            _directory: directory,
        };
        nginx.wait();
        nginx
    }

    /// Until it listens.
    fn wait(&self) {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen");
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("an address")
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

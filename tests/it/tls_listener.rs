//! TLS towards callers: versions and protocols, new certificates, callers with certificates, and
//! who does not shake hands.

mod authorities;
mod certified;
mod ends;
mod handshakes;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, SanType};
use reqwest::tls::Version;
use reqwest::{Certificate, ClientBuilder, Identity, StatusCode};
use serde_json::json;
use token_server::jobs::job::PassOutcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kit::client::{ADMIN_KEY, Client};
use crate::kit::server::Options;
use crate::kit::tls::{Authority, GOOD, Issued};
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    callers_speak_http_2_and_1_over_tls_and_are_told_to_come_back_by_it,
    a_new_certificate_is_taken_and_open_connections_stay,
    a_broken_pair_changes_nothing,
    who_does_not_shake_hands_is_cut_and_keeps_nobody_out,
    who_speaks_plain_http_is_told,
}

const NAME: &str = "tokens.example";
/// So long one look at a server may take.
const LOOK: Duration = Duration::from_secs(10);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn write(directory: &Path, issued: &Issued) -> Self {
        let files = Self {
            certificate: directory.join("tls.pem"),
            key: directory.join("tls.key"),
        };
        files.replace(issued);
        files
    }

    fn replace(&self, issued: &Issued) {
        let chain: String = issued
            .chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect();
        self.replace_with(&chain, &issued.key.serialize_pem());
    }

    fn replace_with(&self, certificate: &str, key: &str) {
        std::fs::write(&self.certificate, certificate).expect("the directory is there");
        std::fs::write(&self.key, key).expect("the directory is there");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&self.key, private).expect("it is there");
    }

    fn options(&self) -> Options {
        let text = |path: &Path| path.to_str().expect("a name").to_owned();
        Options {
            env: vec![
                (
                    "TOKEN_SERVER__HTTP__TLS__CERT_FILE",
                    text(&self.certificate),
                ),
                ("TOKEN_SERVER__HTTP__TLS__KEY_FILE", text(&self.key)),
            ],
            ..Options::default()
        }
    }

    /// With certificates of callers, each name with the API key that it stands for.
    fn with_clients(&self, authorities: &Path, clients: &[(&str, &str)]) -> Options {
        let mut text = format!(
            "[http.tls]\nclient_ca_file = \"{}\"\n[http.tls.clients]\n",
            authorities.display()
        );
        for (name, key) in clients {
            text.push_str(&format!("\"{name}\" = \"{key}\"\n"));
        }
        let file = self.certificate.with_file_name("config.toml");
        std::fs::write(&file, text).expect("the directory is there");
        Options {
            file: Some(file),
            ..self.options()
        }
    }
}

/// Those whose certificates let callers in.
fn write_authorities(file: &Path, authorities: &[&Authority]) {
    let pems: String = authorities
        .iter()
        .map(|authority| authority.certificate.pem())
        .collect();
    std::fs::write(file, pems).expect("the directory is there");
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Trusts one authority only.
fn client(server: &Server, authority: &Authority) -> ClientBuilder {
    let root = Certificate::from_der(authority.certificate.der()).expect("a certificate");
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve(NAME, server.address())
}

fn url(server: &Server, path: &str) -> String {
    format!("https://{NAME}:{}{path}", server.address().port())
}

fn admin(server: &Server, authority: &Authority) -> Client {
    let http = client(server, authority).build();
    Client::over(http.expect("a client can be made"), url(server, ""))
}

async fn status(client: &reqwest::Client, url: &str, key: Option<&str>) -> reqwest::Result<u16> {
    let mut request = client.get(url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    // A connection whose answer was not read is not used again.
    answer.bytes().await?;
    Ok(status)
}

/// The same; none where nothing came of it. The client waits without end for some connections that
/// end in their handshake.
async fn looked(client: &reqwest::Client, url: &str) -> Option<reqwest::Result<u16>> {
    timeout(LOOK, status(client, url, None)).await.ok()
}

async fn callers_speak_http_2_and_1_over_tls_and_are_told_to_come_back_by_it(
    database: TestDatabase,
) {
    let authority = Authority::root("Root");
    let files = Files::write(database.directory.path(), &authority.issue(NAME, GOOD));
    let server = Server::start_with(&database, files.options()).await;
    let hsts = "strict-transport-security";
    for (builder, version) in [
        (client(&server, &authority), reqwest::Version::HTTP_2),
        (
            client(&server, &authority).http1_only(),
            reqwest::Version::HTTP_11,
        ),
        (
            client(&server, &authority).tls_version_max(Version::TLS_1_2),
            reqwest::Version::HTTP_2,
        ),
        (
            client(&server, &authority).tls_version_min(Version::TLS_1_3),
            reqwest::Version::HTTP_2,
        ),
    ] {
        let client = builder.build().expect("a client can be made");
        for path in ["/healthz", "/api/realm", "/nothing"] {
            let request = client.get(url(&server, path)).bearer_auth(ADMIN_KEY);
            let response = request.send().await.expect("it is answered");
            assert_eq!(response.version(), version);
            assert_eq!(response.headers()[hsts], "max-age=31536000", "{path}");
        }
    }
    // The way of almost every read is another one.
    let admin = admin(&server, &authority);
    let fixed = json!({"id": "fixed"});
    admin.post("/api/realm", &fixed).await.expect(200);
    let token = json!({"realm": "fixed", "key": "k", "token": "t"});
    admin.put("/api/token", &token).await.expect(200);
    let reader = json!({"name": "reader", "scopes": ["token:read"]});
    let reader = admin.post("/api/api-key", &reader).await.expect(200).json();
    let reader = admin.with_key(reader["data"]["key"].as_str().expect("a key"));
    for _ in 0..3 {
        let read = reader.token("fixed", "k").await.expect(200);
        assert_eq!(read.header(hsts), Some("max-age=31536000"));
    }
    server.stop().await;
    let plain = Server::start(&database).await;
    let answer = plain.client.get("/api/realm").await.expect(200);
    assert_eq!(answer.header(hsts), None);
}

async fn a_new_certificate_is_taken_and_open_connections_stay(database: TestDatabase) {
    let (first, second) = (
        Authority::root("First Root"),
        Authority::root("Second Root"),
    );
    let files = Files::write(database.directory.path(), &first.issue(NAME, GOOD));
    let server = Server::start_with(&database, files.options()).await;
    let url = url(&server, "/healthz");
    let early = client(&server, &first)
        .build()
        .expect("a client can be made");
    assert_eq!(
        status(&early, &url, None).await.expect("it is answered"),
        200
    );
    files.replace(&second.issue(NAME, GOOD));
    eventually("the new certificate", async || {
        let late = client(&server, &second)
            .build()
            .expect("a client can be made");
        looked(&late, &url).await?.ok()
    })
    .await;
    // Its connection is still the one that the first certificate was shown on.
    assert_eq!(
        status(&early, &url, None).await.expect("it is answered"),
        200
    );
    let new = client(&server, &first)
        .build()
        .expect("a client can be made");
    assert!(status(&new, &url, None).await.is_err());
}

async fn a_broken_pair_changes_nothing(database: TestDatabase) {
    let (first, second) = (
        Authority::root("First Root"),
        Authority::root("Second Root"),
    );
    let issued = first.issue(NAME, GOOD);
    let files = Files::write(database.directory.path(), &issued);
    let server = Server::start_with(&database, files.options()).await;
    let url = url(&server, "/healthz");
    let of_another = second.issue(NAME, GOOD).key.serialize_pem();
    let certificate = pem("CERTIFICATE", &issued.chain[0]);
    for (certificate, key) in [("no PEM", "no PEM"), (certificate.as_str(), &of_another)] {
        files.replace_with(certificate, key);
        eventually("it is told", async || {
            let failed = ("certificates", PassOutcome::Failed);
            server.jobs().contains(&failed).then_some(())
        })
        .await;
        let new = client(&server, &first)
            .build()
            .expect("a client can be made");
        assert_eq!(status(&new, &url, None).await.expect("it is answered"), 200);
        // What is in use is there again.
        files.replace(&issued);
        eventually("it is as before", async || {
            let idle = ("certificates", PassOutcome::Idle);
            server.jobs().contains(&idle).then_some(())
        })
        .await;
    }
}

/// A client's certificate with names.
fn identity(authority: &Authority, names: &[SanType]) -> Identity {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.subject_alt_names = names.to_vec();
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let issued = authority.issue_params(params);
    let text = pem("CERTIFICATE", &issued.chain[0]) + &issued.key.serialize_pem();
    Identity::from_pem(text.as_bytes()).expect("a certificate and its key")
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

async fn who_does_not_shake_hands_is_cut_and_keeps_nobody_out(database: TestDatabase) {
    let authority = Authority::root("Root");
    let files = Files::write(database.directory.path(), &authority.issue(NAME, GOOD));
    let short = [("TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S", "1")];
    let server = Server::start_with(&database, files.options().with(&short)).await;
    for begun in [&b""[..], b"\x16\x03\x01\x00\x80\x01\x00"] {
        let mut stream = connect(server.address()).await;
        stream.write_all(begun).await.expect("it is open");
        let mut rest = Vec::new();
        // To its end.
        let _ = stream.read_to_end(&mut rest).await;
    }
    server.stop().await;
    let few = [
        ("TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S", "600"),
        ("TOKEN_SERVER__HTTP__MAX_CONNECTIONS", "10"),
    ];
    let server = Server::start_with(&database, files.options().with(&few)).await;
    let mut idle = Vec::new();
    for _ in 0..30 {
        idle.push(connect(server.address()).await);
    }
    let client = client(&server, &authority)
        .build()
        .expect("a client can be made");
    let answered = status(&client, &url(&server, "/healthz"), None).await;
    assert_eq!(answered.expect("it is answered"), 200);
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("it listens")
}

async fn who_speaks_plain_http_is_told(database: TestDatabase) {
    let authority = Authority::root("Root");
    let files = Files::write(database.directory.path(), &authority.issue(NAME, GOOD));
    let server = Server::start_with(&database, files.options()).await;
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let answer = answer.get(format!("http://{}/healthz", server.address()));
    let answer = answer.send().await.expect("it is answered");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let text = answer.text().await.expect("a body");
    assert!(text.contains("https://"), "{text}");
    // What is neither is closed.
    let mut stream = connect(server.address()).await;
    stream
        .write_all(b"\0\0\0\0\0\0\0\0")
        .await
        .expect("it is open");
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

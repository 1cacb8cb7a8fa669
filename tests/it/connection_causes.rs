//! What an admin is told of a connection that could not be made: each cause has a sentence of
//! its own, shown by a real server that has it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::CertificateParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::server::Options;
use crate::kit::tls::{Authority, GOOD, Hosts, Issued, closed, key, serve, tls_server};
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    each_fault_of_a_connection_is_told_by_its_cause,
    an_authority_of_the_realms_own_is_trusted_and_a_stranger_is_not,
}

/// `openssl s_server`, ended with the test.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CONNECT_TIMEOUT: &str = "TOKEN_SERVER__UPSTREAM__CONNECT_TIMEOUT_S";

/// Accepts connections, and says nothing.
const SILENT: &str = "silent.example";

/// What TLS 1.0 needs and no current default allows.
const OLD_CIPHERS: &str = "ALL:@SECLEVEL=0";

async fn openssl(
    database: &TestDatabase,
    issued: &Issued,
    options: &[&str],
) -> (OpenSsl, SocketAddr) {
    let address = closed();
    let directory = database.directory.path();
    let file = |kind: &str| directory.join(format!("{}-{kind}.pem", address.port()));
    let (certificate, key) = (file("certificate"), file("key"));
    let pem = issued.key.serialize_pem();
    std::fs::write(&key, pem).expect("the directory is there");
    let der = directory.join("certificate.der");
    std::fs::write(&der, &issued.chain[0]).expect("the directory is there");
    let converted = Command::new("openssl")
        .args(["x509", "-inform", "DER", "-in"])
        .arg(&der)
        .arg("-out")
        .arg(&certificate)
        .status();
    assert!(converted.is_ok_and(|status| status.success()));
    let server = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept"])
        .arg(address.to_string())
        .arg("-cert")
        .arg(&certificate)
        .arg("-key")
        .arg(&key)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let server = OpenSsl(server);
    eventually("openssl listens", async || {
        TcpStream::connect(address).await.ok().map(drop)
    })
    .await;
    (server, address)
}

async fn each_fault_of_a_connection_is_told_by_its_cause(database: TestDatabase) {
    let trusted = Authority::root("Trusted Root");
    let middle = trusted.intermediate("Trusted Intermediate");
    let strange = Authority::root("Strange Root");
    let strange_middle = strange.intermediate("Strange Intermediate");
    let self_signed = {
        let key = key();
        let names = vec!["self-signed.example".to_owned()];
        let params = CertificateParams::new(names).expect("a name");
        let certificate = params.self_signed(&key).expect("it signs itself");
        Issued {
            chain: vec![certificate.der().clone()],
            key,
        }
    };
    let issue = |name: &str| trusted.issue(name, GOOD);
    let for_openssl = issue("old.example");
    let old = ["-tls1", "-cipher", OLD_CIPHERS];
    let (_old, old) = openssl(&database, &for_openssl, &old).await;
    let ciphers = ["-tls1_2", "-cipher", "AES128-SHA256"];
    let (_ciphers, no_cipher) = openssl(&database, &for_openssl, &ciphers).await;
    let http = Provider::start().await;
    let plain: url::Url = http.url("/").parse().expect("a URL");
    let plain = SocketAddr::from(([127, 0, 0, 1], plain.port().expect("a port")));
    let closes = serve(async |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let silent = serve(async |mut stream: TcpStream| {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let ssh = serve(async |mut stream: TcpStream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mute = serve(async |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let chain = |authority: &Authority, name| authority.issue(name, GOOD).with(authority);
    let servers = [
        (
            "good.example",
            tls_server(chain(&middle, "good.example"), None).await,
            "",
        ),
        (
            "self-signed.example",
            tls_server(self_signed, None).await,
            "is self-signed",
        ),
        (
            "alone.example",
            tls_server(middle.issue("alone.example", GOOD), None).await,
            "without the intermediate certificate",
        ),
        (
            "strange.example",
            tls_server(chain(&strange_middle, "strange.example"), None).await,
            "was issued by an unknown authority",
        ),
        (
            "expired.example",
            tls_server(trusted.issue("expired.example", (2019, 2020)), None).await,
            "certificate has expired",
        ),
        (
            "early.example",
            tls_server(trusted.issue("early.example", (2080, 2090)), None).await,
            "is not valid yet",
        ),
        (
            "wrong-name.example",
            tls_server(issue("another.example"), None).await,
            "is for another name",
        ),
        (
            "client-certificate.example",
            tls_server(issue("client-certificate.example"), Some(&trusted)).await,
            "wants a client certificate",
        ),
        ("old.example", old, "speaks only TLS 1.1 or older"),
        ("no-cipher.example", no_cipher, "shares no cipher"),
        ("plain.example", plain, "does not speak TLS at this port"),
        (
            "refused.example",
            closed(),
            "refuses connections at this port",
        ),
        (
            "closes.example",
            closes,
            "closed the connection during the TLS handshake",
        ),
        (SILENT, silent, ""),
    ];
    let hosts = servers
        .iter()
        .map(|(name, address, _)| ((*name).to_owned(), *address));
    let names = Hosts(hosts.collect());
    let (names, root) = (Arc::new(names), trusted.certificate.der());
    // A busy machine needs its time for a handshake, and the silent one is not waited for.
    let options = |seconds: &str| Options {
        env: vec![(CONNECT_TIMEOUT, seconds.to_owned())],
        internet: Some((names.clone(), root.clone())),
        ..Options::default()
    };
    let mut server = Server::start_with(&database, options("30")).await;
    let mut told = BTreeMap::new();
    let by_name = servers
        .iter()
        .filter(|(name, ..)| *name != SILENT)
        .map(|(name, _, said)| (format!("https://{name}/token"), *said));
    let others = [
        (
            "https://no-such-host.example/token".to_owned(),
            "cannot be resolved",
        ),
        (format!("http://{ssh}/token"), "does not answer with HTTP"),
        (
            format!("http://{mute}/token"),
            "closed the connection without an answer",
        ),
        (
            format!("https://{SILENT}/token"),
            "could not be made in time",
        ),
    ];
    for (number, (url, said)) in by_name.chain(others).enumerate() {
        if url.contains(SILENT) {
            server.stop().await;
            server = Server::start_with(&database, options("1")).await;
        }
        let realm = format!("r{number}");
        let config = json!({
            "url": url, "method": "GET", "token_path": "access_token",
            "expires_in_path": "expires_in",
        });
        server.client.save_realm(&realm, config).await;
        let secret = json!({"realm": realm, "key": "k"});
        server.client.post("/api/secret", &secret).await.expect(200);
        if said.is_empty() {
            server.client.generation(&realm, "k", 1).await;
            continue;
        }
        let detail = eventually("a failure", async || {
            let secret = server.client.secret(&realm, "k").await;
            secret["last_error"]["detail"].as_str().map(str::to_owned)
        })
        .await;
        assert!(detail.contains(said), "{url}: {detail}");
        assert!(
            !detail.contains("127.0.0.1") && !detail.contains("example"),
            "{detail}"
        );
        let before = told.insert(detail, url);
        assert_eq!(before, None, "two causes have one sentence");
    }
}

async fn an_authority_of_the_realms_own_is_trusted_and_a_stranger_is_not(database: TestDatabase) {
    let private = Authority::root("Private Root");
    let issued = private.issue("private.example", GOOD);
    let address = tls_server(issued, None).await;
    let names = Hosts(HashMap::from([("private.example".to_owned(), address)]));
    let other = Authority::root("Another Root");
    let options = Options {
        internet: Some((Arc::new(names), other.certificate.der().clone())),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let config = json!({
        "params": {"ca": {"title": "Authority"}}, "tls": {"ca": "$ca"},
        "url": "https://private.example/token", "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    server.client.save_realm("r", config).await;
    let secret = |key: &str, authority: &Authority| json!({"realm": "r", "key": key, "params": {"ca": authority.certificate.pem()}});
    let client = &server.client;
    client
        .post("/api/secret", &secret("good", &private))
        .await
        .expect(200);
    client.generation("r", "good", 1).await;
    client
        .post("/api/secret", &secret("bad", &other))
        .await
        .expect(200);
    let detail = eventually("a failure", async || {
        let secret = client.secret("r", "bad").await;
        secret["last_error"]["detail"].as_str().map(str::to_owned)
    })
    .await;
    assert!(detail.contains("its authority is private"), "{detail}");
}

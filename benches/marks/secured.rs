//! Mark 13: what TLS costs beside nginx's, and what a JWT costs beside an API key. The server runs on
//! one core, its load on another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::generate_simple_self_signed;
use serde_json::json;
use tempfile::TempDir;
use token_server::foundation::clock::{Clock, SystemClock};
use tokio::task::block_in_place;

use crate::Size;
use crate::alone::{Alone, Way, on_core};
use crate::kit::TestDatabase;
use crate::kit::issuer::SigningKey;
use crate::kit::server::Client;
use crate::load::token_request;
use crate::nginx::Nginx;
use crate::report::{Mark, Report, Runs};
use crate::world::{self, Provider, key_name, realm_name};

/// A certificate of this machine, and its key.
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("the file is written");
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&path, private).expect("the mode is set");
            path
        };
        Self {
            certificate: file("certificate.pem", made.cert.pem()),
            key: file("key.pem", made.signing_key.serialize_pem()),
            _directory: directory,
        }
    }
}

/// A server that is asked, by one way.
struct Side {
    address: std::net::SocketAddr,
    request: Vec<u8>,
    way: Way,
    rate: Runs,
    errors: f64,
}

impl Side {
    fn new(address: std::net::SocketAddr, request: &[u8], way: Way) -> Self {
        Self {
            address,
            request: request.to_vec(),
            way,
            rate: Runs::default(),
            errors: 0.0,
        }
    }

    fn run(&mut self, connections: usize, time: Duration) {
        let size = (connections, time);
        let load = on_core(1, || {
            Alone::start(self.address, &self.request, &self.way, size)
        });
        let (rate, errors) = block_in_place(|| load.ends());
        self.rate.push(rate);
        self.errors += errors;
    }
}

/// Registers an issuer with its key, and answers a token of it that reads everything.
async fn jwt(client: &Client) -> String {
    let key = SigningKey::new("k", "RS256");
    let issuer = json!({
        "issuer": "https://bench.example", "audiences": ["token-server"],
        "jwks": {"keys": [key.jwk()]},
        "rules": [{"when": "claims.sub == 'bench'", "scopes": ["token:read"]}],
    });
    let saved = client.put("/api/issuer/bench", &issuer).await;
    saved.expect(200);
    let now_s = SystemClock.now().0 / 1000;
    key.token(&json!({
        "iss": "https://bench.example", "aud": "token-server", "sub": "bench",
        "iat": now_s, "exp": now_s + 86_400,
    }))
}

pub async fn measure(size: &Size, report: &mut Report) {
    let database = TestDatabase::sqlite();
    let provider = Provider::start(Duration::ZERO, 86_400).await;
    let certificate = Certificate::new();
    let plain = on_core(0, || world::server(&database, "plain", &[]));
    world::register(&database, &plain.client, &provider.url(), 1, 1).await;
    let key = world::reading_key(&plain.client).await;
    let jwt = jwt(&plain.client).await;
    let (realm, name) = (realm_name(0), key_name(0));
    let answer = plain.client.with_key(&key).token(&realm, &name).await;
    let body = answer.expect(200).text;
    let file = |path: &PathBuf| path.display().to_string();
    let tls = [
        (
            "TOKEN_SERVER__HTTP__TLS__CERT_FILE",
            file(&certificate.certificate),
        ),
        ("TOKEN_SERVER__HTTP__TLS__KEY_FILE", file(&certificate.key)),
    ];
    let secured = on_core(0, || world::server(&database, "tls", &tls));
    let nginx = on_core(0, || {
        Nginx::start_tls(&body, &certificate.certificate, &certificate.key)
    });
    let by_key = token_request(&realm, &name, &key);
    let by_jwt = token_request(&realm, &name, &jwt);
    let kept = || Way::Kept(certificate.certificate.clone());
    let anew = || Way::Handshakes(certificate.certificate.clone());
    let mut sides = [
        Side::new(secured.address, &by_key, kept()),
        Side::new(nginx.address, &by_key, kept()),
        Side::new(secured.address, &by_key, anew()),
        Side::new(nginx.address, &by_key, anew()),
        Side::new(plain.address, &by_key, Way::Plain),
        Side::new(plain.address, &by_jwt, Way::Plain),
    ];
    for _ in 0..size.runs {
        for side in &mut sides {
            side.run(size.connections / 4, size.one_run);
        }
    }
    let errors: f64 = sides.iter().map(|side| side.errors).sum();
    let [kept, their_kept, anew, their_anew, key, jwt] = sides.map(|side| side.rate);
    let what = "reads a second over TLS 1.3, over nginx's";
    report.add(13, what, kept.over(&their_kept), Mark::AtLeast(0.7));
    let what = "handshakes a second, each with a read, over nginx's";
    report.add(13, what, anew.over(&their_anew), Mark::AtLeast(0.7));
    let what = "reads a second with a JWT, over those with an API key";
    report.add(13, what, jwt.over(&key), Mark::Shown);
    let what = "reads a second over TLS, over those in the clear";
    report.add(13, what, kept.over(&key), Mark::Shown);
    for (what, figures) in [
        ("reads a second over TLS, server on one core", kept),
        ("handshakes a second, server on one core", anew),
        ("reads a second in the clear, server on one core", key),
    ] {
        report.add(13, what, figures, Mark::Shown);
    }
    report.one(13, "errors", errors, Mark::AtMost(0.0));
}

//! A certified OAuth server: npm `oidc-provider`, in a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::Value;
use token_server::foundation::clock::{Clock, SystemClock};

/// What client 1 has: characters that a careless Basic header would break on.
pub const AWKWARD_SECRET: &str = "secret:of client-1/100%2B+0123456789abcdef";

/// What the client `console` has, likewise.
pub const CONSOLE_SECRET: &str = "secret:of console/100%2B+0123456789abcdef";

/// What is registered beside the clients of shared secrets.
#[derive(Default)]
pub struct Registered<'a> {
    /// Public keys (JWKS) of the client `jwt-key`.
    pub keys: Option<Value>,
    /// Certificates for the client `mtls`.
    pub certificates: Option<&'a Certificates>,
}

/// An authority, and the certificates it signed.
pub struct Certificates {
    folder: tempfile::TempDir,
    pub authority: String,
    pub client_certificate: String,
    pub client_key: String,
}

impl Certificates {
    pub fn make() -> Self {
        let key = || KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root_key = key();
        let authority = params
            .self_signed(&root_key)
            .expect("the root signs itself");
        let issuer = Issuer::new(params, root_key);
        let signed = |names: Vec<String>, common_name: &str, key: &KeyPair| {
            let mut params = CertificateParams::new(names).expect("the names are good");
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, common_name);
            let certificate = params.signed_by(key, &issuer).expect("the root signs");
            certificate.pem()
        };
        let (server_key, client_key) = (key(), key());
        let server = signed(vec!["localhost".to_owned()], "localhost", &server_key);
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let authority = authority.pem();
        for (name, pem) in [
            ("ca.pem", &authority),
            ("server.pem", &server),
            ("server.key", &server_key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), pem).expect("it is writable");
        }
        Self {
            client_certificate: signed(Vec::new(), "the-client", &client_key),
            client_key: client_key.serialize_pem(),
            authority,
            folder,
        }
    }
}

pub struct OauthServer {
    child: Child,
    pub issuer: String,
    /// Where client certificates are asked for.
    pub tls_issuer: Option<String>,
    http: reqwest::Client,
}

impl OauthServer {
    /// Odd clients authenticate by Basic, even ones in the body.
    pub fn start(clients: usize, access_token_ttl_s: u32) -> Self {
        Self::start_with(clients, access_token_ttl_s, &Registered::default())
    }

    pub fn start_with(clients: usize, access_token_ttl_s: u32, also: &Registered<'_>) -> Self {
        let folder = folder();
        let mut command = Command::new(node());
        command
            .arg(folder.join("server.mjs"))
            .env("CLIENTS", clients.to_string())
            .env("ACCESS_TOKEN_TTL_S", access_token_ttl_s.to_string())
            // It ends when its standard input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(keys) = &also.keys {
            command.env("CLIENT_JWKS", keys.to_string());
        }
        if let Some(certificates) = also.certificates {
            let file = |name: &str| certificates.folder.path().join(name);
            command
                .env("TLS_KEY", file("server.key"))
                .env("TLS_CERT", file("server.pem"))
                .env("TLS_CLIENT_CA", file("ca.pem"))
                .env("TLS_CLIENT_DN", "CN=the-client");
        }
        let mut child = command
            .spawn()
            .expect("node is installed; `make setup` does that");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("standard output is piped"))
            .read_line(&mut line)
            .expect("the OAuth server says where it listens");
        let said: Value = serde_json::from_str(&line).expect("it says so in JSON");
        Self {
            child,
            issuer: said["issuer"].as_str().expect("an issuer").to_owned(),
            tls_issuer: said["tls_issuer"].as_str().map(str::to_owned),
            http: reqwest::Client::builder()
                .no_proxy()
                // Node closes connections that were idle for five seconds.
                .pool_idle_timeout(std::time::Duration::from_secs(2))
                .build()
                .expect("a client can be made"),
        }
    }

    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer)
    }

    pub fn secret_of(client: usize) -> String {
        match client {
            1 => AWKWARD_SECRET.to_owned(),
            other => format!("secret-of-client-{other}-0123456789abcdef"),
        }
    }

    /// Whether the server itself still accepts a token: by RFC 7662, or by the signature
    /// and the end of a JWT.
    pub async fn accepts(&self, token: &str) -> bool {
        if token.split('.').count() == 3 {
            return self.has_signed(token).await;
        }
        let answer = self
            .http
            .post(format!("{}/token/introspection", self.issuer))
            .basic_auth("introspector", Some("secret-of-introspector"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .expect("the OAuth server answers");
        read(answer).await["active"] == true
    }

    async fn has_signed(&self, jwt: &str) -> bool {
        let keys = self.get("/jwks").await;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("it is base64url");
        let part = |name: &str| decode(keys["keys"][0][name].as_str().expect("an RSA key"));
        let key = aws_lc_rs::signature::RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let (signed, signature) = jwt.rsplit_once('.').expect("three parts");
        let scheme = &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
        let verified = key.verify(scheme, signed.as_bytes(), &decode(signature));
        let claims = signed.split('.').nth(1).expect("claims");
        let claims: Value = serde_json::from_slice(&decode(claims)).expect("they are JSON");
        let now_s = SystemClock.now().0 / 1000;
        verified.is_ok() && claims["exp"].as_i64().expect("an end") > now_s
    }

    /// Goes as a browser does from where it was led, signs in by a name, and answers where it is led to
    /// at last; without a name, it gives up.
    pub async fn sign_in(&self, location: &str, name: Option<&str>) -> String {
        let (mut at, mut cookies) = (location.to_owned(), BTreeMap::new());
        let mut form = None;
        while at.starts_with(&self.issuer) {
            let (next, page) = self.browse(&at, form.take(), &mut cookies).await;
            match (next, name) {
                (Some(next), _) => at = next,
                (None, None) => at = format!("{at}/abort"),
                (None, Some(name)) if page.contains("name=\"login\"") => {
                    form = Some(format!("prompt=login&login={name}&password=any"));
                }
                (None, Some(_)) => {
                    assert!(page.contains("value=\"consent\""), "{page}");
                    form = Some("prompt=consent".to_owned());
                }
            }
        }
        at
    }

    /// Where a page leads, or what it shows.
    async fn browse(
        &self,
        at: &str,
        form: Option<String>,
        cookies: &mut BTreeMap<String, String>,
    ) -> (Option<String>, String) {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client can be made");
        let request = match form {
            None => http.get(at),
            Some(form) => http
                .post(at)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form),
        };
        let kept: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let answer = request.header("cookie", kept.join("; ")).send().await;
        let answer = answer.expect("the OAuth server answers");
        for set in answer.headers().get_all("set-cookie") {
            let (pair, _) = set
                .to_str()
                .expect("text")
                .split_once(';')
                .expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        cookies.retain(|_, value| !value.is_empty());
        let next = answer.headers().get("location").map(|next| {
            let next = next.to_str().expect("text");
            answer.url().join(next).expect("a URL").to_string()
        });
        (next, answer.text().await.expect("the answer is whole"))
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.issuer)).send().await;
        read(answer.expect("the OAuth server answers")).await
    }

    /// A first refresh token of the client `refresher`.
    pub async fn first_refresh_token(&self) -> String {
        let granted = self
            .http
            .post(format!("{}/test/grant", self.issuer))
            .send()
            .await
            .expect("the OAuth server answers");
        let granted = read(granted).await;
        granted["refresh_token"].as_str().expect("one").to_owned()
    }

    /// How often refresh tokens were rotated, and how often a spent one came again.
    pub async fn rotations(&self) -> (u64, u64) {
        let stats = self.get("/stats").await;
        let count = |name: &str| stats[name].as_u64().expect("a count");
        (count("rotations"), count("reuse_detected"))
    }

    /// Tokens issued in all.
    pub async fn issued(&self) -> u64 {
        let stats = self.get("/stats").await;
        stats["token_requests_total"].as_u64().expect("a count")
    }
}

async fn read(answer: reqwest::Response) -> Value {
    let text = answer.text().await.expect("the answer is whole");
    serde_json::from_str(&text).expect("the answer is JSON")
}

impl Drop for OauthServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc")
}

/// Where tests/setup.sh leaves Node.
pub fn node() -> PathBuf {
    let chosen = std::env::vars().find(|(name, _)| name == "TEST_NODE");
    let own = folder().join("node_modules/.bin/node");
    match chosen {
        Some((_, path)) => path.into(),
        None if own.exists() => own,
        None => "node".into(),
    }
}

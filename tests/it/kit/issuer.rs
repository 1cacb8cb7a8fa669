//! An issuer of JWTs: it signs them as Kubernetes and GitHub do, publishes its keys, and counts who
//! asks for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::{Endpoint, Request, Response};
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs};
use tokio::sync::Semaphore;

use super::provider::LocalServer;

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key of an issuer.
pub struct SigningKey {
    pub id: String,
    pub algorithm: &'static str,
    pair: Pair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The contents of the two numbers of an RSA key (RFC 8017, A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> [Vec<u8>; 2] {
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, begin) = match der[1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let digits = usize::from(long & 0x7f);
                let length = der[2..2 + digits].iter();
                let length = length.fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (length, 2 + digits)
            }
        };
        der[begin..].split_at(length)
    }
    let (numbers, _) = element(der);
    let (modulus, rest) = element(numbers);
    let (exponent, _) = element(rest);
    [modulus, exponent].map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number[zeros..].to_vec()
    })
}

impl SigningKey {
    /// A new key for `RS256`, `PS384`, `ES256`, `EdDSA` …
    pub fn new(id: &str, algorithm: &'static str) -> Self {
        let pair = match algorithm {
            "ES256" => Pair::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ),
            "ES384" => Pair::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ),
            "EdDSA" => Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Self {
            id: id.to_owned(),
            algorithm,
            pair,
        }
    }

    /// As it is published (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let [modulus, exponent] = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent)})
            }
            Pair::Ecdsa(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key())})
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        jwk
    }

    /// The public key as it would be the secret of an HMAC, in DER.
    pub fn public_der(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signed)
                    .expect("it signs");
                signed
            }
            Pair::Ecdsa(pair) => pair
                .sign(&random, message)
                .expect("it signs")
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these claims, with the header that most issuers write.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"});
        self.token_with(&header, claims)
    }

    /// Signed as the key does it, whatever the header says.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", encoded(signature))
    }
}

/// Header and claims, as they are signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| encoded(part.to_string()));
    format!("{header}.{claims}")
}

/// What is published, and who has asked.
#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    /// Instead of the keys, with this status.
    answer: Option<(u16, String)>,
    /// What the discovery document says instead of the truth.
    discovery: Option<Value>,
    /// Other pages, by path: status and body.
    pages: HashMap<String, (u16, String)>,
    /// What was posted last.
    posted: Option<String>,
    asked: Vec<String>,
    gate: Option<Arc<Semaphore>>,
}

/// Publishes keys on a port of its own, at `/jwks` and by discovery. Stops when dropped.
pub struct Publisher {
    published: Arc<Mutex<Published>>,
    server: LocalServer,
}

impl Publisher {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let published = Arc::<Mutex<Published>>::default();
        let server = LocalServer::start(Publishing(published.clone())).await;
        let publisher = Self { published, server };
        publisher.publish(keys);
        publisher
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().expect("nothing panics with the lock")
    }

    pub fn publish(&self, keys: &[&SigningKey]) {
        self.lock().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    pub fn publish_jwks(&self, keys: Vec<Value>) {
        self.lock().keys = keys;
    }

    /// Answers so whoever asks for the keys; none: with them.
    pub fn answer(&self, answer: Option<(u16, &str)>) {
        self.lock().answer = answer.map(|(status, body)| (status, body.to_owned()));
    }

    pub fn discover(&self, document: Value) {
        self.lock().discovery = Some(document);
    }

    pub fn show(&self, path: &str, status: u16, body: &str) {
        let page = (status, body.to_owned());
        self.lock().pages.insert(path.to_owned(), page);
    }

    /// The body of the last request that had one.
    pub fn posted(&self) -> Option<String> {
        self.lock().posted.clone()
    }

    /// Whoever asks from now on waits until it is released.
    pub fn hold(&self) {
        self.lock().gate = Some(Arc::new(Semaphore::new(0)));
    }

    pub fn release(&self) {
        if let Some(gate) = self.lock().gate.take() {
            gate.close();
        }
    }

    /// What `iss` says of its tokens.
    pub fn issuer(&self) -> String {
        self.server.url("")
    }

    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The paths that were asked for, in their order.
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// How often the keys were asked for.
    pub fn fetches(&self) -> usize {
        self.asked().iter().filter(|path| *path == "/jwks").count()
    }
}

struct Publishing(Arc<Mutex<Published>>);

impl Endpoint for Publishing {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let path = request.uri().path().to_owned();
        let host = request.header("host").unwrap_or_default().to_owned();
        let gate = {
            let mut published = self.0.lock().expect("nothing panics with the lock");
            published.asked.push(path.clone());
            published.gate.clone()
        };
        let body = request.take_body().into_string().await?;
        if !body.is_empty() {
            self.0.lock().expect("nothing panics with the lock").posted = Some(body);
        }
        if let Some(gate) = gate {
            drop(gate.acquire().await);
        }
        let published = self.0.lock().expect("nothing panics with the lock");
        let (status, body) = match (path.as_str(), &published.answer) {
            ("/.well-known/openid-configuration", _) => {
                let issuer = format!("http://{host}");
                let document = json!({
                    "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
                    "response_types_supported": ["id_token"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                });
                (
                    200,
                    published.discovery.clone().unwrap_or(document).to_string(),
                )
            }
            ("/jwks", Some((status, body))) => (*status, body.clone()),
            ("/jwks", None) => (200, json!({"keys": published.keys}).to_string()),
            _ => published
                .pages
                .get(&path)
                .cloned()
                .unwrap_or((404, String::new())),
        };
        let status = poem::http::StatusCode::from_u16(status).expect("a status");
        let response = Response::builder().status(status);
        Ok(response
            .header("content-type", "application/json")
            .body(body))
    }
}

fn seconds(now: EpochMs) -> i64 {
    now.0 / 1000
}

/// The claims of a token that Kubernetes mounts into a pod (a bound service account token with an
/// audience of its own).
pub fn service_account(issuer: &str, namespace: &str, account: &str, clock: &dyn Clock) -> Value {
    let now = seconds(clock.now());
    json!({
        "aud": ["token-server"],
        "exp": now + 3600,
        "iat": now,
        "iss": issuer,
        "jti": "7d3c3a6a-04c2-4c52-8b2e-5d2f1f0a7b1e",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "3b1c6a0e-6f0f-4b8a-9c53-2f8f6d0c9c11"},
            "pod": {"name": "checkout-6c7d5b", "uid": "0f2b8f0e-52a5-4d5c-9a3d-0f4f4b8f1a22"},
            "serviceaccount": {"name": account, "uid": "5d9f0c1b-8d5e-4f0e-8a4c-7c0c8b0e3f33"},
            "warnafter": now + 3000,
        },
        "nbf": now,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
    })
}

/// The claims of a token that a job of GitHub Actions asks for.
pub fn github_job(repository: &str, reference: &str, clock: &dyn Clock) -> Value {
    let now = seconds(clock.now());
    let (owner, _) = repository.split_once('/').expect("an owner and a name");
    json!({
        "jti": "c4ff5e2f-7a6d-4ed0-9a3e-3c8f7bb1f6a1",
        "sub": format!("repo:{repository}:ref:{reference}"),
        "aud": "token-server",
        "ref": reference,
        "sha": "1fd8c8e0a5c64b9e8f3d7f0b5a2c9d1e4f6a7b8c",
        "repository": repository,
        "repository_owner": owner,
        "repository_owner_id": "65",
        "repository_id": "74",
        "repository_visibility": "private",
        "run_id": "9876543210",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor_id": "12",
        "actor": "octocat",
        "workflow": "deploy",
        "workflow_ref": format!("{repository}/.github/workflows/deploy.yml@{reference}"),
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_protected": "true",
        "ref_type": "branch",
        "job_workflow_ref": format!("{owner}/workflows/.github/workflows/deploy.yml@refs/heads/main"),
        "iss": GITHUB,
        "nbf": now - 600,
        "exp": now + 300,
        "iat": now,
    })
}

/// What `iss` says of the tokens of GitHub Actions.
pub const GITHUB: &str = "https://token.actions.githubusercontent.com";

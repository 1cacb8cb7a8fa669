//! Exchanges as providers document them: `tests/presets/*.json`. What arrives is compared
//! with what is documented, header for header.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{self as lc, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::internet::{Arrived, Response};

/// Headers that every client sends, and that say nothing of a provider.
const OF_EVERY_CLIENT: [&str; 5] = [
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "content-length",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub params: BTreeMap<String, String>,
    pub parent: Option<Parent>,
    pub ticket: Option<String>,
    pub exchanges: Vec<Exchange>,
    pub token: String,
    pub token_type: Option<String>,
    /// Null: it never expires.
    pub expires_in_s: Option<f64>,
    pub extra: Option<Value>,
    /// What an answer rotates to.
    pub refresh_token: Option<String>,
    pub refresh_exchanges: Option<Vec<Exchange>>,
    pub refresh_token_before: Option<String>,
    /// The answer to a wrong secret.
    pub failure: Option<Failure>,
    /// The answer to a refresh token that has expired, or was revoked.
    pub dead_refresh_token: Option<Failure>,
    /// The answer to too many requests; absent: status 429.
    pub rate_limited: Option<Failure>,
    pub assertion: Option<Assertion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    pub realm: String,
    pub key: String,
    pub token: String,
    #[serde(default)]
    pub extra: Map<String, Value>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub request: Request,
    pub answer: Answer,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub query: Map<String, Value>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub json: Option<Value>,
    pub form: Option<Map<String, Value>>,
    pub text: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Value,
}

impl Answer {
    pub fn response(&self) -> Response {
        let body = match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let headers = self.headers.iter();
        Response {
            status: self.status,
            headers: headers.map(|(n, v)| (n.clone(), v.clone())).collect(),
            body,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Value,
    pub class: String,
    pub code: Option<String>,
}

impl Failure {
    /// RFC 6585, section 4.
    pub fn too_many_requests() -> Self {
        Self {
            status: 429,
            headers: BTreeMap::from([("retry-after".to_owned(), "60".to_owned())]),
            body: Value::Null,
            class: "rate_limited".to_owned(),
            code: None,
        }
    }

    pub fn response(&self) -> Response {
        let answer = Answer {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
        };
        answer.response()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    pub header: Value,
    pub claims: Value,
}

/// An RSA key that nobody knows, in base64 of PKCS #8.
pub fn other_private_key() -> String {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048);
    let key = key.expect("a key can be made");
    let der: Pkcs8V1Der<'_> = key.as_der().expect("it has a form");
    STANDARD.encode(der.as_ref())
}

/// Puts the keys of the tests where a sample names them.
pub fn with_keys(text: &str) -> String {
    [
        (
            "{{rsa_private_key}}",
            include_str!("../../keys/rsa_private_key.pem"),
        ),
        (
            "{{rsa_public_key}}",
            include_str!("../../keys/rsa_public_key.pem"),
        ),
        (
            "{{ec_private_key}}",
            include_str!("../../keys/ec_private_key.pem"),
        ),
        (
            "{{ed_private_key}}",
            include_str!("../../keys/ed_private_key.pem"),
        ),
        (
            "{{certificate}}",
            include_str!("../../keys/certificate.pem"),
        ),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, pem)| text.replace(name, pem))
}

/// Compares what arrived with what is documented, and says every difference.
pub struct Comparison<'a> {
    pub now_ms: i64,
    pub assertion: Option<&'a Assertion>,
    /// For assertions that are signed with a shared key.
    pub params: &'a BTreeMap<String, String>,
    pub differences: Vec<String>,
}

impl Comparison<'_> {
    pub fn request(&mut self, expected: &Request, arrived: &Arrived) {
        self.equal("method", &expected.method, &arrived.method);
        self.equal("url", &expected.url, &arrived.url);
        self.pairs("query", &expected.query, &arrived.query);
        let sent = arrived.headers.iter();
        let sent: BTreeMap<_, _> = sent
            .filter(|(name, _)| {
                expected.headers.contains_key(*name) || !OF_EVERY_CLIENT.contains(&name.as_str())
            })
            .collect();
        for (name, value) in &sent {
            match expected.headers.get(*name) {
                None => self.differ(format!("header {name} is not documented")),
                Some(expected) => self.text(&format!("header {name}"), expected, value),
            }
        }
        for name in expected.headers.keys() {
            if !sent.contains_key(name) {
                self.differ(format!("header {name} is missing"));
            }
        }
        if expected.method != "GET" {
            // Servers refuse a request that does not say how long it is, even without a body.
            let length = arrived.headers.get("content-length").cloned();
            let expected = arrived.body.len().to_string();
            self.equal("content-length", &expected, &length.unwrap_or_default());
        }
        let body = String::from_utf8_lossy(&arrived.body).into_owned();
        match (&expected.json, &expected.form, &expected.text) {
            (Some(json), _, _) => match serde_json::from_str(&body) {
                Ok(sent) => self.value("body", json, &sent),
                Err(_) => self.differ(format!("the body is not JSON: {body}")),
            },
            (None, Some(form), _) => {
                let sent: Vec<_> = url::form_urlencoded::parse(body.as_bytes())
                    .into_owned()
                    .collect();
                self.pairs("form", form, &sent);
            }
            (None, None, Some(text)) => self.text("body", text, &body),
            (None, None, None) => self.equal("body", "", &body),
        }
    }

    fn differ(&mut self, what: String) {
        self.differences.push(what);
    }

    fn equal(&mut self, what: &str, expected: &str, sent: &str) {
        if expected != sent {
            self.differ(format!("{what}: expected {expected}, sent {sent}"));
        }
    }

    fn pairs(&mut self, what: &str, expected: &Map<String, Value>, sent: &[(String, String)]) {
        let mut expected_pairs = Vec::new();
        for (name, value) in expected {
            match value {
                Value::Array(items) => {
                    expected_pairs.extend(items.iter().map(|item| (name.clone(), plain(item))));
                }
                single => expected_pairs.push((name.clone(), plain(single))),
            }
        }
        for (name, value) in &expected_pairs {
            let of_name: Vec<_> = sent.iter().filter(|(sent, _)| sent == name).collect();
            match of_name.as_slice() {
                [] => self.differ(format!("{what} {name} is missing")),
                [(_, single)] => self.text(&format!("{what} {name}"), value, single),
                several if several.iter().any(|(_, sent)| sent == value) => {}
                _ => self.differ(format!("{what} {name} lacks {value}")),
            }
        }
        for (name, _) in sent {
            if !expected.contains_key(name) {
                self.differ(format!("{what} {name} is not documented"));
            }
        }
    }

    fn value(&mut self, at: &str, expected: &Value, sent: &Value) {
        match (expected, sent) {
            (Value::Object(expected), Value::Object(sent)) => {
                for (name, value) in expected {
                    match sent.get(name) {
                        Some(sent) => self.value(&format!("{at}.{name}"), value, sent),
                        None => self.differ(format!("{at}.{name} is missing")),
                    }
                }
                for name in sent.keys() {
                    if !expected.contains_key(name) {
                        self.differ(format!("{at}.{name} is not documented"));
                    }
                }
            }
            (Value::Array(expected), Value::Array(sent)) if expected.len() == sent.len() => {
                for (index, (expected, sent)) in expected.iter().zip(sent).enumerate() {
                    self.value(&format!("{at}[{index}]"), expected, sent);
                }
            }
            (Value::String(expected), Value::String(sent)) => self.text(at, expected, sent),
            (Value::String(expected), Value::Number(sent)) if expected.starts_with("{{now") => {
                self.text(at, expected, &sent.to_string());
            }
            _ if expected == sent => {}
            _ => self.differ(format!("{at}: expected {expected}, sent {sent}")),
        }
    }

    /// A text with place holders.
    pub fn text(&mut self, what: &str, expected: &str, sent: &str) {
        let expected = with_keys(expected)
            .replace("{{now_s}}", &(self.now_ms / 1000).to_string())
            .replace("{{now_ms}}", &self.now_ms.to_string());
        let holder = ["{{any}}", "{{assertion}}"]
            .into_iter()
            .find(|holder| expected.contains(holder));
        let Some(holder) = holder else {
            self.equal(what, &expected, sent);
            return;
        };
        let (before, after) = expected.split_once(holder).expect("it was found");
        let held = sent
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .filter(|held| !held.is_empty());
        match held {
            None => self.differ(format!("{what}: expected {expected}, sent {sent}")),
            Some(jwt) if holder == "{{assertion}}" => self.jwt(what, jwt),
            Some(_) => {}
        }
    }

    fn jwt(&mut self, what: &str, jwt: &str) {
        let Some(expected) = self.assertion else {
            self.differ(format!("{what}: the sample does not say what it asserts"));
            return;
        };
        let parts: Vec<_> = jwt.split('.').collect();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap_or_default();
        let [header, claims, signature] = parts.as_slice() else {
            self.differ(format!("{what} is not a JWT"));
            return;
        };
        let (read_header, mut read_claims) = (json(header), json(claims));
        if expected.claims.get("jti").is_none()
            && let Some(claims) = read_claims.as_object_mut()
        {
            claims.remove("jti");
        }
        self.value(&format!("{what}: header"), &expected.header, &read_header);
        self.value(&format!("{what}: claims"), &expected.claims, &read_claims);
        let signed = format!("{header}.{claims}");
        if !self.is_signed(&read_header, signed.as_bytes(), &decode(signature)) {
            self.differ(format!(
                "{what}: the signature is not of a key of the tests"
            ));
        }
    }

    fn is_signed(&self, header: &Value, message: &[u8], signature: &[u8]) -> bool {
        let rsa = include_str!("../../keys/rsa_private_key.pem");
        let verified = |algorithm, public: &[u8]| {
            let key = UnparsedPublicKey::new(algorithm, public);
            key.verify(message, signature).is_ok()
        };
        let rsa_public = || {
            let der = PrivatePkcs8KeyDer::from_pem_slice(rsa.as_bytes()).expect("it is PEM");
            let pair = lc::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("it is RSA");
            pair.public_key().as_ref().to_vec()
        };
        match header["alg"].as_str() {
            Some("RS256") => verified(&lc::RSA_PKCS1_2048_8192_SHA256, &rsa_public()),
            Some("RS384") => verified(&lc::RSA_PKCS1_2048_8192_SHA384, &rsa_public()),
            Some("PS256") => verified(&lc::RSA_PSS_2048_8192_SHA256, &rsa_public()),
            Some("ES256") => {
                let pem = include_str!("../../keys/ec_private_key.pem");
                let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
                let curve = &lc::ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = lc::EcdsaKeyPair::from_pkcs8(curve, der.secret_pkcs8_der());
                let public = pair.expect("it is P-256").public_key().as_ref().to_vec();
                verified(&lc::ECDSA_P256_SHA256_FIXED, &public)
            }
            // A shared key is one of the parameters, in whatever form its provider gives it.
            Some("HS256") => self.params.values().any(|value| {
                let hex: Option<Vec<u8>> = (0..value.len() / 2)
                    .map(|at| u8::from_str_radix(value.get(at * 2..at * 2 + 2)?, 16).ok())
                    .collect();
                let of_base64 = base64::engine::general_purpose::STANDARD.decode(value).ok();
                let of_url = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).ok();
                // Some join an id and the key with a colon.
                let after_colon = value.split_once(':').map(|(_, key)| key.to_owned());
                let of_colon_hex = after_colon.and_then(|key| {
                    (0..key.len() / 2)
                        .map(|at| u8::from_str_radix(key.get(at * 2..at * 2 + 2)?, 16).ok())
                        .collect::<Option<Vec<u8>>>()
                });
                [
                    Some(value.clone().into_bytes()),
                    hex,
                    of_base64,
                    of_url,
                    of_colon_hex,
                ]
                .into_iter()
                .flatten()
                .any(|key| {
                    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
                    aws_lc_rs::hmac::verify(&key, message, signature).is_ok()
                })
            }),
            _ => false,
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

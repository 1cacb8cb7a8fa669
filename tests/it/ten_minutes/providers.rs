//! The providers of the page, as it describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock};

use crate::kit::internet::{Arrived, Response};

#[derive(Clone)]
pub struct Providers {
    clock: Arc<ManualClock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    arrived: Vec<Arrived>,
    issued: BTreeMap<&'static str, usize>,
    /// What the gateway answers next instead of a token.
    pub code: Option<String>,
    nonces: BTreeSet<String>,
    pub assertions: BTreeSet<String>,
    pub refresh_token: Option<String>,
    /// The token that the instance takes.
    pub session: Option<String>,
}

impl State {
    fn next(&mut self, name: &'static str) -> String {
        let issued = self.issued.entry(name).or_default();
        *issued += 1;
        format!("{name}-{issued}")
    }
}

fn answer(status: u16, body: &Value) -> Response {
    Response {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    }
}

fn refused(error: &str) -> Response {
    let status = if error == "invalid_client" { 401 } else { 400 };
    answer(status, &json!({"error": error}))
}

pub fn form(arrived: &Arrived) -> BTreeMap<String, String> {
    let form = url::form_urlencoded::parse(&arrived.body);
    form.into_owned().collect()
}

impl Providers {
    pub fn on(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock")
    }

    fn now_s(&self) -> i64 {
        self.clock.now().0 / 1000
    }

    /// Requests to a host, in the order they came.
    pub fn arrived(&self, host: &str) -> Vec<Arrived> {
        let start = format!("https://{host}.provider.example/");
        let state = self.state();
        let of_host = state
            .arrived
            .iter()
            .filter(|arrived| arrived.url.starts_with(&start));
        of_host.cloned().collect()
    }

    pub fn answer(&self, arrived: Arrived) -> Response {
        self.state().arrived.push(arrived.clone());
        match (arrived.method.as_str(), arrived.url.as_str()) {
            ("POST", "https://auth.provider.example/oauth2/token") => self.plain(&arrived),
            ("POST", "https://open.provider.example/gateway/token") => self.gateway(&arrived),
            ("POST", "https://login.provider.example/oauth2/token") => self.login(&arrived),
            ("GET", "https://eu7.provider.example/api/upload-token") => self.instance(&arrived),
            _ => answer(404, &json!({})),
        }
    }

    fn plain(&self, arrived: &Arrived) -> Response {
        let credentials = STANDARD.encode("shop-app:8d1f6c0a93b24e57");
        if arrived.headers.get("authorization") != Some(&format!("Basic {credentials}")) {
            return refused("invalid_client");
        }
        let form = form(arrived);
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return refused("unsupported_grant_type");
        }
        let token = self.state().next("plain-access-token");
        answer(
            200,
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}),
        )
    }

    fn gateway(&self, arrived: &Arrived) -> Response {
        let refused =
            |code: &str, message: &str| answer(200, &json!({"code": code, "message": message}));
        if let Some(code) = self.state().code.take() {
            return refused(&code, "as the test says");
        }
        let mut sent: BTreeMap<String, String> =
            serde_json::from_slice(&arrived.body).unwrap_or_default();
        let sign = sent.remove("sign").unwrap_or_default();
        if sent.get("app_id").map(String::as_str) != Some("1001") {
            return refused("10001", "no such app");
        }
        let pairs: Vec<_> = sent
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"b7e29c4415f04a0d");
        let tag = aws_lc_rs::hmac::sign(&key, pairs.join("&").as_bytes());
        let wanted: String = tag
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        if sign != wanted {
            return refused("10002", "wrong signature");
        }
        let written = sent.get("timestamp").map_or("", String::as_str);
        let local = chrono::NaiveDateTime::parse_from_str(written, "%Y-%m-%d %H:%M:%S");
        let sent_s = local.map(|local| local.and_utc().timestamp() - 8 * 3600);
        let nonce = sent.get("nonce").cloned().unwrap_or_default();
        let fresh = sent_s.is_ok_and(|sent_s| (sent_s - self.now_s()).abs() <= 300);
        let mut state = self.state();
        if !fresh || nonce.is_empty() || !state.nonces.insert(nonce) {
            return refused("10003", "stale");
        }
        let token = state.next("signed-access-token");
        let end = (self.clock.now().0 + 7_200_000).to_string();
        answer(
            200,
            &json!({"code": "0", "message": "ok", "data": {"token": token, "expireTime": end}}),
        )
    }

    fn login(&self, arrived: &Arrived) -> Response {
        let form = form(arrived);
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("client_id") != "crm-app" {
            return refused("invalid_client");
        }
        let good = match field("grant_type") {
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => self.takes(field("assertion")),
            "refresh_token" => {
                let spent = self.state().refresh_token.take();
                spent.as_deref() == Some(field("refresh_token"))
            }
            _ => return refused("unsupported_grant_type"),
        };
        if !good {
            return refused("invalid_grant");
        }
        let mut state = self.state();
        let token = state.next("keyed-access-token");
        let refresh_token = state.next("keyed-refresh-token");
        state.session = Some(token.clone());
        state.refresh_token = Some(refresh_token.clone());
        answer(
            200,
            &json!({
                "access_token": token, "token_type": "Bearer", "expires_in": 1800,
                "instance_url": "https://eu7.provider.example",
                "refresh_token": refresh_token, "refresh_expires_in": 86_400,
            }),
        )
    }

    /// RFC 7523, section 3, as this provider has it.
    fn takes(&self, assertion: &str) -> bool {
        let parts: Vec<_> = assertion.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return false;
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        let pem = include_str!("../../keys/rsa_public_key.pem");
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key);
        let signed = format!("{header}.{claims}");
        if key.verify(signed.as_bytes(), &decoded(signature)).is_err() {
            return false;
        }
        let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap_or_default();
        let (header, claims) = (json(header), json(claims));
        let left_s = claims["exp"].as_i64().unwrap_or_default() - self.now_s();
        let id = claims["jti"].as_str().unwrap_or_default().to_owned();
        header == json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
            && claims["iss"] == "crm-app"
            && claims["sub"] == "robot@shop.example"
            && claims["aud"] == "https://login.provider.example"
            && claims["iat"].as_i64() <= Some(self.now_s())
            && (1..=180).contains(&left_s)
            && !id.is_empty()
            && self.state().assertions.insert(id)
    }

    fn instance(&self, arrived: &Arrived) -> Response {
        let mut state = self.state();
        let sent = arrived
            .headers
            .get("authorization")
            .and_then(|sent| sent.strip_prefix("Bearer "));
        if sent.is_none() || sent != state.session.as_deref() {
            return answer(401, &json!({"error": {"code": "SESSION_INVALID"}}));
        }
        let token = state.next("upload-token");
        answer(200, &json!({"upload": {"token": token, "ttl": "15m"}}))
    }
}

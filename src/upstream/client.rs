//! Sends one request under the limits: time, size, no redirects, permitted addresses.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::UpstreamSettings;
use super::decompression::{ACCEPTED, codings, decompressed, too_large};
use super::egress::{Denied, Egress, PolicyResolver, Scheme};
use super::timely::{Deadline, TimeIsUp, TimelyBody};
use crate::foundation::clock::{BootMs, Ms, SharedClock};
use crate::foundation::limit::within;
use crate::foundation::signing::with_lines;
use crate::realm::failure::Failure;

/// Common servers close idle connections after five seconds and more. A request sent into
/// a connection that is being closed is lost, and none is sent twice.
const POOL_IDLE: Duration = Duration::from_secs(3);

/// Clients kept for realms with certificates of their own; each holds connections.
const OWN_CLIENTS_MAX: usize = 200;

/// The certificates of one realm, as PEM.
#[derive(Clone)]
pub(super) struct TlsMaterial {
    pub ca: Option<SecretString>,
    /// Certificate chain and private key.
    pub client: Option<(SecretString, SecretString)>,
}

impl TlsMaterial {
    /// Tells one set of certificates from another.
    fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let client = self.client.as_ref();
        let parts = [
            self.ca.as_ref(),
            client.map(|(certificate, _)| certificate),
            client.map(|(_, key)| key),
        ];
        for part in parts {
            let text = part.map_or("", |text| text.expose_secret());
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.finalize().into()
    }
}

/// A request, ready to go. Never printed: it holds credentials.
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
    pub tls: Option<TlsMaterial>,
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Or why it cannot be read: status and headers count nevertheless.
    pub body: Result<Vec<u8>, Failure>,
}

impl Answer {
    /// Undoes the content codings of what came.
    pub fn of(status: StatusCode, mut headers: HeaderMap, body: Vec<u8>, max_bytes: usize) -> Self {
        let codings = codings(&headers);
        let body = codings.and_then(|codings| {
            if !codings.is_empty() {
                headers.remove(CONTENT_ENCODING);
                headers.remove(CONTENT_LENGTH);
            }
            decompressed(body, &codings, max_bytes)
        });
        Self {
            status,
            headers,
            body,
        }
    }
}

/// How long an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimit {
    /// Nothing is sent from then on.
    until: BootMs,
    /// All the time that the attempt has.
    whole: Ms,
    /// How much longer an answer is waited for.
    late: Ms,
}

impl TimeLimit {
    /// Waits longer for the answer to what was sent in time.
    pub fn answered_late(self, late: Ms) -> Self {
        Self { late, ..self }
    }

    /// What is said when time is up, and no answer has come.
    pub fn no_answer(self) -> Failure {
        Failure::transient(format!("no whole answer within {} ms", self.whole.0))
    }
}

pub(super) struct Client {
    clock: SharedClock,
    tls: reqwest::Client,
    plain: reqwest::Client,
    /// For realms with certificates of their own, by fingerprint.
    own: Mutex<HashMap<[u8; 32], reqwest::Client>>,
    settings: UpstreamSettings,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub fn new(settings: &UpstreamSettings, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self {
            clock,
            tls: builder(settings, Scheme::Tls).build()?,
            plain: builder(settings, Scheme::Plain).build()?,
            own: Mutex::default(),
            settings: settings.clone(),
        })
    }

    pub fn egress(&self) -> &Egress {
        &self.settings.egress
    }

    /// The limit of what begins now.
    pub fn time_limit(&self, timeout: Ms) -> TimeLimit {
        TimeLimit {
            until: self.clock.boot().plus(timeout),
            whole: timeout,
            late: Ms::ZERO,
        }
    }

    /// An answer that comes late is waited for only where the request cannot have been sent
    /// late.
    pub async fn send(&self, request: Request, limit: TimeLimit) -> Result<Answer, Failure> {
        let left = limit.until.since(self.clock.boot());
        if left <= Ms::ZERO {
            return Err(time_is_up());
        }
        self.egress().check_literal(&request.url).map_err(denied)?;
        let client = match (Scheme::of(&request.url), &request.tls) {
            (Scheme::Plain, None) => self.plain.clone(),
            (Scheme::Plain, Some(_)) => {
                return Err(Failure::internal("tls: the URL is not https://").unsent());
            }
            (Scheme::Tls, None) => self.tls.clone(),
            (Scheme::Tls, Some(material)) => self.own_client(material)?,
        };
        let mut headers = request.headers;
        let accepted = HeaderValue::from_static(ACCEPTED);
        headers.entry(ACCEPT_ENCODING).or_insert(accepted);
        let mut builder = client.request(request.method, request.url).headers(headers);
        let deadline = Deadline {
            clock: self.clock.clone(),
            at: limit.until,
        };
        // Without a body it is sent as soon as there is a connection.
        let mut in_time = left >= Ms::from(self.settings.connect_timeout);
        match request.body.map(|body| TimelyBody::new(body, deadline)) {
            Some(Some(body)) => {
                builder = builder.body(reqwest::Body::wrap(body));
                in_time = true;
            }
            Some(None) => builder = builder.body(Vec::new()),
            None => {}
        }
        let late = if in_time { limit.late } else { Ms::ZERO };
        let patience = Ms(left.0 + late.0);
        // An answer that is in the socket already may hold the only refresh token that is good.
        let answer = within(patience.as_duration(), self.exchange(builder)).await;
        answer.unwrap_or_else(|| Err(limit.no_answer()))
    }

    fn own_client(&self, material: &TlsMaterial) -> Result<reqwest::Client, Failure> {
        let fingerprint = material.fingerprint();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = own.get(&fingerprint) {
            return Ok(client.clone());
        }
        let client = with_certificates(builder(&self.settings, Scheme::Tls), material)?;
        if own.len() >= OWN_CLIENTS_MAX {
            own.clear();
        }
        own.insert(fingerprint, client.clone());
        Ok(client)
    }

    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let mut response = builder.send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let max_bytes = self.settings.max_answer_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > max_bytes {
                return Ok(Answer {
                    status,
                    headers,
                    body: Err(too_large(max_bytes)),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::of(status, headers, body, max_bytes))
    }
}

fn builder(settings: &UpstreamSettings, scheme: Scheme) -> reqwest::ClientBuilder {
    let authorities = settings.authorities.iter().cloned();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .user_agent(concat!("token-server/", env!("CARGO_PKG_VERSION")))
        .tls_certs_merge(authorities)
        .dns_resolver(PolicyResolver {
            egress: settings.egress.clone(),
            names: settings.names.clone(),
            scheme,
        })
}

fn with_certificates(
    mut builder: reqwest::ClientBuilder,
    material: &TlsMaterial,
) -> Result<reqwest::Client, Failure> {
    if let Some(ca) = &material.ca {
        let pem = with_lines(ca.expose_secret());
        let authorities = Certificate::from_pem_bundle(pem.as_bytes())
            .ok()
            .filter(|authorities| !authorities.is_empty())
            .ok_or_else(|| Failure::internal("tls.ca holds no certificate in PEM").unsent())?;
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some((certificate, key)) = &material.client {
        let pem = Zeroizing::new(format!(
            "{}\n{}\n",
            with_lines(certificate.expose_secret()),
            with_lines(key.expose_secret())
        ));
        let identity = Identity::from_pem(pem.as_bytes()).map_err(|_| {
            Failure::internal(
                "tls.client_cert and tls.client_key are not a certificate and a private key in PEM",
            )
            .unsent()
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|_| {
        Failure::internal(
            "tls: the certificates cannot be used; does the key belong to the certificate?",
        )
        .unsent()
    })
}

fn time_is_up() -> Failure {
    Failure::transient(TimeIsUp.to_string()).unsent()
}

fn denied(denied: Denied) -> Failure {
    Failure::internal(denied.to_string()).unsent()
}

/// Says what broke, without the URL: it may hold credentials.
fn broken(error: &reqwest::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(policy) = cause.downcast_ref::<Denied>() {
            return denied(policy.clone());
        }
        if cause.is::<TimeIsUp>() {
            return time_is_up();
        }
        source = cause.source();
    }
    if error.is_connect() {
        return Failure::transient("the connection could not be made").unsent();
    }
    let what = if error.is_timeout() {
        "the connection timed out"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the exchange broke off"
    };
    Failure::transient(what)
}

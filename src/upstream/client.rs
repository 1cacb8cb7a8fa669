//! Sends one request under the limits: time, size, no redirects, permitted addresses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tracing::{Instrument, Span};
use url::Url;
use zeroize::Zeroizing;

use super::connection_failure::{broken, denied_by, time_is_up};
use super::deadline::TimelyBody;
use super::decompression::{ACCEPTED, codings, decompressed, too_large};
use super::egress::{Egress, PolicyResolver, Scheme};
use super::proxy::{Proxies, Proxy};
use super::settings::{USER_AGENT, UpstreamSettings};
use super::through::Through;
use super::trust::{self, ClientPem, TrustError, certificates_of};
use crate::foundation::clock::{Deadline, Ms, SharedClock};
use crate::foundation::limit::within;
use crate::foundation::signing::with_lines;
use crate::foundation::traces;
use crate::realm::document::ProxyChoice;
use crate::realm::failure::Failure;

/// Clients kept for realms with certificates of their own; each holds connections.
const OWN_CLIENTS_MAX: usize = 200;

/// The certificates of one realm or issuer, as PEM.
#[derive(Clone)]
pub(super) struct TlsMaterial {
    pub ca: Option<SecretString>,
    /// Certificate chain and private key.
    pub client: Option<(SecretString, SecretString)>,
}

impl TlsMaterial {
    /// No certificate of our own; these authorities, in PEM, are trusted as well.
    pub fn trusting(authorities: &str) -> Self {
        Self {
            ca: Some(authorities.into()),
            client: None,
        }
    }

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
    pub proxy: ProxyChoice,
}

/// A whole answer.
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Or why it cannot be read: status and headers count nevertheless.
    pub body: Result<Vec<u8>, Failure>,
}

impl HttpAnswer {
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
    until: Deadline,
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

/// A client, and whom it trusts: connections through a proxy trust the same.
#[derive(Clone)]
struct TrustingClient {
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
}

pub(super) struct Client {
    clock: SharedClock,
    tls: TrustingClient,
    plain: TrustingClient,
    /// For realms with certificates of their own, by fingerprint.
    own: Mutex<HashMap<[u8; 32], TrustingClient>>,
    tls_of_proxies: Arc<ClientConfig>,
    settings: UpstreamSettings,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub fn new(settings: &UpstreamSettings, clock: SharedClock) -> Result<Self, Failure> {
        let of = |scheme| client(settings, scheme, Vec::new(), None);
        let tls = of(Scheme::Tls)?;
        // CONNECT is of HTTP/1.1.
        let mut tls_of_proxies = ClientConfig::clone(&tls.tls);
        tls_of_proxies.alpn_protocols.clear();
        Ok(Self {
            clock,
            tls,
            plain: of(Scheme::Plain)?,
            tls_of_proxies: Arc::new(tls_of_proxies),
            own: Mutex::default(),
            settings: settings.clone(),
        })
    }

    pub fn egress(&self) -> &Egress {
        &self.settings.egress
    }

    pub fn proxies(&self) -> &Proxies {
        &self.settings.proxies
    }

    /// The limit of what begins now.
    pub fn time_limit(&self, timeout: Ms) -> TimeLimit {
        TimeLimit {
            until: Deadline::after(self.clock.machine(), timeout),
            whole: timeout,
            late: Ms::ZERO,
        }
    }

    /// An answer that comes late is waited for only where the request cannot have been sent
    /// late.
    pub async fn send(&self, request: Request, limit: TimeLimit) -> Result<HttpAnswer, Failure> {
        let left = limit.until.left(self.clock.machine());
        if left <= Ms::ZERO {
            return Err(time_is_up());
        }
        let literal = self.egress().check_literal(&request.url);
        literal.map_err(|denied| denied_by(&denied))?;
        let client = match (Scheme::of(&request.url), &request.tls) {
            (Scheme::Plain, None) => self.plain.clone(),
            (Scheme::Plain, Some(_)) => {
                return Err(Failure::internal("tls: the URL is not https://").unsent());
            }
            (Scheme::Tls, None) => self.tls.clone(),
            (Scheme::Tls, Some(material)) => self.own_client(material)?,
        };
        let scheme = Scheme::of(&request.url);
        let proxy = self.proxies().to_send_through(&request.proxy, scheme)?;
        let mut headers = request.headers;
        let accepted = HeaderValue::from_static(ACCEPTED);
        headers.entry(ACCEPT_ENCODING).or_insert(accepted);
        let mut builder = client
            .http
            .request(request.method, request.url)
            .headers(headers);
        // Without a body it is sent as soon as there is a connection.
        let mut in_time = left >= Ms::from(self.settings.connect_timeout);
        let timely = |body| TimelyBody::new(body, self.clock.clone(), limit.until);
        match request.body.map(timely) {
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
        let exchange = self.exchange(builder, client.tls, proxy.as_deref());
        let answer = within(patience.as_duration(), exchange).await;
        answer.unwrap_or_else(|| Err(limit.no_answer()))
    }

    /// The same, told of in a span.
    pub async fn send_in(
        &self,
        span: &Span,
        request: Request,
        limit: TimeLimit,
    ) -> Result<HttpAnswer, Failure> {
        traces::exchange_asks(span, request.method.as_str(), &request.url);
        let answer = self.send(request, limit).instrument(span.clone()).await;
        match &answer {
            Ok(answer) => traces::exchange_answered(span, answer.status.as_u16()),
            Err(failure) => traces::exchange_failed(span, failure.class.as_str()),
        }
        answer
    }

    fn own_client(&self, material: &TlsMaterial) -> Result<TrustingClient, Failure> {
        let fingerprint = material.fingerprint();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = own.get(&fingerprint) {
            return Ok(client.clone());
        }
        let client = client_of(&self.settings, material)?;
        if own.len() >= OWN_CLIENTS_MAX {
            own.clear();
        }
        own.insert(fingerprint, client.clone());
        Ok(client)
    }

    async fn exchange(
        &self,
        builder: reqwest::RequestBuilder,
        tls: Arc<ClientConfig>,
        proxy: Option<&Proxy>,
    ) -> Result<HttpAnswer, Failure> {
        let mut response = match proxy {
            None => builder.send().await.map_err(|error| broken(&error))?,
            Some(proxy) => {
                let through = Through {
                    proxy,
                    egress: self.egress(),
                    names: &self.settings.names,
                    tls,
                    tls_of_proxy: &self.tls_of_proxies,
                    connect_timeout: self.settings.connect_timeout,
                };
                let request = builder.build().map_err(|error| broken(&error))?;
                // Few go this way, and all would carry its size.
                Box::pin(through.exchange(request)).await?
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let max_bytes = self.settings.max_answer_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > max_bytes {
                return Ok(HttpAnswer {
                    status,
                    headers,
                    body: Err(too_large(max_bytes)),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer::of(status, headers, body, max_bytes))
    }
}

/// Trusts the system's authorities, those of the server's settings, and a realm's own.
fn client(
    settings: &UpstreamSettings,
    scheme: Scheme,
    own: Vec<CertificateDer<'static>>,
    certificate: Option<&ClientPem<'_>>,
) -> Result<TrustingClient, Failure> {
    let authorities = settings.authorities.iter().cloned().chain(own).collect();
    let tls = trust::config(authorities, certificate).map_err(|error| {
        let why = match error {
            TrustError::Client => {
                "tls.client_cert and tls.client_key are not a certificate and its private key in \
                 PEM"
            }
            TrustError::Authorities => "tls: the authorities cannot be loaded",
        };
        Failure::internal(why).unsent()
    })?;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        // A request sent into a connection that is being closed is lost, none is sent twice, and
        // some servers close without a word: no connection is used again.
        .pool_max_idle_per_host(0)
        // As curl writes them: some servers know a header by one spelling only.
        .http1_title_case_headers()
        .user_agent(USER_AGENT)
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(PolicyResolver {
            egress: settings.egress.clone(),
            names: settings.names.clone(),
            scheme,
        })
        .build()
        .map_err(|_| Failure::internal("the HTTP client cannot be made").unsent())?;
    Ok(TrustingClient {
        http,
        tls: Arc::new(tls),
    })
}

fn client_of(
    settings: &UpstreamSettings,
    material: &TlsMaterial,
) -> Result<TrustingClient, Failure> {
    let own = match &material.ca {
        None => Vec::new(),
        Some(ca) => {
            let pem = with_lines(ca.expose_secret());
            certificates_of(pem.as_bytes())
                .ok_or_else(|| Failure::internal("tls.ca holds no certificate in PEM").unsent())?
        }
    };
    let pem = material.client.as_ref().map(|(certificate, key)| {
        let lines = |text: &SecretString| Zeroizing::new(with_lines(text.expose_secret()));
        (lines(certificate), lines(key))
    });
    let pem = pem
        .as_ref()
        .map(|(certificate, key)| ClientPem { certificate, key });
    client(settings, Scheme::Tls, own, pem.as_ref())
}

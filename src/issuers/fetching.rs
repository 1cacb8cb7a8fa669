//! Asks an issuer: for its public keys, from a URL or from where its own document says, for that
//! document, and for what a form is answered with.

use std::sync::Arc;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::settings::IssuerSettings;
use crate::access::issuer::store::Issuer;
use crate::access::issuer::{IssuerRegistration, KeySet, KeySetError, KeySource};
use crate::foundation::clock::{Moment, SharedClock};
use crate::foundation::metrics::{FetchLabels, Metrics};
use crate::realm::failure::Failure;
use crate::upstream::{HttpAnswer, TimeLimit, Upstream};

/// Why an issuer brings nothing. Says what is wrong, and repeats nothing of what was answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    #[error("{0}")]
    Failed(String),
    #[error("{0} answers {1}")]
    Status(&'static str, u16),
    #[error("{0} is larger than {1} bytes (issuers.max_document_bytes)")]
    TooLarge(&'static str, usize),
    #[error("{0} is not JSON")]
    NotJson(&'static str),
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
    #[error("the discovery document names no jwks_uri")]
    NoJwksUri,
    #[error("the JWKS {0}")]
    Keys(#[from] KeySetError),
}

const DISCOVERY: &str = "the discovery document";
const JWKS: &str = "the JWKS";

pub(super) struct Fetching {
    upstream: Arc<Upstream>,
    clock: SharedClock,
    fetches: Box<dyn Fn(&'static str) + Send + Sync>,
    pub settings: IssuerSettings,
}

impl Fetching {
    pub fn new(
        upstream: Arc<Upstream>,
        clock: SharedClock,
        metrics: &Metrics,
        settings: IssuerSettings,
    ) -> Self {
        let fetches = metrics.jwks_fetches.clone();
        Self {
            upstream,
            clock,
            fetches: Box::new(move |outcome| {
                fetches.get_or_create(&FetchLabels { outcome }).inc();
            }),
            settings,
        }
    }

    pub fn machine(&self) -> Moment {
        self.clock.machine()
    }

    /// The keys that an issuer publishes now.
    pub async fn fetch(&self, issuer: &Issuer) -> Result<KeySet, FetchFault> {
        let fetched = self.fetch_within(issuer, self.time_limit()).await;
        match &fetched {
            Ok(_) => (self.fetches)("done"),
            Err(fault) => {
                (self.fetches)("failed");
                tracing::warn!(
                    name: "issuer.keys_not_fetched",
                    issuer = issuer.name.as_str(),
                    why = %fault,
                    "the keys of an issuer of JWTs cannot be fetched"
                );
            }
        }
        fetched
    }

    async fn fetch_within(&self, issuer: &Issuer, limit: TimeLimit) -> Result<KeySet, FetchFault> {
        let registration = &issuer.registration;
        let jwks = match &registration.keys {
            KeySource::Registered(jwks, _) => jwks.clone(),
            KeySource::Url(url) => self.document(JWKS, url, registration, limit).await?,
            KeySource::Discovery => {
                let document = self.discovered(registration, limit).await?;
                let url = document.get("jwks_uri").and_then(Value::as_str);
                let url = url.ok_or(FetchFault::NoJwksUri)?;
                self.document(JWKS, url, registration, limit).await?
            }
        };
        Ok(KeySet::of(&jwks)?)
    }

    /// What an issuer says of itself (OpenID Connect Discovery 1.0, section 4).
    pub async fn discovered(
        &self,
        registration: &IssuerRegistration,
        limit: TimeLimit,
    ) -> Result<Value, FetchFault> {
        let base = registration.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let document = self.document(DISCOVERY, &url, registration, limit).await?;
        match document.get("issuer").and_then(Value::as_str) == Some(&registration.issuer) {
            true => Ok(document),
            false => Err(FetchFault::OtherIssuer),
        }
    }

    /// The limit of an exchange that begins now.
    pub fn time_limit(&self) -> TimeLimit {
        self.upstream.time_limit(self.settings.timeout)
    }

    /// Posts a form to an issuer, and reads the answer.
    pub async fn post(
        &self,
        url: &str,
        form: (HeaderMap, Vec<u8>),
        registration: &IssuerRegistration,
    ) -> Result<HttpAnswer, Failure> {
        let (ca, proxy) = (registration.ca.as_deref(), &registration.proxy);
        let limit = self.time_limit();
        self.upstream.post(url, form, ca, proxy, limit).await
    }

    async fn document(
        &self,
        what: &'static str,
        url: &str,
        registration: &IssuerRegistration,
        limit: TimeLimit,
    ) -> Result<Value, FetchFault> {
        let failed = |failure: Failure| FetchFault::Failed(format!("{what}: {}", failure.detail));
        let (ca, proxy) = (registration.ca.as_deref(), &registration.proxy);
        let answer = self.upstream.get(url, ca, proxy, limit).await;
        let answer = answer.map_err(failed)?;
        if !answer.status.is_success() {
            return Err(FetchFault::Status(what, answer.status.as_u16()));
        }
        let body = answer.body.map_err(failed)?;
        let most = self.settings.max_document_bytes;
        if body.len() > most {
            return Err(FetchFault::TooLarge(what, most));
        }
        serde_json::from_slice(&body).map_err(|_| FetchFault::NotJson(what))
    }
}

//! The way to a collector: this program's HTTP client, on its own runtime. The exporter's thread has
//! none.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;

use crate::foundation::clock::SharedClock;
use crate::foundation::seldom::Seldom;

#[derive(Clone)]
pub(super) struct Collector {
    http: reqwest::Client,
    authorization: Option<HeaderValue>,
    runtime: Handle,
    clock: SharedClock,
    failures: Arc<Mutex<Seldom>>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// Sends on the runtime that this is called in.
    pub fn new(
        token: Option<&SecretString>,
        timeout: Duration,
        clock: SharedClock,
    ) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .build()
            .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        let authorization = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| "traces.token holds what a header cannot".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        });
        Ok(Self {
            http,
            authorization: authorization.transpose()?,
            runtime: Handle::current(),
            clock,
            failures: Arc::default(),
        })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        if let Some(authorization) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let response = http.execute(request).await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        let (status, body) = sent.await?.map_err(reqwest::Error::without_url)?;
        if !status.is_success() {
            return Err(format!("the collector answered {status}").into());
        }
        Ok(Response::builder().status(status).body(body)?)
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request).await;
        if let Err(error) = &sent {
            let failures = self.failures.lock();
            let told = failures
                .unwrap_or_else(PoisonError::into_inner)
                .count(self.clock.boot());
            if let Some(failures) = told {
                tracing::warn!(
                    name: "traces.not_sent",
                    %error, failures, "traces could not be sent, and are lost"
                );
            }
        }
        sent
    }
}

//! Sends one request under the limits: time, size, no redirects, permitted addresses.

use std::error::Error;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use super::UpstreamSettings;
use super::egress::{Denied, Egress, PolicyResolver, Scheme};
use crate::realm::failure::Failure;

/// Common servers close idle connections after five seconds and more. A request sent into
/// a connection that is being closed is lost, and none is sent twice.
const POOL_IDLE: Duration = Duration::from_secs(3);

/// A request, ready to go. Never printed: it holds credentials.
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
}

/// A whole answer.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Client {
    tls: reqwest::Client,
    plain: reqwest::Client,
    egress: Egress,
    max_answer_bytes: usize,
}

impl Client {
    pub fn new(settings: &UpstreamSettings) -> Result<Self, reqwest::Error> {
        let client = |scheme| {
            reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .user_agent(concat!("token-server/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(PolicyResolver {
                    egress: settings.egress.clone(),
                    scheme,
                })
                .build()
        };
        Ok(Self {
            tls: client(Scheme::Tls)?,
            plain: client(Scheme::Plain)?,
            egress: settings.egress.clone(),
            max_answer_bytes: settings.max_answer_bytes,
        })
    }

    pub async fn send(&self, request: Request, timeout: Duration) -> Result<Answer, Failure> {
        self.egress.check_literal(&request.url).map_err(denied)?;
        let client = match Scheme::of(&request.url) {
            Scheme::Tls => &self.tls,
            Scheme::Plain => &self.plain,
        };
        let mut builder = client
            .request(request.method, request.url)
            .headers(request.headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        match tokio::time::timeout(timeout, self.exchange(builder)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(Failure::transient(format!(
                "no whole answer within {} ms",
                timeout.as_millis()
            ))),
        }
    }

    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let mut response = builder.send().await.map_err(|error| broken(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > self.max_answer_bytes {
                return Err(Failure::transient(format!(
                    "the answer is larger than upstream.max_answer_bytes ({})",
                    self.max_answer_bytes
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body,
        })
    }
}

fn denied(denied: Denied) -> Failure {
    Failure::ours(denied.to_string())
}

/// Says what broke, without the URL: it may hold credentials.
fn broken(error: &reqwest::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(policy) = cause.downcast_ref::<Denied>() {
            return denied(policy.clone());
        }
        source = cause.source();
    }
    let what = if error.is_connect() {
        "the connection could not be made"
    } else if error.is_timeout() {
        "the connection timed out"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the exchange broke off"
    };
    Failure::transient(what)
}

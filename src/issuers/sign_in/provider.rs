//! The provider: what it says of itself, and the exchange of a code for an ID token.

use std::sync::Arc;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::settings::SignInSettings;
use crate::access::issuer::store::Issuer;
use crate::access::sign_in_problem::SignInProblem;
use crate::foundation::clock::Moment;
use crate::issuers::fetching::{FetchFault, Fetching};
use crate::realm::document::BasicEncoding;
use crate::realm::failure::Failure;
use crate::realm::target::check_url;
use crate::upstream::basic_credentials;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How a client shows its secret in the body (OpenID Connect Core 1.0, section 9).
const BY_BODY: &str = "client_secret_post";
const BY_HEADER: &str = "client_secret_basic";

/// Why the provider brings nobody. Says what is wrong, and repeats nothing of what was answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderFault {
    #[error("{0}")]
    Discovery(#[from] FetchFault),
    #[error("it could not be asked a moment ago")]
    AskedLately,
    #[error("the discovery document names no {0} that can be asked")]
    Endpoint(&'static str),
    #[error("the token endpoint: {0}")]
    Token(String),
    #[error("the token endpoint answers {0}{1}")]
    Status(u16, &'static str),
    #[error("the token endpoint's answer is no JSON with an id_token")]
    NoIdToken,
}

impl ProviderFault {
    pub fn problem(&self) -> SignInProblem {
        match self {
            Self::Status(400..=499, _) => SignInProblem::Refused,
            Self::NoIdToken => SignInProblem::Untrusted,
            Self::Discovery(_)
            | Self::AskedLately
            | Self::Endpoint(_)
            | Self::Token(_)
            | Self::Status(..) => SignInProblem::Unavailable,
        }
    }
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
pub(super) struct Metadata {
    pub authorization_endpoint: Url,
    token_endpoint: Url,
    /// Its authorization responses say `iss` (RFC 9207, section 3).
    pub names_itself: bool,
    shows_secret_by_body: bool,
}

/// A code, and what shows that it is this server's.
pub(super) struct CodeGrant<'a> {
    pub settings: &'a SignInSettings,
    pub code: &'a str,
    pub verifier: &'a str,
}

/// What is known of the provider. Asked for by one at a time.
#[derive(Default)]
pub(super) struct Provider(Mutex<Known>);

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Moment)>,
    failed: Option<Moment>,
}

impl Provider {
    /// As old as keys of issuers may be, and asked for as seldom.
    pub async fn metadata(
        &self,
        issuer: &Issuer,
        fetching: &Fetching,
    ) -> Result<Arc<Metadata>, ProviderFault> {
        let mut known = self.0.lock().await;
        let (now, settings) = (fetching.machine(), &fetching.settings);
        let kept = known.metadata.as_ref();
        let kept = kept.map(|(metadata, at)| (metadata.clone(), now.since(*at)));
        let kept = kept.filter(|(_, age)| *age < settings.max_stale);
        let lately = known.failed;
        let lately = lately.is_some_and(|at| now.since(at) < settings.retry_interval);
        match kept {
            Some((metadata, age)) if age < settings.max_age || lately => return Ok(metadata),
            None if lately => return Err(ProviderFault::AskedLately),
            Some(_) | None => {}
        }
        let limit = fetching.time_limit();
        let document = fetching.discovered(&issuer.registration, limit).await;
        let read = document.map_err(ProviderFault::from);
        match read.and_then(|document| Metadata::read(&document)) {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known {
                    metadata: Some((metadata.clone(), now)),
                    failed: None,
                };
                Ok(metadata)
            }
            Err(fault) => {
                known.failed = Some(now);
                match kept {
                    Some((metadata, _)) => Ok(metadata),
                    None => Err(fault),
                }
            }
        }
    }
}

impl Metadata {
    fn read(document: &Value) -> Result<Self, ProviderFault> {
        let endpoint = |name: &'static str| {
            let text = document.get(name).and_then(Value::as_str);
            let url = text.and_then(|text| Url::parse(text).ok());
            let url = url.filter(|url| check_url(url).is_ok());
            url.ok_or(ProviderFault::Endpoint(name))
        };
        let methods = document.get("token_endpoint_auth_methods_supported");
        let methods = methods.and_then(Value::as_array);
        let knows = |method: &str| methods.is_some_and(|all| all.iter().any(|one| one == method));
        let names_itself = document.get("authorization_response_iss_parameter_supported");
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            names_itself: names_itself == Some(&Value::Bool(true)),
            shows_secret_by_body: knows(BY_BODY) && !knows(BY_HEADER),
        })
    }

    /// Exchanges a code for an ID token (OpenID Connect Core 1.0, section 3.1.3). It is sent once.
    pub async fn exchange(
        &self,
        grant: &CodeGrant<'_>,
        issuer: &Issuer,
        fetching: &Fetching,
    ) -> Result<Zeroizing<String>, ProviderFault> {
        let url = self.token_endpoint.as_str();
        let answer = fetching
            .post(url, self.form(grant), &issuer.registration)
            .await;
        let failed = |failure: Failure| ProviderFault::Token(failure.detail);
        let answer = answer.map_err(failed)?;
        let body = Zeroizing::new(answer.body.map_err(failed)?);
        let said: Option<Value> = serde_json::from_slice(&body).ok();
        let text = |name: &str| said.as_ref()?.get(name)?.as_str();
        if !answer.status.is_success() {
            let error = known_error(text("error").unwrap_or_default());
            return Err(ProviderFault::Status(answer.status.as_u16(), error));
        }
        let token = text("id_token").ok_or(ProviderFault::NoIdToken)?;
        Ok(Zeroizing::new(token.to_owned()))
    }

    fn form(&self, grant: &CodeGrant<'_>) -> (HeaderMap, Vec<u8>) {
        let settings = grant.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", grant.code)
            .append_pair("redirect_uri", &settings.redirect_url())
            .append_pair("code_verifier", grant.verifier);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, FORM);
        headers.insert(ACCEPT, JSON);
        match &settings.client_secret {
            None => {
                form.append_pair("client_id", &settings.client_id);
            }
            Some(secret) if self.shows_secret_by_body => {
                form.append_pair("client_id", &settings.client_id)
                    .append_pair("client_secret", secret.expose_secret());
            }
            Some(secret) => {
                headers.insert(AUTHORIZATION, basic(&settings.client_id, secret));
            }
        }
        (headers, form.finish().into_bytes())
    }
}

fn basic(client_id: &str, secret: &SecretString) -> HeaderValue {
    let encoding = BasicEncoding::Rfc6749;
    let credentials = basic_credentials(client_id, secret.expose_secret(), encoding);
    let value = Zeroizing::new(format!("Basic {credentials}"));
    let mut value = HeaderValue::try_from(value.as_str()).expect("Base64 is good in a header");
    value.set_sensitive(true);
    value
}

/// An error of the token endpoint by its name in RFC 6749, section 5.2; what else there is, is the
/// provider's own text.
fn known_error(error: &str) -> &'static str {
    match error {
        "invalid_client" => " invalid_client",
        "invalid_grant" => " invalid_grant",
        "invalid_request" => " invalid_request",
        "invalid_scope" => " invalid_scope",
        "unauthorized_client" => " unauthorized_client",
        "unsupported_grant_type" => " unsupported_grant_type",
        _ => "",
    }
}

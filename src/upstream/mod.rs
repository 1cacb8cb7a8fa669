//! Asking a provider for a token: the request, the way out, the answer.

mod absence;
mod answer;
mod assertion;
mod causes;
mod client;
mod clocks;
mod connection_failure;
mod context;
mod custom_logic;
mod deadline;
mod decoding;
mod decompression;
mod destination;
pub mod egress;
mod encode;
mod explaining;
mod handle;
mod inspect;
mod life;
pub mod lifetimes;
mod lookup;
mod obtained;
mod parsed;
mod percent_encoded;
pub mod proxy;
mod render;
mod request;
mod scope;
mod settings;
mod shown;
mod through;
mod token_like;
mod token_request;
pub mod trust;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::foundation::clock::{EpochMs, Ms};
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::traces;
use crate::realm::document::{Exchange, ProviderDocument, ProxyChoice};
use crate::realm::expression::{AttemptValues, Template};
use crate::realm::failure::Failure;
use crate::realm::{Realm, Source};
use crate::secret::Secret;
use crate::secret::params::Params;
use answer::{Issued, Unusable, together};
pub use client::{HttpAnswer, TimeLimit};
use client::{Request, TlsMaterial};
pub use handle::Upstream;
pub use inspect::{Inspected, InspectedExchange, Reading, ReadingStep};
use obtained::refuse_expired;
pub use obtained::{FetchError, Obtained, ObtainedRefresh};
use render::Renderer;
pub use request::basic_credentials;
pub use scope::{ExpressionScope, Inputs, ParentToken, Previous};
pub use settings::UpstreamSettings;
pub use shown::{ShownAnswer, ShownAssertion, ShownRequest};
use token_request::TokenRequest;

impl Upstream {
    /// Asks for a token.
    pub async fn fetch(
        &self,
        realm: &Realm,
        secret: &Secret,
        previous: &Previous,
        limit: TimeLimit,
    ) -> Result<Obtained, FetchError> {
        match &realm.source {
            Source::Provider(document) => {
                let mut asking = self.asking(
                    document,
                    &secret.params,
                    &previous.inputs,
                    self.attempt_values(),
                    limit,
                );
                let issued = asking.obtain().await;
                let issued =
                    issued.map_err(|unusable| FetchError::of(unusable, asking.requested_at))?;
                let scope = asking.scope.clone();
                let obtained =
                    self.obtained(Some((document, scope)), issued, asking.requested_at)?;
                Ok(Obtained {
                    refresh_refused: asking.refresh_refused,
                    ..obtained
                })
            }
            Source::CustomLogic(url) => {
                let requested_at = self.clock.now();
                let request = custom_logic::request(url, secret, previous);
                let span = traces::exchange();
                let answer = self.client.send_in(&span, request, limit).await?;
                self.obtained(
                    None,
                    custom_logic::read(&answer, requested_at)?,
                    requested_at,
                )
            }
            Source::Fixed => {
                Err(Failure::internal("the realm holds fixed tokens: none is ever renewed").into())
            }
        }
    }

    /// Sends one request whose answer holds no token, and checks the answer.
    pub async fn ask(
        &self,
        document: &ProviderDocument,
        exchange: &Exchange,
        params: &Params,
    ) -> Result<(), Failure> {
        let (inputs, limit) = (
            Inputs::default(),
            self.time_limit(self.timeout_of(document)),
        );
        let mut asking = self.asking(document, params, &inputs, self.attempt_values(), limit);
        asking.ask(exchange).await
    }

    /// Posts to a receiver that is no provider, under the same limits.
    pub async fn notify(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        proxy: &ProxyChoice,
        timeout: Ms,
    ) -> Result<StatusCode, Failure> {
        let limit = self.time_limit(timeout);
        let answer = self.post(url, (headers, body), None, proxy, limit).await?;
        Ok(answer.status)
    }

    /// Posts to somebody who is no provider, under the same limits, and reads the answer. `ca` as of
    /// [`Upstream::get`].
    pub async fn post(
        &self,
        url: &str,
        (headers, body): (HeaderMap, Vec<u8>),
        ca: Option<&str>,
        proxy: &ProxyChoice,
        limit: TimeLimit,
    ) -> Result<HttpAnswer, Failure> {
        let url =
            Url::parse(url).map_err(|_| Failure::internal("the URL cannot be read").unsent())?;
        let request = Request {
            method: Method::POST,
            url,
            headers,
            body: Some(body),
            tls: ca.map(TlsMaterial::trusting),
            proxy: proxy.clone(),
        };
        self.client.send(request, limit).await
    }

    /// Gets a document that is public, from somebody who is no provider, under the same limits.
    /// `ca` holds certificates in PEM that are trusted beside the usual ones.
    pub async fn get(
        &self,
        url: &str,
        ca: Option<&str>,
        proxy: &ProxyChoice,
        limit: TimeLimit,
    ) -> Result<HttpAnswer, Failure> {
        let url =
            Url::parse(url).map_err(|_| Failure::internal("the URL cannot be read").unsent())?;
        let request = Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            tls: ca.map(TlsMaterial::trusting),
            proxy: proxy.clone(),
        };
        self.client.send(request, limit).await
    }

    /// Reads an answer as if it were the main request's, and makes of it what would be
    /// stored.
    pub fn read_answer(
        &self,
        document: &ProviderDocument,
        params: &Params,
        answer: &HttpAnswer,
    ) -> Result<Obtained, Failure> {
        let limit = self.time_limit(self.timeout_of(document));
        let asking = self.asking(
            document,
            params,
            &Inputs::default(),
            self.attempt_values(),
            limit,
        );
        let issued = asking.read(answer).map_err(|unusable| unusable.failure)?;
        let scope = asking.scope.clone();
        self.obtained(Some((document, scope)), issued, asking.requested_at)
            .map_err(|error| error.failure)
    }

    /// How a stored token is served, where it is rendered on each read.
    pub fn served(
        &self,
        document: &ProviderDocument,
        params: &Params,
        token: &SecretString,
        extra: &serde_json::Value,
    ) -> Result<SecretString, Failure> {
        let values = self.attempt_values();
        let scope = ExpressionScope::of(document, params, &Inputs::default(), &values);
        token_request::served(document, &self.expressions, &scope, token, extra)
    }

    /// A template over a secret's parameters as text; none where it has no value.
    pub fn rendered(
        &self,
        document: &ProviderDocument,
        params: &Params,
        template: &Template,
    ) -> Option<String> {
        let scope =
            ExpressionScope::of(document, params, &Inputs::default(), &self.attempt_values());
        let render = Renderer::new(&self.expressions, &scope, false);
        render.text_if_set("template", template).ok()?
    }

    /// The secret whose token a secret's token is derived from.
    pub fn parent_name(
        &self,
        document: &ProviderDocument,
        params: &Params,
    ) -> Option<(RealmId, KeyName)> {
        let parent = document.parent.as_ref()?;
        let text = |template| self.rendered(document, params, template);
        let realm = RealmId::new(text(&parent.realm)?).ok()?;
        let key = KeyName::new(text(&parent.key)?).ok()?;
        Some((realm, key))
    }

    fn asking<'a>(
        &'a self,
        document: &'a ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        values: AttemptValues,
        limit: TimeLimit,
    ) -> TokenRequest<'a> {
        TokenRequest {
            upstream: self,
            document,
            scope: ExpressionScope::of(document, params, inputs, &values),
            can_refresh: inputs.refresh_token.is_some(),
            refresh_refused: false,
            requested_at: values.now(),
            limit,
            steps: Vec::new(),
        }
    }

    /// What is stored of a token that was issued; where it cannot be used, its refresh token is
    /// kept.
    fn obtained(
        &self,
        document: Option<(&ProviderDocument, ExpressionScope)>,
        issued: Issued,
        requested_at: EpochMs,
    ) -> Result<Obtained, FetchError> {
        let payload = issued.payload;
        let served = match document {
            Some((document, scope)) if document.serving.as_ref().is_some_and(|s| !s.per_read) => {
                let (token, extra) = (&payload.token, &payload.extra);
                token_request::served(document, &self.expressions, &scope, token, extra).map(Some)
            }
            _ => Ok(None),
        };
        match (refuse_expired(payload.expiry, requested_at), served) {
            (Ok(()), Ok(served)) => Ok(Obtained {
                payload,
                requested_at,
                refresh: issued
                    .refresh
                    .map(|refresh| ObtainedRefresh::of(refresh, requested_at)),
                refresh_refused: false,
                served,
            }),
            (expired, served) => {
                let faults = [expired.err(), served.err()].into_iter().flatten();
                let failure = together(faults)
                    .unwrap_or_else(|| Failure::internal("the token cannot be served"));
                let failure = match &issued.skew {
                    Some(skew) => failure.and(skew),
                    None => failure,
                };
                let refresh = issued.refresh;
                let unusable = Unusable {
                    refresh,
                    ..failure.into()
                };
                Err(FetchError::of(unusable, requested_at))
            }
        }
    }
}

//! Asking a provider for a token: the request, the way out, the answer.

mod absence;
mod answer;
mod asking;
mod assertion;
mod client;
mod clocks;
mod connection_failure;
mod context;
mod custom_logic;
mod decoding;
mod decompression;
pub mod egress;
mod encode;
mod explaining;
mod inspect;
mod life;
pub mod lifetimes;
mod parsed;
mod render;
mod request;
mod scope;
mod shown;
mod timely;
pub mod trust;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use url::Url;

use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::randomness::Randomness;
use crate::realm::document::{Exchange, ProviderDocument};
use crate::realm::expression::{Expressions, Moment, Template};
use crate::realm::failure::Failure;
use crate::realm::{Realm, Source};
use crate::secret::Secret;
use crate::secret::params::Params;
use crate::token::expiry::Expiry;
use answer::{Issued, Renewed, Unusable, together};
use asking::Asking;
pub use client::{Answer, TimeLimit};
use client::{Client, Request};
use egress::{Egress, Names};
pub use inspect::{Inspected, InspectedExchange, Reading, ReadingStep};
use life::Life;
use render::Renderer;
pub use scope::{Inputs, ParentToken, Scope};
pub use shown::{ShownAnswer, ShownAssertion, ShownRequest};

/// Limits on every exchange with a provider, and where names and trust come from.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    pub egress: Egress,
    pub names: Arc<dyn Names>,
    /// Trusted beside the usual ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// One attempt as a whole, unless the realm says otherwise.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// How much longer than its attempt an answer is waited for that may hold the only
    /// refresh token which is good.
    pub late_answer: Duration,
    /// The largest answer that is read, in bytes.
    pub max_answer_bytes: usize,
}

/// What a provider issued.
#[derive(Clone, Debug)]
pub struct Obtained {
    pub token: SecretString,
    pub token_type: Option<String>,
    pub expiry: Expiry,
    /// Life is counted from the moment the request was sent.
    pub requested_at: EpochMs,
    /// The next refresh token, where the answer held one.
    pub refresh: Option<ObtainedRefresh>,
    /// The refresh token in use was refused, and the main request did without.
    pub refresh_refused: bool,
    /// Null where the realm takes nothing beside the token.
    pub extra: serde_json::Value,
    /// As it is served, where not as it came.
    pub served: Option<SecretString>,
}

#[derive(Clone, Debug)]
pub struct ObtainedRefresh {
    pub token: SecretString,
    pub expires_at: Option<EpochMs>,
    /// When the request that brought it was sent.
    pub requested_at: EpochMs,
}

impl ObtainedRefresh {
    fn of(refresh: Renewed, requested_at: EpochMs) -> Self {
        Self {
            token: refresh.token,
            expires_at: refresh.life.map(|life| requested_at.plus(life)),
            requested_at,
        }
    }
}

/// Why no token was obtained.
#[derive(Clone, Debug)]
pub struct FetchError {
    pub failure: Failure,
    /// The refresh token that the answer held nevertheless: it is to be kept, because the one
    /// before it may be used up.
    pub refresh: Option<ObtainedRefresh>,
}

impl FetchError {
    fn of(unusable: Unusable, requested_at: EpochMs) -> Self {
        let Unusable { failure, refresh } = unusable;
        let Some(refresh) = refresh else {
            return failure.into();
        };
        Self {
            failure: failure.and("the refresh token in the answer is kept"),
            refresh: Some(ObtainedRefresh::of(refresh, requested_at)),
        }
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            refresh: None,
        }
    }
}

/// The token that is being replaced, and what the attempt knows beside the secret.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    pub inputs: Inputs,
    pub expires_at: Option<EpochMs>,
}

/// The way to the providers.
#[derive(Debug)]
pub struct Upstream {
    client: Client,
    expressions: Expressions,
    clock: SharedClock,
    randomness: Randomness,
    default_timeout: Ms,
    late_answer: Ms,
}

impl Upstream {
    pub fn new(
        settings: &UpstreamSettings,
        clock: SharedClock,
        randomness: Randomness,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(settings, clock.clone())?,
            expressions: Expressions::new(),
            clock,
            randomness,
            default_timeout: Ms::from(settings.timeout),
            late_answer: Ms::from(settings.late_answer),
        })
    }

    /// Where requests may go.
    pub fn egress(&self) -> &Egress {
        self.client.egress()
    }

    /// How long one attempt may take in all.
    pub fn timeout(&self, source: &Source) -> Ms {
        source.policy().timeout.unwrap_or(self.default_timeout)
    }

    /// The limit of an attempt, or of what is left of one, that begins now.
    pub fn time_limit(&self, timeout: Ms) -> TimeLimit {
        self.client.time_limit(timeout)
    }

    /// How much longer an answer is waited for that must not be missed.
    pub fn late_answer(&self) -> Ms {
        self.late_answer
    }

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
                    self.moment(),
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
                let answer = self.client.send(request, limit).await?;
                self.obtained(None, custom_logic::read(&answer)?, requested_at)
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
        let mut asking = self.asking(document, params, &inputs, self.moment(), limit);
        asking.ask(exchange).await
    }

    /// Posts to a receiver that is no provider, under the same limits.
    pub async fn notify(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        timeout: Ms,
    ) -> Result<StatusCode, Failure> {
        let url =
            Url::parse(url).map_err(|_| Failure::internal("the URL cannot be read").unsent())?;
        let request = Request {
            method: Method::POST,
            url,
            headers,
            body: Some(body),
            tls: None,
        };
        let answer = self.client.send(request, self.time_limit(timeout)).await?;
        Ok(answer.status)
    }

    /// Reads an answer as if it were the main request's, and makes of it what would be
    /// stored.
    pub fn read_answer(
        &self,
        document: &ProviderDocument,
        params: &Params,
        answer: &Answer,
    ) -> Result<Obtained, Failure> {
        let limit = self.time_limit(self.timeout_of(document));
        let asking = self.asking(document, params, &Inputs::default(), self.moment(), limit);
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
        let moment = self.moment();
        let scope = Scope::of(document, params, &Inputs::default(), &moment);
        asking::served(document, &self.expressions, &scope, token, extra)
    }

    /// A template over a secret's parameters as text; none where it has no value.
    pub fn rendered(
        &self,
        document: &ProviderDocument,
        params: &Params,
        template: &Template,
    ) -> Option<String> {
        let scope = Scope::of(document, params, &Inputs::default(), &self.moment());
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

    fn timeout_of(&self, document: &ProviderDocument) -> Ms {
        document.policy.timeout.unwrap_or(self.default_timeout)
    }

    fn moment(&self) -> Moment {
        Moment::draw(self.clock.now(), &self.randomness)
    }

    fn asking<'a>(
        &'a self,
        document: &'a ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        moment: Moment,
        limit: TimeLimit,
    ) -> Asking<'a> {
        Asking {
            upstream: self,
            document,
            scope: Scope::of(document, params, inputs, &moment),
            can_refresh: inputs.refresh_token.is_some(),
            refresh_refused: false,
            requested_at: moment.now(),
            limit,
            steps: Vec::new(),
        }
    }

    /// What is stored of a token that was issued; where it cannot be used, its refresh token is
    /// kept.
    fn obtained(
        &self,
        document: Option<(&ProviderDocument, Scope)>,
        issued: Issued,
        requested_at: EpochMs,
    ) -> Result<Obtained, FetchError> {
        let expiry = expiry_of(issued.life, requested_at);
        let served = match document {
            Some((document, scope)) if document.serving.as_ref().is_some_and(|s| !s.per_read) => {
                let (token, extra) = (&issued.token, &issued.extra);
                asking::served(document, &self.expressions, &scope, token, extra).map(Some)
            }
            _ => Ok(None),
        };
        match (refuse_expired(expiry, requested_at), served) {
            (Ok(()), Ok(served)) => Ok(Obtained {
                token: issued.token,
                token_type: issued.token_type,
                expiry,
                requested_at,
                refresh: issued
                    .refresh
                    .map(|refresh| ObtainedRefresh::of(refresh, requested_at)),
                refresh_refused: false,
                extra: issued.extra,
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
                Err(FetchError::of(Unusable { failure, refresh }, requested_at))
            }
        }
    }
}

fn refuse_expired(expiry: Expiry, requested_at: EpochMs) -> Result<(), Failure> {
    if expiry.left(requested_at) > Ms::ZERO {
        return Ok(());
    }
    Err(Failure::transient(
        "the provider issued a token that has expired already",
    ))
}

fn expiry_of(life: Life, requested_at: EpochMs) -> Expiry {
    match life {
        Life::For(length) => Expiry::At(requested_at.plus(length)),
        Life::Endless => Expiry::Never,
    }
}

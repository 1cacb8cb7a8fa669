//! One attempt at a provider: steps, then the main request; or the refresh token, and the
//! main request where that is refused.

use minijinja::Value as ScopeValue;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{AnswerReader, Issued, Unusable};
use super::assertion::{Defaults, Unsigned};
use super::client::{HttpAnswer, Request, TimeLimit};
use super::clocks::Clocks;
use super::context::Context;
use super::destination::destination;
use super::handle::Upstream;
use super::life::{Life, default_life, life_of_jwt, read_life};
use super::parsed::Parsed;
use super::render::Renderer;
use super::request::{assemble, request, tls_material};
use super::scope::ExpressionScope;
use crate::foundation::clock::EpochMs;
use crate::foundation::signing::{Algorithm, KeyEncoding};
use crate::foundation::traces;
use crate::realm::document::{
    AnswerRule, Assertion, ClientAuth, Exchange, Extraction, ProviderDocument, Refresh,
    RequestRule, StatedExpiry, Way,
};
use crate::realm::expression::{Expression, Expressions, to_json};
use crate::realm::failure::{Failure, MAYBE_SPENT};
use crate::token::TokenPayload;

/// How long a client authentication assertion lives where the document does not say.
const CLIENT_ASSERTION_S: i64 = 300;

pub(super) struct TokenRequest<'a> {
    pub upstream: &'a Upstream,
    pub document: &'a ProviderDocument,
    pub scope: ExpressionScope,
    pub can_refresh: bool,
    /// The refresh token was refused, and the main request is made without.
    pub refresh_refused: bool,
    /// When the request for the token was sent.
    pub requested_at: EpochMs,
    pub limit: TimeLimit,
    /// The answers of the steps so far, as expressions see them.
    pub steps: Vec<ScopeValue>,
}

impl<'a> TokenRequest<'a> {
    /// A failure's `grant_refused` says that the refresh token was refused: what else
    /// could be asked is for the caller to decide.
    pub async fn obtain(&mut self) -> Result<Issued, Unusable> {
        match &self.document.refresh {
            Some(refresh) if self.can_refresh => self.refreshed(refresh).await,
            _ => {
                // The main request may use the refresh token itself.
                let by_refresh_token = !self.document.stands_alone();
                self.main().await.map_err(|unusable| Unusable {
                    failure: Failure {
                        grant_refused: unusable.failure.grant_refused && by_refresh_token,
                        ..unusable.failure
                    },
                    ..unusable
                })
            }
        }
    }

    async fn refreshed(&mut self, refresh: &'a Refresh) -> Result<Issued, Unusable> {
        let unusable = match self.issued(&refresh.exchange, &refresh.answer).await {
            Ok(issued) => return Ok(issued),
            Err(unusable) => unusable,
        };
        let unclear = unusable.failure.is_unclear() && unusable.refresh.is_none();
        if refresh.retry || !unclear {
            return Err(unusable);
        }
        if self.document.stands_alone() {
            self.refresh_refused = true;
            // The refresh was sent, whatever becomes of the main request.
            return self.main().await.map_err(|unusable| Unusable {
                failure: Failure {
                    sent: true,
                    ..unusable.failure
                },
                ..unusable
            });
        }
        let failure = unusable.failure;
        Err(failure.needs_another_refresh_token(MAYBE_SPENT).into())
    }

    async fn main(&mut self) -> Result<Issued, Unusable> {
        let (document, answer) = (self.document, &self.document.answer);
        match &document.way {
            Way::Minted => Ok(self.minted(answer)?),
            Way::Asked { steps, main } => {
                for (index, step) in steps.iter().enumerate() {
                    self.step(step).await.map_err(|failure| Unusable {
                        asked_before: index > 0,
                        ..Unusable::from(Failure {
                            detail: format!("steps[{index}]: {}", failure.detail),
                            ..failure
                        })
                    })?;
                }
                let issued = self.issued(main, answer).await;
                issued.map_err(|unusable| Unusable {
                    asked_before: !steps.is_empty(),
                    ..unusable
                })
            }
        }
    }

    async fn step(&mut self, step: &Exchange) -> Result<(), Failure> {
        let parsed = self.exchange(step).await?;
        self.reader(&parsed, step.success.as_ref()).check()?;
        self.steps.push(ScopeValue::from_pairs(
            parsed.scope().map(|(name, value)| (name.to_owned(), value)),
        ));
        self.scope
            .set("steps", self.steps.iter().cloned().collect());
        Ok(())
    }

    /// An exchange that is good for nothing but its success.
    pub async fn ask(&mut self, exchange: &Exchange) -> Result<(), Failure> {
        let parsed = self.exchange(exchange).await?;
        self.reader(&parsed, exchange.success.as_ref()).check()
    }

    async fn issued(&mut self, exchange: &Exchange, rule: &AnswerRule) -> Result<Issued, Unusable> {
        self.requested_at = self.upstream.clock.now();
        let parsed = self.exchange(exchange).await?;
        self.reader(&parsed, exchange.success.as_ref()).issued(rule)
    }

    /// Reads an answer of the main request.
    pub fn read(&self, answer: &HttpAnswer) -> Result<Issued, Unusable> {
        let Way::Asked { main, .. } = &self.document.way else {
            return Err(Failure::internal("the token is made here, without a request").into());
        };
        let parsed = Parsed::of(answer, main.format);
        self.reader(&parsed, main.success.as_ref())
            .issued(&self.document.answer)
    }

    fn reader<'b>(
        &'b self,
        parsed: &'b Parsed,
        success: Option<&'b Expression>,
    ) -> AnswerReader<'b> {
        AnswerReader::new(
            parsed,
            success,
            &self.document.error,
            &self.scope,
            &self.upstream.expressions,
            self.requested_at,
        )
    }

    async fn exchange(&mut self, exchange: &Exchange) -> Result<Parsed, Failure> {
        let span = traces::exchange();
        let request = span.in_scope(|| self.build(&exchange.request));
        let request = request.map_err(Failure::unsent)?;
        let sending = self.upstream.client.send_in(&span, request, self.limit);
        Ok(Parsed::of(&sending.await?, exchange.format))
    }

    /// Renders everything anew: an assertion is never sent twice.
    pub fn build(&mut self, rule: &RequestRule) -> Result<Request, Failure> {
        let expressions = &self.upstream.expressions;
        let assertion = self.assertion(rule)?;
        let render = Renderer::new(expressions, &self.scope, false);
        let url = destination(self.document, rule, &render)?;
        let assembled = assemble(rule, &render, assertion.as_ref())?;
        let tls = match &rule.tls {
            Some(tls) => tls_material(tls, &render)?,
            None => None,
        };
        let proxy = self.document.proxy.clone();
        let mut request = request(rule, &url, &assembled, tls, proxy)?;
        if self.document.trace_context {
            let method = request.method.as_str().to_owned();
            traces::hand_on(&mut request.headers, &method);
        }
        Ok(request)
    }

    /// Signs an assertion and puts it into scope, where the document or the client
    /// authentication wants one.
    fn assertion(&mut self, rule: &RequestRule) -> Result<Option<SecretString>, Failure> {
        let upstream = self.upstream;
        let render = Renderer::new(&upstream.expressions, &self.scope, false);
        let Some((assertion, defaults)) = wanted_assertion(self.document, rule, &render)? else {
            return Ok(None);
        };
        self.sign(&assertion, &defaults).map(Some)
    }

    fn sign(
        &mut self,
        assertion: &Assertion,
        defaults: &Defaults,
    ) -> Result<SecretString, Failure> {
        let upstream = self.upstream;
        let render = Renderer::new(&upstream.expressions, &self.scope, false);
        let id = upstream.randomness.id();
        let unsigned = Unsigned::make(assertion, &render, defaults, upstream.clock.now(), &id)?;
        let key = render.text("assertion.key", &assertion.key)?;
        let signed = unsigned.sign(assertion, &key)?;
        self.scope.set("assertion", signed.expose_secret().into());
        Ok(signed)
    }

    pub fn minted(&mut self, rule: &AnswerRule) -> Result<Issued, Failure> {
        if let Some(assertion) = &self.document.assertion {
            self.sign(assertion, &Defaults::default())?;
        }
        let expressions = &self.upstream.expressions;
        let context = Context::new(expressions, &self.scope, [], false);
        let value = |name: &str, extraction: &Extraction| {
            let Extraction::Expression(expression) = extraction else {
                return Err(Failure::internal(format!(
                    "{name}: there is no answer to take it from"
                )));
            };
            let value = context.evaluate(name, expression)?;
            to_json(&value).map_err(|error| Failure::internal(format!("{name} {error}")))
        };
        let token = match value("token", &rule.token)? {
            serde_json::Value::String(token) if !token.is_empty() => token,
            _ => return Err(Failure::internal("token: is not text, or empty")),
        };
        let clocks = Clocks::own(self.requested_at);
        let stated = match &rule.expiry.stated {
            None => None,
            Some(stated) => {
                let name = match stated {
                    StatedExpiry::In(..) => "expires_in",
                    StatedExpiry::At(..) => "expires_at",
                };
                let life = read_life(stated, &value(name, stated.extraction())?, &clocks);
                // Nobody but the document says it.
                Some(life.map_err(|failure| Failure::internal(failure.detail))?)
            }
        };
        let life = match stated {
            Some(life) => Some(life),
            None => life_of_jwt(&token, &clocks)?.map(Life::For),
        };
        let life = match life {
            Some(life) => life,
            None => {
                let render = Renderer::new(expressions, &self.scope, false);
                default_life(&rule.expiry, &render, || {
                    "nothing says when the token expires".to_owned()
                })?
            }
        };
        let mut extra = serde_json::Map::new();
        for (name, expression) in &rule.extra {
            let extraction = Extraction::Expression(expression.clone());
            let read = value(&format!("extra.{name}"), &extraction)?;
            if !read.is_null() {
                extra.insert(name.clone(), read);
            }
        }
        Ok(Issued {
            payload: TokenPayload {
                token: token.into(),
                token_type: None,
                extra: if rule.extra.is_empty() {
                    serde_json::Value::Null
                } else {
                    extra.into()
                },
                expiry: life.expiry(self.requested_at),
            },
            refresh: None,
            skew: None,
        })
    }
}

/// The assertion a request needs, and what client authentication adds to it.
pub(super) fn wanted_assertion(
    document: &ProviderDocument,
    rule: &RequestRule,
    render: &Renderer<'_>,
) -> Result<Option<(Assertion, Defaults)>, Failure> {
    let Some(ClientAuth::Jwt {
        client_id,
        client_secret,
    }) = &rule.client_auth
    else {
        let used = rule.names().contains("assertion");
        let of_document = document.assertion.clone().filter(|_| used);
        return Ok(of_document.map(|assertion| (assertion, Defaults::default())));
    };
    let by_secret = || {
        client_secret.clone().map(|key| Assertion {
            algorithm: Algorithm::Hs256,
            key,
            key_encoding: KeyEncoding::Utf8,
            header: Vec::new(),
            claims: Vec::new(),
            lifetime_s: CLIENT_ASSERTION_S,
            iat_skew_s: 0,
        })
    };
    let assertion = document
        .assertion
        .clone()
        .or_else(by_secret)
        .ok_or_else(|| {
            Failure::internal("client_auth needs an assertion, and the document has none")
        })?;
    let client_id = match client_id {
        Some(id) => render.text_if_set("client_auth.client_id", id)?,
        None => None,
    };
    // A URL that holds the assertion cannot be what the assertion names.
    let names_itself = rule.target.names().contains("assertion");
    let audience = (!names_itself && !render.masks())
        .then(|| destination(document, rule, render).map(String::from))
        .transpose()?;
    Ok(Some((
        assertion,
        Defaults {
            client_id,
            audience,
        },
    )))
}

/// Renders `token_template`, or gives the token as it came.
pub(super) fn served(
    document: &ProviderDocument,
    expressions: &Expressions,
    scope: &ExpressionScope,
    token: &SecretString,
    extra: &serde_json::Value,
) -> Result<SecretString, Failure> {
    let Some(serving) = &document.serving else {
        return Ok(token.clone());
    };
    let mut scope = scope.clone();
    scope.set("token", token.expose_secret().into());
    scope.set("extra", crate::realm::expression::without_nulls(extra));
    Renderer::new(expressions, &scope, false)
        .text("token_template", &serving.template)
        .map(SecretString::from)
}

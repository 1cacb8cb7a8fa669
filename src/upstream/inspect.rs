//! The dry run: what would be sent, what came back, how each field of it was read, and why
//! not. Nothing is stored.

mod reading;

use minijinja::Value as ScopeValue;

use super::destination::destination;
use super::egress::Scheme;
use super::handle::Upstream;
use super::parsed::Parsed;
use super::render::Renderer;
use super::scope::{ExpressionScope, Inputs};
use super::shown::{ShownAnswer, ShownRequest};
use super::token_request::TokenRequest;
use crate::realm::document::{AnswerRule, Exchange, ProviderDocument, RequestRule, Way};
use crate::realm::expression::{AttemptValues, without_nulls};
use crate::realm::failure::Failure;
use crate::secret::params::Params;
use reading::Readings;
pub use reading::{Reading, ReadingStep};

/// One exchange.
#[derive(Clone, Debug)]
pub struct InspectedExchange {
    /// `steps[0]`, `main`, `refresh`.
    pub name: String,
    pub request: Option<ShownRequest>,
    pub answer: Option<ShownAnswer>,
    pub reading: Option<Reading>,
    /// Why it goes no further.
    pub failure: Option<Failure>,
}

/// What a dry run showed.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    pub exchanges: Vec<InspectedExchange>,
    /// Where a token is made here, without a request.
    pub minted: Option<Reading>,
}

impl Upstream {
    /// Shows the requests of an attempt, and with `send` makes them.
    pub async fn inspect(
        &self,
        document: &ProviderDocument,
        params: &Params,
        inputs: &Inputs,
        send: bool,
    ) -> Inspected {
        let values = self.attempt_values();
        let limit = self.time_limit(self.timeout_of(document));
        let mut inspection = Inspection {
            asking: self.asking(document, params, inputs, values, limit),
            masked: ExpressionScope::masked(document, params, inputs, &values),
            masked_steps: Vec::new(),
            values,
        };
        let Way::Asked { steps, main } = &document.way else {
            let rule = &document.answer;
            let made = inspection.asking.minted(rule);
            return Inspected {
                minted: Some(inspection.readings().minted(rule, made)),
                ..Inspected::default()
            };
        };
        let mut exchanges = Vec::new();
        if let Some(refresh) = &document.refresh
            && inputs.refresh_token.is_some()
        {
            let rule = Some(&refresh.answer);
            exchanges.push(
                inspection
                    .exchange("refresh", &refresh.exchange, rule, send)
                    .await,
            );
        } else {
            let named = steps.iter().enumerate();
            let named = named.map(|(index, step)| (format!("steps[{index}]"), step, None));
            let main = ("main".to_owned(), main.as_ref(), Some(&document.answer));
            for (name, exchange, rule) in named.chain([main]) {
                // What follows a failed step is shown, and not sent.
                let broken = exchanges.last().is_some_and(|last: &InspectedExchange| {
                    last.failure.is_some()
                        || last
                            .reading
                            .as_ref()
                            .is_some_and(|reading| reading.failure.is_some())
                });
                let send = send && !broken;
                exchanges.push(inspection.exchange(&name, exchange, rule, send).await);
            }
        }
        Inspected {
            exchanges,
            minted: None,
        }
    }
}

struct Inspection<'a> {
    asking: TokenRequest<'a>,
    masked: ExpressionScope,
    masked_steps: Vec<ScopeValue>,
    values: AttemptValues,
}

impl Inspection<'_> {
    async fn exchange(
        &mut self,
        name: &str,
        exchange: &Exchange,
        rule: Option<&AnswerRule>,
        send: bool,
    ) -> InspectedExchange {
        let mut inspected = InspectedExchange {
            name: name.to_owned(),
            request: None,
            answer: None,
            reading: None,
            failure: None,
        };
        match self.shown(exchange) {
            Ok(request) => inspected.request = Some(request),
            Err(failure) => inspected.failure = Some(failure),
        }
        // What masks hide is tried as well: a key that is none, a parameter that is unset.
        let after_steps = exchange_uses_steps(exchange) && self.asking.steps.is_empty();
        if after_steps && !send {
            return inspected;
        }
        let request = match self.asking.build(&exchange.request) {
            Ok(request) => request,
            Err(failure) => {
                inspected.failure = Some(failure);
                return inspected;
            }
        };
        if !send {
            return inspected;
        }
        let upstream = self.asking.upstream;
        let limit = self.asking.limit;
        let answer = match upstream.client.send(request, limit).await {
            Ok(answer) => answer,
            Err(failure) => {
                inspected.failure = Some(failure);
                return inspected;
            }
        };
        let parsed = Parsed::of(&answer, exchange.format);
        let shown = ShownAnswer::of(&answer, &parsed, &self.asking.scope);
        let success = exchange.success.as_ref();
        inspected.reading = Some(self.readings().answer(&parsed, success, rule));
        self.remember(&parsed, &shown);
        inspected.answer = Some(shown);
        inspected
    }

    fn readings(&self) -> Readings<'_> {
        Readings {
            request: &self.asking,
        }
    }

    fn shown(&self, exchange: &Exchange) -> Result<ShownRequest, Failure> {
        let (document, upstream) = (self.asking.document, self.asking.upstream);
        let shown = ShownRequest::of(
            document,
            &exchange.request,
            &self.masked,
            &upstream.expressions,
            self.values.now(),
        )?;
        let proxies = upstream.proxies();
        let proxy = proxies.to_send_through(&document.proxy, self.scheme(&exchange.request))?;
        Ok(ShownRequest {
            proxy: proxy.map(|proxy| proxy.name().to_owned()),
            ..shown
        })
    }

    /// Where a value decides it and is not known yet, it counts as plain.
    fn scheme(&self, rule: &RequestRule) -> Scheme {
        let asking = &self.asking;
        let render = Renderer::new(&asking.upstream.expressions, &asking.scope, false);
        let rendered = || destination(asking.document, rule, &render).ok();
        let url = rule.target.sample().or_else(rendered);
        url.map_or(Scheme::Plain, |url| Scheme::of(&url))
    }

    /// Later steps see the answer; what is shown of them sees it masked.
    fn remember(&mut self, parsed: &Parsed, shown: &ShownAnswer) {
        let seen = parsed.scope().map(|(name, value)| (name.to_owned(), value));
        self.asking.steps.push(ScopeValue::from_pairs(seen));
        let steps = self.asking.steps.iter().cloned().collect();
        self.asking.scope.set("steps", steps);
        let headers = shown.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), ScopeValue::from(value.as_str())));
        self.masked_steps.push(ScopeValue::from_pairs([
            ("body", without_nulls(&shown.body)),
            ("headers", ScopeValue::from_pairs(headers)),
            ("status", shown.status.into()),
        ]));
        let steps = self.masked_steps.iter().cloned().collect();
        self.masked.set("steps", steps);
    }
}

fn exchange_uses_steps(exchange: &Exchange) -> bool {
    exchange.request.names().contains("steps")
}

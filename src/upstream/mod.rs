//! Asking a provider for a token: the request, the way out, the answer.

mod answer;
mod client;
mod custom_logic;
pub mod egress;
mod request;

use std::time::Duration;

use secrecy::SecretString;

use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::realm::expression::Expressions;
use crate::realm::failure::Failure;
use crate::realm::{Realm, Source};
use crate::secret::Secret;
use crate::token::expiry::Expiry;
use answer::Life;
use client::Client;
use egress::Egress;

/// Limits on every exchange with a provider.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    pub egress: Egress,
    /// One attempt as a whole, unless the realm says otherwise.
    pub timeout: Duration,
    pub connect_timeout: Duration,
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
}

/// The token that is being replaced, for custom logic.
#[derive(Clone, Debug)]
pub struct Previous {
    pub token: Option<SecretString>,
    pub expires_at: Option<EpochMs>,
}

/// The way to the providers.
#[derive(Debug)]
pub struct Upstream {
    client: Client,
    expressions: Expressions,
    clock: SharedClock,
    default_timeout: Ms,
}

impl Upstream {
    pub fn new(settings: &UpstreamSettings, clock: SharedClock) -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: Client::new(settings)?,
            expressions: Expressions::new(),
            clock,
            default_timeout: Ms::from(settings.timeout),
        })
    }

    /// How long one attempt may take in all.
    pub fn timeout(&self, source: &Source) -> Ms {
        source.policy().timeout.unwrap_or(self.default_timeout)
    }

    /// Asks for a token, within the time that is left.
    pub async fn fetch(
        &self,
        realm: &Realm,
        secret: &Secret,
        previous: &Previous,
    ) -> Result<Obtained, Failure> {
        let timeout = self.timeout(&realm.source).as_duration();
        let requested_at = self.clock.now();
        let issued = match &realm.source {
            Source::Provider(document) => {
                let scope = request::Scope::of(document, secret);
                let request = request::build(document, &scope, &self.expressions)?;
                let answer = self.client.send(request, timeout).await?;
                answer::read(document, &answer, &scope, &self.expressions)?
            }
            Source::CustomLogic(url) => {
                let request = custom_logic::request(url, secret, previous);
                let answer = self.client.send(request, timeout).await?;
                custom_logic::read(&answer)?
            }
            Source::Fixed => {
                return Err(Failure::ours(
                    "the realm holds fixed tokens: none is ever renewed",
                ));
            }
        };
        let expiry = match issued.life {
            Life::For(length) => Expiry::At(requested_at.plus(length)),
            Life::Until(end) => Expiry::At(end),
            Life::Endless => Expiry::Never,
        };
        if expiry.left(requested_at) <= Ms::ZERO {
            return Err(Failure::transient(
                "the provider issued a token that has expired already",
            ));
        }
        Ok(Obtained {
            token: issued.token,
            token_type: issued.token_type,
            expiry,
            requested_at,
        })
    }
}

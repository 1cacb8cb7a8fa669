//! What every exchange with a provider needs.

use super::client::{Client, TimeLimit};
use super::egress::Egress;
use super::proxy::Proxies;
use super::settings::UpstreamSettings;
use crate::foundation::clock::{Ms, SharedClock};
use crate::foundation::randomness::Randomness;
use crate::realm::Source;
use crate::realm::document::ProviderDocument;
use crate::realm::expression::{AttemptValues, Expressions};
use crate::realm::failure::Failure;

/// The way to the providers.
#[derive(Debug)]
pub struct Upstream {
    pub(super) client: Client,
    pub(super) expressions: Expressions,
    pub(super) clock: SharedClock,
    pub(super) randomness: Randomness,
    pub(super) default_timeout: Ms,
    pub(super) late_answer: Ms,
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

    /// The proxies that a realm may name.
    pub fn proxies(&self) -> &Proxies {
        self.client.proxies()
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

    pub(super) fn timeout_of(&self, document: &ProviderDocument) -> Ms {
        document.policy.timeout.unwrap_or(self.default_timeout)
    }

    pub(super) fn attempt_values(&self) -> AttemptValues {
        AttemptValues::draw(self.clock.now(), &self.randomness)
    }
}

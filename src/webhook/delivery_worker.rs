//! Sends what is in the outbox, from whichever replica comes first.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::WebhookSettings;
use super::outbox::{self, Row};
use crate::foundation::clock::{EpochMs, Ms, SharedClock, Timeline};
use crate::foundation::database::{Database, DbError};
use crate::foundation::metrics::{DeliveryLabels, Metrics};
use crate::foundation::randomness::Randomness;
use crate::upstream::Upstream;

/// Events read at once.
pub const PASS_EVENTS: u64 = 20;
/// Before the second try; doubled with each.
const RETRY_BASE: Ms = Ms::from_secs(5);
const RETRY_MAX: Ms = Ms::from_secs(3600);

pub struct DeliveryWorker {
    pub database: Database,
    pub upstream: Arc<Upstream>,
    pub clock: SharedClock,
    pub randomness: Randomness,
    pub metrics: Arc<Metrics>,
    pub settings: WebhookSettings,
}

/// What became of one try.
enum Tried {
    Delivered,
    /// Another replica makes it.
    Elsewhere,
    Failed,
    GivenUp,
}

impl DeliveryWorker {
    /// Tries once what is due.
    pub async fn deliver_due(&self) -> Result<(), DbError> {
        loop {
            let now = self.clock.now();
            let due = outbox::due(self.database.reader(), now, PASS_EVENTS).await?;
            let all = (due.len() as u64) < PASS_EVENTS;
            for row in due {
                let outcome = match self.attempt(&row).await? {
                    Tried::Elsewhere => continue,
                    Tried::Delivered => "delivered",
                    Tried::Failed => "failed",
                    Tried::GivenUp => "given_up",
                };
                let labels = DeliveryLabels { outcome };
                self.metrics.deliveries.get_or_create(&labels).inc();
            }
            if all {
                return Ok(());
            }
        }
    }

    async fn attempt(&self, row: &Row) -> Result<Tried, DbError> {
        let now = self.clock.now();
        if now.since(row.at) > self.settings.max_age {
            tracing::error!(
                name: "webhook.given_up",
                webhook_id = row.message_id,
                tries = row.tries,
                "an event was never taken by the webhook, and is dropped"
            );
            self.forget(row).await?;
            return Ok(Tried::GivenUp);
        }
        let next_try = self.next_try(row.tries, now);
        let taken = self
            .database
            .write_alone(|writer| outbox::take_try(writer, row, next_try));
        if !taken.await? {
            return Ok(Tried::Elsewhere);
        }
        match self.post(row, now).await {
            Ok(status) if status.is_success() => {
                self.forget(row).await?;
                tracing::info!(
                    name: "webhook.delivered",
                    webhook_id = row.message_id, "an event was delivered"
                );
                Ok(Tried::Delivered)
            }
            Ok(status) => {
                tracing::warn!(
                    name: "webhook.refused",
                    webhook_id = row.message_id,
                    tries = row.tries + 1,
                    status = status.as_u16(),
                    "the webhook did not take an event"
                );
                Ok(Tried::Failed)
            }
            Err(failure) => {
                tracing::warn!(
                    name: "webhook.failed",
                    webhook_id = row.message_id, tries = row.tries + 1, detail = %failure.detail,
                    "the webhook could not be asked"
                );
                Ok(Tried::Failed)
            }
        }
    }

    async fn forget(&self, row: &Row) -> Result<(), DbError> {
        self.database
            .write_alone(|writer| outbox::delete(writer, row.id))
            .await
    }

    /// After the try that begins has failed: exponential, the upper half at random.
    fn next_try(&self, tries: i64, now: EpochMs) -> EpochMs {
        let doublings = u32::try_from(tries).unwrap_or(u32::MAX);
        let whole = 2_i64
            .checked_pow(doublings)
            .and_then(|factor| RETRY_BASE.0.checked_mul(factor))
            .map_or(RETRY_MAX.0, |wait| wait.min(RETRY_MAX.0));
        let wait = Ms(self.randomness.between(whole / 2, whole));
        now.plus(self.settings.timeout).plus(wait)
    }

    async fn post(
        &self,
        row: &Row,
        now: EpochMs,
    ) -> Result<StatusCode, crate::realm::failure::Failure> {
        let timestamp_s = now.0.div_euclid(1000);
        let signature = self
            .settings
            .key
            .sign(&row.message_id, timestamp_s, &row.body);
        let timestamp = timestamp_s.to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("webhook-id", &row.message_id),
            ("webhook-timestamp", &timestamp),
            ("webhook-signature", &signature),
        ] {
            // Digits, letters and Base64: always a value of a header.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let url = self.settings.url.expose_secret();
        let body = row.body.clone().into_bytes();
        let (proxy, timeout) = (&self.settings.proxy, self.settings.timeout);
        self.upstream
            .notify(url, headers, body, proxy, timeout)
            .await
    }
}

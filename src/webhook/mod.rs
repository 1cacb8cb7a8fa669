//! Tells an operator's webhook when tokens fail, need a human, and are well again, as
//! Standard Webhooks has it. Events are written beside what they tell of and sent later, so
//! that no renewal waits for a receiver.

pub mod delivery_worker;
pub mod event;
mod outbox;
mod signature;

use secrecy::SecretString;

use crate::foundation::clock::Ms;
use crate::realm::document::ProxyChoice;
pub use signature::{WebhookKey, WebhookKeyError};

/// Where events are sent.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// May hold a credential of its own.
    pub url: SecretString,
    pub key: WebhookKey,
    pub proxy: ProxyChoice,
    /// One try.
    pub timeout: Ms,
    /// Failures in a row that are an event.
    pub failing_after: i64,
    /// An event that nobody took for so long is dropped.
    pub max_age: Ms,
}

//! What is worth telling, and how it is told.

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};

use super::outbox;
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::ids::Generation;
use crate::foundation::randomness::Randomness;
use crate::realm::failure::Failure;
use crate::token::expiry::Expiry;
use crate::token::{Announced, TokenRecord};

/// What a failure announces; none: nothing new. `failures` counts it.
pub fn of_failure(
    announced: Option<Announced>,
    needs_attention: bool,
    failures: i64,
    failing_after: i64,
) -> Option<Announced> {
    match (announced, needs_attention) {
        (Some(Announced::NeedsAttention), _) | (Some(Announced::Failing), false) => None,
        (Some(Announced::Failing) | None, true) => Some(Announced::NeedsAttention),
        (None, false) => (failures >= failing_after).then_some(Announced::Failing),
    }
}

/// Something to tell, of the token as it was before.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Troubled {
        announced: Announced,
        failure: &'a Failure,
        failures: i64,
        /// None where none is due: a token that never expires.
        next_attempt: Option<EpochMs>,
    },
    /// Renewed, after trouble that was announced.
    Recovered {
        generation: Generation,
        expires_at: Option<EpochMs>,
    },
}

impl Event<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Troubled { announced, .. } => match announced {
                Announced::Failing => "token.failing",
                Announced::NeedsAttention => "token.needs_attention",
            },
            Self::Recovered { .. } => "token.recovered",
        }
    }

    fn data(&self, record: &TokenRecord, now: EpochMs) -> Value {
        let date = |at: Option<EpochMs>| at.map(EpochMs::to_rfc3339);
        let (realm, key) = (record.realm.as_str(), record.key.as_str());
        let trouble = record.trouble.as_ref();
        match self {
            Self::Troubled {
                failure,
                failures,
                next_attempt,
                ..
            } => json!({
                "realm": realm, "key": key, "generation": record.generation.0,
                "expires_at": date(record.held.as_ref().and_then(|held| held.payload.expiry.at())),
                "class": failure.class.as_str(), "detail": failure.detail,
                "failures": failures,
                "since": trouble.map_or(now, |trouble| trouble.since).to_rfc3339(),
                "next_attempt_at": date(*next_attempt),
            }),
            Self::Recovered {
                generation,
                expires_at,
            } => json!({
                "realm": realm, "key": key, "generation": generation.0,
                "expires_at": date(*expires_at),
                "since": date(trouble.map(|trouble| trouble.since)),
            }),
        }
    }

    fn body(&self, record: &TokenRecord, now: EpochMs) -> String {
        let body = json!({
            "type": self.kind(), "timestamp": now.to_rfc3339(), "data": self.data(record, now),
        });
        body.to_string()
    }
}

/// Says that a token which was in announced trouble is renewed.
pub fn of_recovery(before: &TokenRecord, expiry: Expiry) -> Option<Event<'static>> {
    before.announced.is_some().then(|| Event::Recovered {
        generation: Generation(before.generation.0 + 1),
        expires_at: expiry.at(),
    })
}

/// Writes events beside what they tell of, in the same transaction; each with its token as it
/// was before.
pub async fn append(
    database: &impl ConnectionTrait,
    events: &[(Event<'_>, &TokenRecord)],
    randomness: &Randomness,
    now: EpochMs,
) -> Result<(), DbErr> {
    let message = |(event, record): &(Event<'_>, &TokenRecord)| {
        let id = format!("msg_{}", randomness.id());
        (id, event.body(record, now))
    };
    outbox::append(database, events.iter().map(message).collect(), now).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_announced_once_and_the_worse_after_the_lesser() {
        let (passing, lasting) = (false, true);
        let (failing, attention) = (Announced::Failing, Announced::NeedsAttention);
        for (announced, failure, failures, expected) in [
            (None, passing, 2, None),
            (None, passing, 3, Some(failing)),
            (None, passing, 4, Some(failing)),
            (Some(failing), passing, 4, None),
            (None, lasting, 1, Some(attention)),
            (Some(failing), lasting, 4, Some(attention)),
            (Some(attention), lasting, 5, None),
            (Some(attention), passing, 6, None),
        ] {
            assert_eq!(of_failure(announced, failure, failures, 3), expected);
        }
    }
}

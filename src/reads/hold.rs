//! Readers never storm a provider: when it is not asked for a token.

use super::served::{RETRY_SOON, ReadError, unavailable};
use super::wording::what_failed;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::realm::Realm;
use crate::realm::failure::FailureClass;
use crate::token::TokenRecord;
use crate::token::expiry::attempt_floor;

/// Readers never storm a provider: who is parked, backing off or limited is not asked.
pub(super) fn holding_back(record: &TokenRecord, realm: &Realm, now: EpochMs) -> Option<ReadError> {
    if record.paused {
        return Some(unavailable(None, "renewal is paused", RETRY_SOON));
    }
    if let Some(until) = realm.blocked_until.filter(|until| *until > now) {
        return Some(unavailable(
            Some(FailureClass::RateLimited),
            "the provider limits the rate",
            until.since(now),
        ));
    }
    if let Some(wait) = within_floor(record, now) {
        return Some(unavailable(None, "the token was renewed moments ago", wait));
    }
    let trouble = record.trouble.as_ref()?;
    let again = record.renew_at.filter(|again| *again > now)?;
    let failed = what_failed(trouble.class, &trouble.detail);
    Some(unavailable(
        Some(trouble.class),
        &format!("{failed}; the next attempt is not due"),
        again.since(now),
    ))
}

/// A token that was just obtained is not asked for again, however much life a caller
/// wants left: no `min_ttl_s` makes a loop.
fn within_floor(record: &TokenRecord, now: EpochMs) -> Option<Ms> {
    let held = record.held.as_ref().filter(|_| record.lease.is_none())?;
    let lead = held.payload.expiry.at()?.since(record.renew_at?);
    let until = held.obtained_at.plus(attempt_floor(lead));
    Some(until.since(now)).filter(|wait| *wait > Ms::ZERO)
}

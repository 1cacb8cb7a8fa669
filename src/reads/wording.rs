//! What callers are told where there is no token, or where none was renewed.

use crate::realm::failure::FailureClass;
use crate::renewal::damage::DAMAGED;

pub(super) const QUOTA_SPENT: &str = "the provider's quota is used up";
pub(super) const NOT_IN_TIME: &str = "the token is being fetched; it did not arrive in time";
pub(super) const EXPIRED_MEANWHILE: &str = "the token expired while it was fetched";
pub(super) const DATABASE_UNUSABLE: &str = "the database cannot be used now";
pub(super) const REALM_UNREADABLE: &str = "the realm cannot be read by this server";

/// Which side failed, and why.
pub(super) fn what_failed(class: FailureClass, detail: &str) -> String {
    let who = match class {
        FailureClass::Transient => "the provider did not issue a token",
        FailureClass::RateLimited => "the provider limits the rate",
        FailureClass::Permanent => "the provider refused",
        FailureClass::InvalidToken => {
            "the provider refused the token that this one is derived from"
        }
        FailureClass::Internal if detail.starts_with(DAMAGED) => {
            "what is stored for the secret is damaged"
        }
        FailureClass::Internal => "the realm's document failed",
    };
    format!("{who} ({detail})")
}

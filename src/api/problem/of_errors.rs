//! What becomes of the errors of rooms: a status, a code, and what they say of themselves.

use poem::http::StatusCode;

use super::Problem;
use crate::foundation::clock::Ms;
use crate::foundation::database::DbError;
use crate::foundation::ids::NameError;
use crate::foundation::page::PageError;
use crate::issuers::RecogniseError;
use crate::reads::ReadError;
use crate::registry::{Refusal, RegistryError};
use crate::ticket::inbox::InboxError;

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        let problem = Self::unavailable(
            "database_unavailable",
            "The database cannot be reached, or is too busy.",
            Ms::from_secs(1),
        );
        problem.because(error)
    }
}

impl From<sea_orm::DbErr> for Problem {
    fn from(error: sea_orm::DbErr) -> Self {
        DbError::from(error).into()
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        let name = match error {
            PageError::Number => "page",
            PageError::Size => "pageSize",
        };
        Self::invalid_parameter(name, error)
    }
}

impl Problem {
    pub fn of_name(name: &str, error: &NameError) -> Self {
        Self::invalid_parameter(name, error)
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => refusal.into(),
            RegistryError::Database(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = format!("{refusal}.");
        match refusal {
            Refusal::Faults(faults) => Self::invalid(faults),
            Refusal::UnknownRealm(_) => Self::not_found("unknown_realm", detail),
            Refusal::UnknownSecret { .. } => Self::not_found("unknown_secret", detail),
            Refusal::UnknownIssuer(_) => Self::not_found("unknown_issuer", detail),
            Refusal::IssuerTaken(_) => Self::conflict("issuer_taken", detail),
            Refusal::SecretsLackParams { .. } => Self::conflict("secrets_lack_params", detail),
            Refusal::RealmHasSecrets => Self::conflict("realm_has_secrets", detail),
            Refusal::UnknownPreset(_) => Self::not_found("unknown_preset", detail),
            Refusal::RealmExists(_) => Self::conflict("realm_exists", detail),
            Refusal::NoDocument => Self::conflict("realm_without_document", detail),
            Refusal::NotFixed => Self::conflict("realm_not_fixed", detail),
            Refusal::Denied(_) => Self::forbidden(detail),
            Refusal::ChangedMeanwhile => Self::conflict("changed_meanwhile", detail),
            Refusal::DamagedParams => Self::conflict("params_damaged", detail),
            Refusal::Sealed(_) | Refusal::Unreadable(_) => {
                Self::conflict("unreadable_here", detail)
            }
        }
    }
}

impl From<InboxError> for Problem {
    fn from(error: InboxError) -> Self {
        let detail = format!("{error}.");
        match error {
            InboxError::UnknownRealm => Self::not_found("unknown_realm", detail),
            InboxError::Refused(_) => Self::bad_request("push_refused", detail),
            InboxError::Busy => Self::unavailable("busy", detail, Ms::from_secs(1)),
            InboxError::Database(error) => error.into(),
        }
    }
}

impl From<RecogniseError> for Problem {
    fn from(error: RecogniseError) -> Self {
        let detail = format!("{error}.");
        match error {
            RecogniseError::Database(error) => error.into(),
            RecogniseError::IssuerUnavailable { retry_after, .. } => {
                Self::unavailable("issuer_unavailable", detail, retry_after)
            }
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let detail = format!("{error}.");
        match error {
            // The predecessor's statuses: 400 and 417.
            ReadError::UnknownSecret => Self::bad_request("unknown_secret", detail),
            ReadError::FixedFlushed => Self::new(
                StatusCode::EXPECTATION_FAILED,
                "fixed_token_flushed",
                detail,
            ),
            ReadError::FixedMissing | ReadError::FixedDamaged => Self::new(
                StatusCode::EXPECTATION_FAILED,
                "fixed_token_missing",
                detail,
            ),
            ReadError::Unavailable {
                class, retry_after, ..
            } => Self {
                class: class.map(|class| class.as_str()),
                ..Self::unavailable("token_unavailable", detail, retry_after)
            },
            ReadError::Sealed(_) => Self::unavailable("unreadable_here", detail, Ms::from_secs(60)),
            ReadError::Database(error) => error.into(),
        }
    }
}

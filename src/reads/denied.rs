//! Why a flush has renewed nothing: a code for programs, a sentence for humans.

use strum::VariantArray;

use super::flight_outcome::FlightOutcome;
use super::wording::{
    DATABASE_UNUSABLE, EXPIRED_MEANWHILE, NOT_IN_TIME, QUOTA_SPENT, REALM_UNREADABLE, what_failed,
};
use crate::realm::failure::FailureClass;
use crate::renewal::quota::Spent;
use crate::token::Wait;

/// Why a flush that was asked for has renewed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlushDenied {
    /// `flush` was neither yes nor no.
    UnknownValue,
    /// The token that the caller named has been replaced since.
    EarlierGeneration,
    Paused,
    /// A human must change something, and the next probe is not due.
    NeedsAttention,
    /// The last attempt failed, and the next is not due.
    BackingOff,
    /// The provider limits the rate of the whole realm.
    RateLimited,
    /// The previous token still works.
    WithinGrace,
    QuotaSpent,
    /// The budget for replacing refused tokens.
    ForcedQuotaSpent,
    MinInterval,
    /// An attempt was made, and failed.
    Failed {
        class: FailureClass,
        detail: String,
    },
    /// Something must come first: a parent's token, a pushed ticket.
    Waiting(String),
    /// The renewal takes longer than a caller waits.
    NotInTime,
    ExpiredMeanwhile,
    /// The provider answered the token that was reported as refused.
    TokenRepeated,
    DatabaseUnavailable,
}

/// The same for programs. Stable: callers match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum FlushDeniedCode {
    EarlierGeneration,
    MinInterval,
    WithinGrace,
    QuotaSpent,
    ForcedQuotaSpent,
    Paused,
    BackingOff,
    NeedsAttention,
    RateLimited,
    Waiting,
    NotInTime,
    ProviderFailed,
    RealmFailed,
    TokenRepeated,
    ExpiredMeanwhile,
    DatabaseUnavailable,
    UnknownFlushValue,
}

impl FlushDeniedCode {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::EarlierGeneration => "earlier_generation",
            Self::MinInterval => "min_interval",
            Self::WithinGrace => "within_grace",
            Self::QuotaSpent => "quota_spent",
            Self::ForcedQuotaSpent => "forced_quota_spent",
            Self::Paused => "paused",
            Self::BackingOff => "backing_off",
            Self::NeedsAttention => "needs_attention",
            Self::RateLimited => "rate_limited",
            Self::Waiting => "waiting",
            Self::NotInTime => "not_in_time",
            Self::ProviderFailed => "provider_failed",
            Self::RealmFailed => "realm_failed",
            Self::TokenRepeated => "token_repeated",
            Self::ExpiredMeanwhile => "expired_meanwhile",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::UnknownFlushValue => "unknown_flush_value",
        }
    }
}

impl FlushDenied {
    pub fn code(&self) -> FlushDeniedCode {
        use FlushDeniedCode as Code;
        match self {
            Self::UnknownValue => Code::UnknownFlushValue,
            Self::EarlierGeneration => Code::EarlierGeneration,
            Self::Paused => Code::Paused,
            Self::NeedsAttention => Code::NeedsAttention,
            Self::BackingOff => Code::BackingOff,
            Self::RateLimited => Code::RateLimited,
            Self::WithinGrace => Code::WithinGrace,
            Self::QuotaSpent => Code::QuotaSpent,
            Self::ForcedQuotaSpent => Code::ForcedQuotaSpent,
            Self::MinInterval => Code::MinInterval,
            Self::Failed { class, .. } => match class {
                FailureClass::RateLimited => Code::RateLimited,
                FailureClass::Internal => Code::RealmFailed,
                FailureClass::Transient | FailureClass::Permanent | FailureClass::InvalidToken => {
                    Code::ProviderFailed
                }
            },
            Self::Waiting(_) => Code::Waiting,
            Self::NotInTime => Code::NotInTime,
            Self::ExpiredMeanwhile => Code::ExpiredMeanwhile,
            Self::TokenRepeated => Code::TokenRepeated,
            Self::DatabaseUnavailable => Code::DatabaseUnavailable,
        }
    }

    pub(super) fn unreadable_realm() -> Self {
        Self::Failed {
            class: FailureClass::Internal,
            detail: REALM_UNREADABLE.to_owned(),
        }
    }

    pub(super) fn beyond(spent: Spent) -> Self {
        if spent.forced {
            Self::ForcedQuotaSpent
        } else {
            Self::QuotaSpent
        }
    }

    /// Of a flight that brought nothing to be served.
    pub(super) fn after(outcome: &FlightOutcome) -> Self {
        match outcome {
            FlightOutcome::Failed { class, detail, .. } => Self::Failed {
                class: *class,
                detail: detail.clone(),
            },
            FlightOutcome::Waiting(waiting) => match waiting.until {
                Wait::Quota(_) => Self::QuotaSpent,
                Wait::Parent(_)
                | Wait::Registration
                | Wait::Ticket(_)
                | Wait::Candidate(_)
                | Wait::OtherServer(_) => Self::Waiting(waiting.why.clone()),
            },
            FlightOutcome::Spent(spent) => Self::beyond(*spent),
            FlightOutcome::Sealed(error) => Self::Waiting(error.to_string()),
            FlightOutcome::Fetched(_) => Self::ExpiredMeanwhile,
            FlightOutcome::Elsewhere(_) | FlightOutcome::StillWaiting => Self::NotInTime,
            FlightOutcome::GoneOrPaused => Self::Paused,
            FlightOutcome::DatabaseFailed => Self::DatabaseUnavailable,
        }
    }
}

impl std::fmt::Display for FlushDenied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnknownValue => {
                "flush was neither true nor 1, and neither false nor 0: it was taken as false"
            }
            Self::EarlierGeneration => "the token that was named is no longer the current one",
            Self::Paused => "renewal is paused",
            Self::NeedsAttention => {
                "the secret needs attention: save it or its realm once the cause is mended; the next attempt is not due"
            }
            Self::BackingOff => "the last attempt failed, and the next is not due",
            Self::RateLimited => "the provider limits the rate",
            Self::WithinGrace => {
                "the previous token is within its grace; give the generation that was refused"
            }
            Self::QuotaSpent => QUOTA_SPENT,
            Self::ForcedQuotaSpent => "the budget for replacing refused tokens is used up",
            Self::MinInterval => "the last renewal is more recent than the minimum flush interval",
            Self::Failed { class, detail } => return f.write_str(&what_failed(*class, detail)),
            Self::Waiting(why) => why,
            Self::NotInTime => NOT_IN_TIME,
            Self::ExpiredMeanwhile => EXPIRED_MEANWHILE,
            Self::TokenRepeated => "the provider answered the same token again",
            Self::DatabaseUnavailable => DATABASE_UNUSABLE,
        })
    }
}

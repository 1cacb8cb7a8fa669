//! Why a sign-in by OpenID Connect has come to nothing, as the page and the audit are told.

use std::fmt;

use strum::VariantArray;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum SignInProblem {
    /// The provider or the human refused.
    Denied,
    /// None is under way in that browser, or it was used up, or it took too long.
    NotUnderWay,
    /// The provider cannot be asked.
    Unavailable,
    /// The provider answered that this client, or what it asks for, is not as it has it registered.
    Refused,
    /// What came is not of that provider, or not for this client and this sign-in.
    Untrusted,
    /// No rule gives anything to whoever that is.
    NoRule,
    /// The address signs in too often.
    TooMany,
}

impl SignInProblem {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// As the sign-in page is told.
    pub fn code(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotUnderWay => "not_under_way",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Untrusted => "untrusted",
            Self::NoRule => "no_rule",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for SignInProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "the provider or the human refused the sign-in",
            Self::NotUnderWay => "no such sign-in is under way in that browser",
            Self::Unavailable => "the provider cannot be asked",
            Self::Refused => "the provider refused what this server asked",
            Self::Untrusted => "what came is not what the provider answers to this sign-in",
            Self::NoRule => "meets no rule of console.oidc",
            Self::TooMany => "more sign-ins than the rate of an address allows",
        })
    }
}

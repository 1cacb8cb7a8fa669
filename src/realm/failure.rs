//! What goes wrong with a provider, by what follows from it.

use strum::VariantArray;

use crate::foundation::clock::Ms;

/// Longer details are cut.
const DETAIL_MAX_CHARS: usize = 1000;

/// Why a secret needs another refresh token: the provider refused the one that is stored.
pub const REFUSED: &str = "refresh_token_refused";
/// An attempt whose outcome never came may have used it up.
pub const MAYBE_SPENT: &str = "refresh_token_maybe_spent";

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum FailureClass {
    /// Will pass: backed off with jitter, tried again.
    Transient,
    /// The provider asked for fewer requests.
    RateLimited,
    /// Will not pass by itself: wrong secret, address not allowed. Parked, probed slowly.
    Permanent,
    /// The provider refused the token that this one is derived from.
    InvalidToken,
    /// This server's own, or its configuration's: a value that cannot be opened, a template
    /// that fails, an answer without an expiry, an address that policy forbids. Parked with
    /// the reason.
    Internal,
}

impl FailureClass {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Permanent => "permanent",
            Self::InvalidToken => "invalid_token",
            Self::Internal => "internal",
        }
    }

    /// Reads a stored class, also by the name that an earlier version gave it.
    pub fn parse(text: &str) -> Option<Self> {
        let of_name = |class: &Self| class.as_str() == text || class.earlier_name() == Some(text);
        Self::ALL.iter().copied().find(of_name)
    }

    /// The name under which an earlier version stored the class.
    pub fn earlier_name(self) -> Option<&'static str> {
        match self {
            Self::Internal => Some("ours"),
            Self::Transient | Self::RateLimited | Self::Permanent | Self::InvalidToken => None,
        }
    }

    /// Whether nobody but a human can help: time does not.
    fn needs_human(self) -> bool {
        match self {
            Self::Internal => true,
            Self::Transient | Self::RateLimited | Self::Permanent | Self::InvalidToken => false,
        }
    }

    /// Whether it holds for all secrets of the realm, unless it is said to be of one.
    fn is_of_the_realm(self) -> bool {
        match self {
            Self::RateLimited => true,
            Self::Transient | Self::Permanent | Self::InvalidToken | Self::Internal => false,
        }
    }

    /// Whether a request that was sent may have had its effect.
    fn is_unclear(self) -> bool {
        match self {
            Self::Transient => true,
            Self::RateLimited | Self::Permanent | Self::InvalidToken | Self::Internal => false,
        }
    }

    /// Whether it will not pass by itself.
    pub fn parks(self) -> bool {
        match self {
            Self::Permanent | Self::Internal => true,
            Self::Transient | Self::RateLimited | Self::InvalidToken => false,
        }
    }
}

/// Whether the provider answered that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderRefusal {
    /// It did not: no answer came, or one that says nothing about the request.
    No,
    /// It did, with a code that says why.
    Reasoned,
    /// It did, with a status alone or with a code that nobody has declared. That may be a
    /// firewall on the way, and only where it repeats it is believed.
    Unreasoned,
}

/// A failed attempt. `detail` holds no secret, no token and no piece of an answer but
/// the provider's own error code and message, with parameters masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: FailureClass,
    pub detail: String,
    /// The provider's own error code.
    pub code: Option<String>,
    /// The refresh token was refused (RFC 6749, section 5.2: `invalid_grant`).
    pub grant_refused: bool,
    pub refusal: ProviderRefusal,
    /// Nobody but a human can help: it is not tried again soon, not even after a save.
    pub needs_human: bool,
    /// Whether the request may have reached the provider.
    pub sent: bool,
    /// How long the provider asked to be left alone.
    pub retry_after: Option<Ms>,
    /// A rate limit of this secret alone, as the realm declares its code; otherwise it
    /// holds for the realm.
    pub secret_scoped: bool,
}

impl Failure {
    pub fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        Self {
            class,
            // Names and paths of the document stand in it, and they may hold anything.
            detail: detail
                .chars()
                .filter(|c| !c.is_control())
                .take(DETAIL_MAX_CHARS)
                .collect(),
            code: None,
            grant_refused: false,
            refusal: ProviderRefusal::No,
            needs_human: class.needs_human(),
            sent: true,
            retry_after: None,
            secret_scoped: false,
        }
    }

    pub fn transient(detail: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, detail)
    }

    /// The same, and what else is to be said of it; the class stays.
    pub fn and(self, more: &str) -> Self {
        let detail = format!("{}; {more}", self.detail);
        Self {
            detail: Self::new(self.class, detail).detail,
            ..self
        }
    }

    /// Whether all requests to the realm must wait.
    pub fn blocks_realm(&self) -> bool {
        self.class.is_of_the_realm() && !self.secret_scoped
    }

    /// Nothing was sent: the same may be tried again without harm.
    pub fn unsent(self) -> Self {
        Self {
            sent: false,
            ..self
        }
    }

    /// A human must give the secret another refresh token.
    pub fn needs_another_refresh_token(self, why: &str) -> Self {
        Self {
            // First, so that it is not what is cut off.
            detail: Self::permanent(format!(
                "{why} (save another as the secret's parameter refresh_token): {}",
                self.detail
            ))
            .detail,
            class: FailureClass::Permanent,
            // A provider may take a moment to know the one that was just given.
            needs_human: why != REFUSED,
            ..self
        }
    }

    /// Whether the provider refused, or something else went wrong that will not pass by itself where
    /// it repeats.
    pub fn counts_as_refusal(&self) -> bool {
        self.class.parks()
            || self.class == FailureClass::InvalidToken
            || self.refusal == ProviderRefusal::Unreasoned
    }

    /// Whether what was sent may have had an effect that nobody was told of.
    pub fn is_unclear(&self) -> bool {
        self.sent && self.class.is_unclear() && self.refusal == ProviderRefusal::No
    }

    pub fn permanent(detail: impl Into<String>) -> Self {
        Self::new(FailureClass::Permanent, detail)
    }

    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(FailureClass::Internal, detail)
    }
}

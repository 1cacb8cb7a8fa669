//! What a key is good for. No scope contains another, but for `admin`.

use std::fmt;

use strum::VariantArray;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum Scope {
    TokenRead,
    TokenFlush,
    RealmRead,
    RealmWrite,
    SecretRead,
    SecretWrite,
    KeyWrite,
    AuditRead,
    Metrics,
    /// Stands for all that an administrator does.
    Admin,
}

impl Scope {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenRead => "token:read",
            Self::TokenFlush => "token:flush",
            Self::RealmRead => "realm:read",
            Self::RealmWrite => "realm:write",
            Self::SecretRead => "secret:read",
            Self::SecretWrite => "secret:write",
            Self::KeyWrite => "key:write",
            Self::AuditRead => "audit:read",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }

    /// Whether `admin` stands for it. Tokens are read and flushed by whoever uses them.
    pub fn is_of_admin(self) -> bool {
        match self {
            Self::TokenRead | Self::TokenFlush => false,
            Self::RealmRead
            | Self::RealmWrite
            | Self::SecretRead
            | Self::SecretWrite
            | Self::KeyWrite
            | Self::AuditRead
            | Self::Metrics
            | Self::Admin => true,
        }
    }

    /// Whether what it opens is of all realms and secrets: a key with patterns cannot have it.
    pub fn concerns_all(self) -> bool {
        match self {
            Self::TokenRead
            | Self::TokenFlush
            | Self::RealmRead
            | Self::RealmWrite
            | Self::SecretRead
            | Self::SecretWrite => false,
            Self::KeyWrite | Self::AuditRead | Self::Metrics | Self::Admin => true,
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

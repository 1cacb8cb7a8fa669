//! The names of issuers.

use std::fmt;

/// How a registered issuer is called here: small letters, digits, `.`, `_` and `-`. It stands
/// in the names of its callers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerName(String);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have 1 to {max} characters, which are small letters, digits, '.', '_' and '-', and begin with a letter or a digit",
    max = IssuerName::MAX_CHARS
)]
pub struct IssuerNameError;

impl IssuerName {
    /// The longest, in characters.
    pub const MAX_CHARS: usize = 64;
    /// What a name must match, in words of ECMA 262.
    pub const PATTERN: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";

    pub fn new(name: String) -> Result<Self, IssuerNameError> {
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let begins = name.bytes().next().is_some_and(is_plain);
        let goes_on = name.bytes().all(|c| is_plain(c) || b"._-".contains(&c));
        match begins && goes_on && name.len() <= Self::MAX_CHARS {
            true => Ok(Self(name)),
            false => Err(IssuerNameError),
        }
    }

    /// A name that was checked before it was stored.
    pub fn stored(name: String) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_short() {
        for good in ["k8s", "github-actions", "a", "0.b_c"] {
            assert!(IssuerName::new(good.to_owned()).is_ok(), "{good}");
        }
        let long = "a".repeat(IssuerName::MAX_CHARS + 1);
        for bad in ["", "A", "a:b", "a b", ".a", "-a", "ä", "a\n", &long] {
            assert!(IssuerName::new(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}

//! The names of issuers, and the names that only their callers have.

use std::fmt;

use super::jwt::NAME_PREFIX;

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

/// Whether an API key of that name could be taken for the caller of an issuer: it begins as theirs
/// do, in letters of either case or of full width, whatever blanks and signs that nobody sees are
/// among them.
pub fn is_reserved(name: &str) -> bool {
    let narrow = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        other => other,
    };
    let is_seen = |c: &char| c.is_alphanumeric() || c.is_ascii_punctuation();
    let seen = name.chars().map(narrow).filter(is_seen);
    let begin: Vec<char> = seen.take(NAME_PREFIX.len()).collect();
    // A letter of another script may look like one of these.
    let is_alike = |(one, other): (&char, char)| {
        one.eq_ignore_ascii_case(&other) || other != ':' && !one.is_ascii()
    };
    let is_as_long = begin.len() == NAME_PREFIX.len();
    is_as_long && begin.iter().zip(NAME_PREFIX.chars()).all(is_alike)
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

    #[test]
    fn names_that_look_like_those_of_an_issuers_callers_are_reserved() {
        for reserved in [
            "jwt:k8s:somebody",
            "JWT:x",
            " jwt:x",
            "j\u{200b}wt:x",
            "\u{ff4a}\u{ff57}\u{ff54}\u{ff1a}x",
            "jwt\u{ad}:",
        ] {
            assert!(is_reserved(reserved), "{reserved:?}");
        }
        for free in ["jwt", "my jwt:x", "jw:t", "bootstrap-admin", ""] {
            assert!(!is_reserved(free), "{free:?}");
        }
    }
}

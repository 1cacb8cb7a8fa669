//! Names and numbers that must not be mixed up.

use std::fmt;

use serde_json::{Value, json};

/// The longest name of a realm or a key, in characters: what the database's columns hold.
pub const NAME_MAX_CHARS: usize = 255;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("must not be longer than {NAME_MAX_CHARS} characters")]
    TooLong,
    #[error("must not contain control characters or surrounding blanks")]
    Unprintable,
    #[error("must not be . or .., which no path can name")]
    Dots,
}

fn checked_name(name: String) -> Result<String, NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.chars().count() > NAME_MAX_CHARS {
        Err(NameError::TooLong)
    } else if name.chars().any(char::is_control) || name.trim() != name {
        Err(NameError::Unprintable)
    } else if name == "." || name == ".." {
        Err(NameError::Dots)
    } else {
        Ok(name)
    }
}

/// The JSON Schema of a name: what `checked_name` takes, in words of ECMA 262 (which counts U+FEFF
/// as a blank, too).
pub fn name_schema() -> Value {
    let control = r"\x00-\x1f\x7f-\x9f";
    let blank = format!(r"\s{control}");
    // One character, two, or more; neither a blank at an end, nor `.` or `..`.
    let one = format!("[^.{blank}]");
    let two = format!(r"\.[^.{blank}]|[^.{blank}][^{blank}]");
    let more = format!("[^{blank}][^{control}]+[^{blank}]");
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": NAME_MAX_CHARS,
        "pattern": format!("^(?:{one}|{two}|{more})$"),
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                checked_name(name.into()).map(Self)
            }

            /// A name that was checked before it was stored.
            pub fn stored(name: String) -> Self {
                Self(name)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a realm. Exact: `A` and `a` are two realms.
    RealmId
}
name! {
    /// The name of a secret within its realm. Exact, too.
    KeyName
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub i64);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The row of a secret; its token's row has the same number.
    SecretId
}
number! {
    /// Counts the tokens stored for a secret; 0 before the first.
    Generation
}
number! {
    /// Counts the claims of a token: a result is stored only under the fence it was claimed with.
    Fence
}
number! {
    /// Counts the refresh tokens that humans gave a secret: what was obtained with one of
    /// an earlier line is of no use.
    RefreshLine
}
number! {
    /// Counts the changes of a realm or a secret.
    Version
}

/// What claims one token, or several at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimId(String);

impl ClaimId {
    pub fn new(id: String) -> Self {
        Self(id)
    }

    /// Each token that is claimed has an attempt of its own.
    pub fn attempt(&self, secret: SecretId) -> AttemptId {
        AttemptId(format!("{}-{secret}", self.0))
    }
}

/// One attempt for one token, under one claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttemptId(pub String);

/// A running server, among others on the same database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaId(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_name_takes_what_a_name_may_be() {
        let schema = name_schema();
        let pattern = schema["pattern"].as_str().unwrap();
        // Here `\s` is of ASCII only; in ECMA 262 it is this.
        let blanks = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
        let pattern = regex_lite::Regex::new(&pattern.replace(r"\s", blanks)).unwrap();
        for name in [
            "a",
            "ab",
            "a b",
            "abc",
            ".a",
            "a.",
            "...",
            "..a",
            "a..",
            "é",
            "名",
            "a\u{feff}",
            "😀",
            "",
            ".",
            "..",
            " ",
            "a ",
            " a",
            "\u{3000}a",
            "a\u{2029}",
            "a\n",
            "\n",
            "a\nb",
            "a\0b",
            "a\u{85}b",
            "\u{85}",
            "a\u{7f}",
            "a\tb",
            "a\u{a0}",
            "\u{1680}",
            "a \u{205f}",
        ] {
            let taken = checked_name(name.to_owned()).is_ok();
            assert_eq!(pattern.is_match(name), taken, "{name:?}");
        }
    }
}

//! How a provider's answer is read: its form, its token and how long that lives, its refusals.

use regex_lite::Regex;

use crate::realm::date_form::DateForm;
use crate::realm::expression::{Expression, Template};
use crate::realm::failure::FailureClass;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    #[default]
    Json,
    Text,
    Xml,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// Where a value stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extraction {
    /// Dotted; a literal key of that name wins.
    Path(String),
    Expression(Expression),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryUnit {
    #[default]
    Seconds,
    Milliseconds,
    /// Text with colons is `D:HH:MM`.
    DaysClock,
    /// Text with colons is `H:MM:SS`.
    HoursClock,
}

/// Where an answer says how long its token lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryRule {
    pub stated: Option<StatedExpiry>,
    pub default: Option<DefaultExpiry>,
}

/// How long a token lives in seconds, where the answer says nothing; 0: it does not expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultExpiry {
    Seconds(i64),
    /// A whole number, once rendered: a secret's parameter may say it.
    Template(Template),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatedExpiry {
    In(Extraction, ExpiryUnit),
    At(Extraction, DateForm),
}

impl StatedExpiry {
    pub fn extraction(&self) -> &Extraction {
        match self {
            Self::In(extraction, _) | Self::At(extraction, _) => extraction,
        }
    }
}

/// What is taken from a good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRule {
    pub token: Extraction,
    pub expiry: ExpiryRule,
    pub refresh_token: Option<Extraction>,
    pub refresh_expires_in_path: Option<String>,
    /// Stored and served with the token.
    pub extra: Vec<(String, Expression)>,
}

/// How a refusal is read and classed.
#[derive(Clone, Debug, Default)]
pub struct ErrorRule {
    pub code: Option<Expression>,
    pub message: Option<Expression>,
    /// The first that is found in code or message decides, before the codes.
    pub patterns: Vec<(Regex, Declared)>,
    pub classes: Vec<(String, Declared)>,
}

impl ErrorRule {
    /// What the document says of a refusal.
    pub fn declared(&self, code: Option<&str>, message: Option<&str>) -> Option<Declared> {
        let found = |pattern: &Regex| {
            [code, message]
                .into_iter()
                .flatten()
                .any(|text| pattern.is_match(text))
        };
        let by_pattern = self.patterns.iter().find(|(pattern, _)| found(pattern));
        let by_code = || {
            self.classes
                .iter()
                .find(|(known, _)| Some(known.as_str()) == code)
        };
        by_pattern
            .map(|(_, declared)| *declared)
            .or_else(|| by_code().map(|(_, declared)| *declared))
    }
}

/// The class that a document gives a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    Permanent,
    RateLimited,
    Transient,
    InvalidToken,
    /// What `invalid_grant` says of a refresh token (RFC 6749, section 5.2).
    InvalidGrant,
}

impl Declared {
    /// By their names in documents.
    pub const ALL: [(&'static str, Self); 5] = [
        ("permanent", Self::Permanent),
        ("rate_limited", Self::RateLimited),
        ("transient", Self::Transient),
        ("invalid_token", Self::InvalidToken),
        ("invalid_grant", Self::InvalidGrant),
    ];

    pub fn class(self) -> FailureClass {
        match self {
            Self::Permanent | Self::InvalidGrant => FailureClass::Permanent,
            Self::RateLimited => FailureClass::RateLimited,
            Self::Transient => FailureClass::Transient,
            Self::InvalidToken => FailureClass::InvalidToken,
        }
    }
}

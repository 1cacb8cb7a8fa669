//! Numbers as providers write them, and why a length or a time is not believed.

use serde_json::Value;

/// Why a length or a point of time is not believed. It never repeats the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFault {
    #[error("cannot be read")]
    Unreadable,
    #[error("is ambiguous: {0}")]
    Ambiguous(&'static str),
    #[error("is implausible: {0}")]
    Implausible(&'static str),
}

pub(super) const SECOND_MS: f64 = 1000.0;

/// A number as a provider wrote it, whole ones exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Fraction(f64),
}

impl Number {
    /// A number, or a text that is one. A text such as `inf` is none.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => return None,
        };
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
        let number: f64 = text.chars().all(numeric).then(|| text.parse().ok())??;
        Some(Self::Fraction(number))
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            // Beyond 2^53 it is rounded, and implausible by far as what it is asked for here.
            #[allow(clippy::cast_precision_loss)]
            Self::Whole(whole) => whole as f64,
            Self::Fraction(number) => number,
        }
    }
}

/// The whole part of a number that is within ±2^53, where the conversion is exact.
pub(super) fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)]
    (number.abs() <= LIMIT).then(|| number.trunc() as i64)
}

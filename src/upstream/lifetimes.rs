//! Lengths and points of time as providers write them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use crate::foundation::clock::{EpochMs, Ms};
use crate::realm::document::{ExpiryUnit, LIFETIME_MAX_S};

/// A number this large is milliseconds since the epoch, a smaller one seconds.
const EPOCH_MS_FROM: f64 = 100_000_000_000.0;
const SECOND_MS: f64 = 1000.0;
/// Points in time without a zone are UTC.
const WITHOUT_ZONE: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];

/// A length of life, cut at ten years: a token that long is renewed in time anyway.
pub fn length_of(value: &Value, unit: ExpiryUnit) -> Option<Ms> {
    let ms = match (number_of(value), unit) {
        (Some(number), ExpiryUnit::Seconds) => number * SECOND_MS,
        (Some(number), ExpiryUnit::Milliseconds) => number,
        (None, _) => {
            let text = value.as_str()?.trim();
            units(text).or_else(|| clock(text))?
        }
    };
    whole(ms).map(|ms| Ms(ms).min(Ms::from_secs(LIFETIME_MAX_S)))
}

/// `24h`, `1d12h`, `500ms`.
fn units(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut ms = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = match rest[..end].to_ascii_lowercase().as_str() {
            "ms" => 1.0,
            "s" | "sec" | "second" | "seconds" => SECOND_MS,
            "m" | "min" | "minute" | "minutes" => 60.0 * SECOND_MS,
            "h" | "hour" | "hours" => 3600.0 * SECOND_MS,
            "d" | "day" | "days" => 86_400.0 * SECOND_MS,
            _ => return None,
        };
        ms += number * unit;
        rest = rest[end..].trim_start();
    }
    (!text.is_empty()).then_some(ms)
}

/// `D:HH:MM`: days, hours, minutes.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<f64> = text
        .split(':')
        .map(|part| part.parse::<u32>().map(f64::from))
        .collect::<Result<_, _>>()
        .ok()?;
    match parts[..] {
        [days, hours, minutes] => Some(((days * 24.0 + hours) * 60.0 + minutes) * 60.0 * SECOND_MS),
        _ => None,
    }
}

/// Epoch seconds or milliseconds (number or string), RFC 3339, or an HTTP date.
pub fn moment_of(value: &Value) -> Option<EpochMs> {
    if let Some(number) = number_of(value) {
        let ms = if number >= EPOCH_MS_FROM {
            number
        } else {
            number * SECOND_MS
        };
        return whole(ms).map(EpochMs);
    }
    let text = value.as_str()?.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(EpochMs(moment.timestamp_millis()));
    }
    // ISO 8601 also writes the zone as +0000.
    if let Ok(moment) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Some(EpochMs(moment.timestamp_millis()));
    }
    let naive = WITHOUT_ZONE
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    naive
        .map(|moment| EpochMs(moment.and_utc().timestamp_millis()))
        .or_else(|| http_date(text))
}

pub fn http_date(text: &str) -> Option<EpochMs> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(EpochMs(Ms::from(since).0))
}

/// The `exp` claim of a token that is a JWT (RFC 7519, section 4.1.4). Only the date is
/// taken from it, so the signature does not matter here.
pub fn jwt_expiry(token: &str) -> Option<EpochMs> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let seconds = claims.get("exp")?.as_f64()?;
    whole(seconds * SECOND_MS).map(EpochMs)
}

/// A number, or a string that is one.
fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The whole part of a number that fits far within 64 bits; larger ones are cut.
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_000_000_000_000_000.0;
    // Within ±2^53 the conversion is exact.
    #[allow(clippy::cast_possible_truncation)]
    number
        .is_finite()
        .then(|| number.clamp(-LIMIT, LIMIT).trunc() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_length_is_a_number_a_numeric_string_or_text_with_units() {
        for (value, ms) in [
            (json!(7200), 7_200_000),
            (json!("7200"), 7_200_000),
            (json!(" 1.5 "), 1500),
            (json!("24h"), 86_400_000),
            (json!("1d 12h"), 129_600_000),
            (json!("30 minutes"), 1_800_000),
            (json!("1:02:03"), 93_780_000),
            (json!(-1), -1000),
            (json!(1e300), LIFETIME_MAX_S * 1000),
        ] {
            assert_eq!(
                length_of(&value, ExpiryUnit::Seconds),
                Some(Ms(ms)),
                "{value}"
            );
        }
        assert_eq!(
            length_of(&json!(1500), ExpiryUnit::Milliseconds),
            Some(Ms(1500))
        );
        for value in [
            json!("NaN"),
            json!("inf"),
            json!("h"),
            json!("12x"),
            json!(""),
            json!([1]),
            json!("1:2"),
        ] {
            assert_eq!(length_of(&value, ExpiryUnit::Seconds), None, "{value}");
        }
    }

    #[test]
    fn a_moment_is_read_in_every_form_that_providers_write() {
        let moment = Some(EpochMs(1_767_323_045_000));
        for value in [
            json!(1_767_323_045),
            json!("1767323045"),
            json!(1_767_323_045_000_i64),
            json!("1767323045000"),
            json!("2026-01-02T03:04:05Z"),
            json!("2026-01-02T11:04:05+08:00"),
            json!("2026-01-02T11:04:05.000+0800"),
            json!("2026-01-02T03:04:05"),
            json!("2026-01-02 03:04:05"),
            json!("Fri, 02 Jan 2026 03:04:05 GMT"),
        ] {
            assert_eq!(moment_of(&value), moment, "{value}");
        }
        for value in [json!("soon"), json!(""), json!(null), json!({})] {
            assert_eq!(moment_of(&value), None, "{value}");
        }
    }
}

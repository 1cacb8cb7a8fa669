//! `now`, `uuid` and `nonce`: drawn once for an attempt, so that what stands in a request
//! twice is the same twice.

use std::fmt::Write;

use chrono::{DateTime, FixedOffset, Utc};
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use crate::foundation::clock::EpochMs;
use crate::foundation::hex;
use crate::foundation::randomness::Randomness;

const NONCE_MAX_BYTES: usize = 64;
const NONCE_DEFAULT_BYTES: usize = 16;
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%SZ";

/// The time of an attempt, and its randomness.
#[derive(Clone, Copy)]
pub struct AttemptValues {
    now: EpochMs,
    uuid: [u8; 16],
    nonce: [u8; NONCE_MAX_BYTES],
}

impl AttemptValues {
    pub fn draw(now: EpochMs, randomness: &Randomness) -> Self {
        Self {
            now,
            uuid: randomness.bytes(),
            nonce: randomness.bytes(),
        }
    }

    pub fn now(&self) -> EpochMs {
        self.now
    }

    /// A random UUID (RFC 9562, version 4).
    pub fn uuid(&self) -> String {
        let mut bytes = self.uuid;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let digits = hex(&bytes);
        [
            &digits[..8],
            &digits[8..12],
            &digits[12..16],
            &digits[16..20],
            &digits[20..],
        ]
        .join("-")
    }

    /// The names of `ALWAYS`, as functions.
    pub fn scope(&self) -> [(&'static str, Value); 3] {
        let values = *self;
        let now = move |format: Option<String>, offset: Option<i64>, kwargs: Kwargs| {
            let offset = kwargs.get::<Option<i64>>("offset_s")?.or(offset);
            let format = kwargs.get::<Option<String>>("format")?.or(format);
            let zone = kwargs.get::<Option<String>>("tz")?;
            kwargs.assert_all_used()?;
            values.written(format.as_deref(), offset.unwrap_or(0), zone.as_deref())
        };
        let uuid = self.uuid();
        let nonce = move |bytes: Option<usize>| {
            let bytes = bytes.unwrap_or(NONCE_DEFAULT_BYTES);
            let drawn = values.nonce.get(..bytes);
            drawn
                .map(hex)
                .ok_or_else(|| refused(format!("nonce: at most {NONCE_MAX_BYTES} bytes")))
        };
        [
            ("now", Value::from_function(now)),
            ("uuid", Value::from_function(move || uuid.clone())),
            ("nonce", Value::from_function(nonce)),
        ]
    }

    fn written(
        &self,
        format: Option<&str>,
        offset_s: i64,
        zone: Option<&str>,
    ) -> Result<Value, Error> {
        let ms = offset_s
            .checked_mul(1000)
            .and_then(|offset| self.now.0.checked_add(offset))
            .ok_or_else(|| refused("now: offset_s is out of range"))?;
        match format {
            Some("ms") => return Ok(ms.into()),
            Some("s") => return Ok(ms.div_euclid(1000).into()),
            _ => {}
        }
        let utc = DateTime::<Utc>::from_timestamp_millis(ms)
            .ok_or_else(|| refused("now: offset_s is out of range"))?;
        let zone: FixedOffset = zone
            .unwrap_or("+00:00")
            .parse()
            .map_err(|_| refused("now: tz must be an offset such as +08:00"))?;
        let format = format.unwrap_or(RFC_3339);
        let items = chrono::format::StrftimeItems::new(format)
            .parse()
            .map_err(|_| refused("now: the format is not one of strftime"))?;
        let local = utc.with_timezone(&zone);
        // Some items are for reading only, and cannot be written.
        let mut text = String::new();
        write!(text, "{}", local.format_with_items(items.iter()))
            .map_err(|_| refused("now: the format is not one that can be written"))?;
        Ok(text.into())
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::expression::Expressions;

    fn rendered(source: &str) -> Result<String, String> {
        let values = AttemptValues::draw(EpochMs(1_767_323_045_678), &Randomness::seeded(1));
        let expressions = Expressions::new();
        let template = expressions.template(&format!("a${{ {source} }}"));
        let value = expressions
            .render(
                &template.map_err(|error| error.to_string())?,
                &Value::from_pairs(values.scope()),
            )
            .map_err(|error| error.to_string())?;
        Ok(value.as_str().unwrap_or_default()[1..].to_owned())
    }

    #[test]
    fn now_is_written_as_providers_want_it() {
        for (source, expected) in [
            ("now('s')", "1767323045"),
            ("now('ms')", "1767323045678"),
            ("now('s', 60)", "1767323105"),
            ("now('s') + 60", "1767323105"),
            ("now()", "2026-01-02T03:04:05Z"),
            ("now(offset_s=-5)", "2026-01-02T03:04:00Z"),
            (
                "now('%Y-%m-%d %H:%M:%S', tz='+08:00')",
                "2026-01-02 11:04:05",
            ),
            ("now('%Y%m%d%H%M%S%3f')", "20260102030405678"),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(expected), "{source}");
        }
        for source in [
            "now('%Q')",
            "now('%#z')",
            "now(tz='Mars')",
            "now('s', 9223372036854775807)",
        ] {
            assert!(rendered(source).is_err(), "{source}");
        }
    }

    #[test]
    fn what_is_drawn_is_the_same_twice_within_an_attempt() {
        assert_eq!(rendered("uuid() == uuid()").as_deref(), Ok("true"));
        assert_eq!(rendered("nonce(8) == nonce(8)").as_deref(), Ok("true"));
        assert_eq!(rendered("nonce(8)|length").as_deref(), Ok("16"));
        assert_eq!(rendered("uuid()|length").as_deref(), Ok("36"));
        assert!(rendered("nonce(65)").is_err());
    }
}

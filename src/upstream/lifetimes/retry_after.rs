//! How long a provider asks to be left alone (RFC 9110, section 10.2.3).

use super::http_date;
use crate::foundation::clock::{EpochMs, Ms, Timeline};

/// Seconds, whole or not, or a date. The date is read against the answer's own `Date`, so that
/// no clock of ours matters, or by our clock where there is none.
pub fn retry_after(text: &str, date: Option<EpochMs>, now: EpochMs) -> Option<Ms> {
    /// A hundred years: the caller believes much less.
    const SECONDS_MAX: f64 = 3_153_600_000.0;
    let text = text.trim();
    let numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric && let Ok(seconds) = text.parse::<f64>() {
        // Within what is exact by far.
        #[allow(clippy::cast_possible_truncation)]
        return Some(Ms((seconds.min(SECONDS_MAX) * 1000.0).ceil() as i64));
    }
    let until = http_date(text)?;
    Some(until.since(date.unwrap_or(now)).max(Ms::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_by_the_providers_clock() {
        let (now, date) = (EpochMs(1_767_323_045_000), EpochMs(1_767_326_645_000));
        for (text, with_date, without) in [
            ("120", 120_000, 120_000),
            ("120.0", 120_000, 120_000),
            (" 0.5 ", 500, 500),
            ("0", 0, 0),
            ("Fri, 02 Jan 2026 04:05:05 GMT", 60_000, 3_660_000),
            ("Fri, 02 Jan 2026 03:00:00 GMT", 0, 0),
            (
                "99999999999999999999999",
                3_153_600_000_000,
                3_153_600_000_000,
            ),
        ] {
            assert_eq!(
                retry_after(text, Some(date), now),
                Some(Ms(with_date)),
                "{text}"
            );
            assert_eq!(retry_after(text, None, now), Some(Ms(without)), "{text}");
        }
        for text in ["", "-1", "soon", "1e3", "inf", ".", "1.2.3", "2026-01-02"] {
            assert_eq!(retry_after(text, Some(date), now), None, "{text}");
        }
    }
}

//! When a token ends: a number by its magnitude, or a date in the forms that providers write.

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use super::number::{Number, TimeFault, whole};
use crate::foundation::clock::{EpochMs, Ms};
use crate::realm::date_form::{DateForm, offset_of};

/// 2000 and 2100, in milliseconds since the epoch. Nothing outside of that is believed.
const YEARS: (i128, i128) = (946_684_800_000, 4_102_444_800_000);
/// From 0001-01-01 to the epoch: .NET counts from there, in units of 100 ns.
const DOTNET_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
const TICKS_IN_MS: i128 = 10_000;

const OUTSIDE: TimeFault = TimeFault::Implausible(
    "it is not between 2000 and 2100; a length of time needs expires_in instead",
);
const DAY_OR_MONTH: TimeFault =
    TimeFault::Ambiguous("day and month may be either way round; say which with expires_at_format");

/// Local times, without zones. `%.f` is a fraction of the second, or nothing.
const LOCAL: [&str; 15] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%dT%H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S%.f",
    "%Y%m%dT%H%M%S%.f",
    "%a, %d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%a %b %e %H:%M:%S %Y",
    "%a %b %e %Y %H:%M:%S",
    // Only Americans write AM and PM beside slashes.
    "%m/%d/%Y %I:%M:%S%.f %p",
    "%m/%d/%Y %I:%M %p",
];
/// The day and the month first, which nothing tells apart but a number above twelve.
const BOTH_WAYS: [(&str, &str); 2] = [
    ("%m/%d/%Y %H:%M:%S%.f", "%d/%m/%Y %H:%M:%S%.f"),
    ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"),
];

/// A point of time.
///
/// # Errors
/// Where it is in no known form, in one that may mean two things, or not between 2000 and 2100.
pub fn moment_of(value: &Value, form: &DateForm) -> Result<EpochMs, TimeFault> {
    if let Some(format) = &form.format {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(TimeFault::Unreadable),
        };
        let read = form.read(&text, format).ok_or(TimeFault::Unreadable)?;
        return plausible(read.timestamp_millis().into());
    }
    match Number::of(value) {
        Some(Number::Whole(number)) => by_magnitude(number, form.offset_s),
        Some(Number::Fraction(number)) => {
            let (seconds, ms) = (whole(number * 1000.0), whole(number));
            let in_years = |ms: &i64| (YEARS.0..YEARS.1).contains(&i128::from(*ms));
            let found = seconds.filter(in_years).or(ms.filter(in_years));
            found.map(EpochMs).ok_or(OUTSIDE)
        }
        None => by_known_form(
            value.as_str().ok_or(TimeFault::Unreadable)?.trim(),
            form.offset_s,
        ),
    }
}

fn plausible(ms: i128) -> Result<EpochMs, TimeFault> {
    let ms = Some(ms).filter(|ms| (YEARS.0..YEARS.1).contains(ms));
    ms.and_then(|ms| i64::try_from(ms).ok())
        .map(EpochMs)
        .ok_or(OUTSIDE)
}

/// Seconds, milliseconds, microseconds or nanoseconds since the epoch, .NET ticks, or digits of
/// a date: between 2000 and 2100 no number is two of them.
fn by_magnitude(number: i128, offset_s: i32) -> Result<EpochMs, TimeFault> {
    let candidates = [
        number.checked_mul(1000),
        Some(number),
        Some(number / 1000),
        Some(number / 1_000_000),
        Some((number - DOTNET_EPOCH_TICKS) / TICKS_IN_MS),
    ];
    let found = candidates.into_iter().flatten().map(plausible);
    if let Some(found) = found.flatten().next() {
        return Ok(found);
    }
    let digits = number.to_string();
    let date = NaiveDateTime::parse_from_str(&digits, "%Y%m%d%H%M%S").ok();
    match date.filter(|_| digits.len() == 14) {
        Some(date) => plausible(at_offset(date, offset_s)),
        None => Err(OUTSIDE),
    }
}

fn at_offset(date: NaiveDateTime, offset_s: i32) -> i128 {
    i128::from(date.and_utc().timestamp_millis()) - i128::from(offset_s) * 1000
}

fn by_known_form(text: &str, offset_s: i32) -> Result<EpochMs, TimeFault> {
    if let Some(ms) = microsoft_json(text) {
        return plausible(ms);
    }
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return plausible(date.timestamp_millis().into());
    }
    if let Some(date) = http_date(text) {
        return plausible(date.0.into());
    }
    let (local, zone_s) = split_zone(text);
    let offset_s = zone_s.unwrap_or(offset_s);
    let local = tidied(local);
    let parse = |format: &str| NaiveDateTime::parse_from_str(&local, format).ok();
    if let Some(date) = LOCAL.iter().find_map(|format| parse(format)) {
        return plausible(at_offset(date, offset_s));
    }
    for (month_first, day_first) in BOTH_WAYS {
        match (parse(month_first), parse(day_first)) {
            (Some(one), Some(other)) if one != other => return Err(DAY_OR_MONTH),
            (Some(date), _) | (None, Some(date)) => return plausible(at_offset(date, offset_s)),
            (None, None) => {}
        }
    }
    Err(TimeFault::Unreadable)
}

/// A small `t` between date and time, and a comma before the fraction of a second (ISO 8601).
fn tidied(text: &str) -> String {
    let mut text = text.to_owned();
    if text.as_bytes().get(10) == Some(&b't') || text.as_bytes().get(8) == Some(&b't') {
        text = text.replacen('t', "T", 1);
    }
    match text.rsplit_once(',') {
        Some((before, fraction))
            if before.ends_with(|c: char| c.is_ascii_digit())
                && !fraction.is_empty()
                && fraction.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            format!("{before}.{fraction}")
        }
        _ => text,
    }
}

/// The zone at the end of a date, in seconds east of UTC: `Z`, `UTC`, `GMT`, `+08:00`, `+0800`,
/// `+08`, each after a blank or not, `GMT+0800`, and `+0800 CST`, where the name says nothing.
fn split_zone(text: &str) -> (&str, Option<i32>) {
    // As browsers write it: `GMT+0800 (China Standard Time)`.
    let text = match text.split_once(" (") {
        Some((before, name)) if name.ends_with(')') => before,
        _ => text,
    };
    let beside_a_name = text
        .rsplit_once(' ')
        .filter(|(_, name)| name.chars().all(|c| c.is_ascii_alphabetic()))
        .and_then(|(before, _)| numeric_zone(before));
    if let Some((before, seconds)) = beside_a_name.or_else(|| numeric_zone(text)) {
        let before = before.trim_end();
        return (without_name(before).unwrap_or(before), Some(seconds));
    }
    match without_name(text) {
        Some(before) => (before, Some(0)),
        None => (text, None),
    }
}

/// Takes the name of UTC off.
fn without_name(text: &str) -> Option<&str> {
    ["UTC", "GMT", "Z", "utc", "gmt", "z"]
        .iter()
        .find_map(|name| {
            let before = text.strip_suffix(name)?;
            let after_time = before.ends_with(|c: char| c.is_ascii_digit() || c == ' ');
            after_time.then_some(before.trim_end())
        })
}

/// What is before an offset, and the offset.
fn numeric_zone(text: &str) -> Option<(&str, i32)> {
    let (before, zone) = text.split_at(text.rfind(['+', '-'])?);
    // A date has signs, too.
    let has_time = before.contains([':', 'T', 't']);
    let seconds = offset_of(zone).filter(|_| has_time)?;
    Some((before, seconds))
}

/// `/Date(1767323045000)/`, with an offset that says nothing about the moment, or without.
fn microsoft_json(text: &str) -> Option<i128> {
    let inner = text.replace("\\/", "/");
    let inner = inner.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let zone = inner.rfind(['+', '-']).filter(|at| *at > 0);
    inner[..zone.unwrap_or(inner.len())].parse().ok()
}

/// An HTTP date (RFC 9110, section 5.6.7).
pub fn http_date(text: &str) -> Option<EpochMs> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(EpochMs(Ms::from(since).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<EpochMs, TimeFault> {
        moment_of(value, &DateForm::default())
    }

    #[test]
    fn a_moment_is_read_in_every_form_that_providers_write() {
        let moment = Ok(EpochMs(1_767_323_045_000));
        for value in [
            json!(1_767_323_045),
            json!("1767323045"),
            json!(1_767_323_045.0),
            json!("1767323045.000"),
            json!(1_767_323_045_000_i64),
            json!("1767323045000"),
            json!(1_767_323_045_000_000_i64),
            json!(1_767_323_045_000_000_000_i64),
            json!("1767323045000000000"),
            json!(639_029_198_450_000_000_i64),
            json!(20_260_102_030_405_i64),
            json!("20260102030405"),
            json!("2026-01-02T03:04:05Z"),
            json!("2026-01-02t03:04:05z"),
            json!("2026-01-02T11:04:05+08:00"),
            json!("2026-01-02T11:04:05.000+0800"),
            json!("2026-01-02T11:04:05+08"),
            json!("2026-01-01T22:04:05-05:00"),
            json!("2026-01-02T03:04:05"),
            json!("2026-01-02T03:04:05.000000000Z"),
            json!("2026-01-02T03:04:05,000Z"),
            json!("2026-01-02 03:04:05"),
            json!("2026-01-02 03:04:05 +0000"),
            json!("2026-01-02 03:04:05 +0000 UTC"),
            json!("2026-01-02 11:04:05 +0800 CST"),
            json!("2026-01-02 03:04:05 UTC"),
            json!("2026-01-02 03:04:05Z"),
            json!("2026-01-02 11:04:05 +08"),
            json!("2026/01/02 03:04:05"),
            json!("2026/01/02 11:04:05 +08:00"),
            json!("20260102T030405Z"),
            json!("20260102T110405+0800"),
            json!("Fri, 02 Jan 2026 03:04:05 GMT"),
            json!("Fri, 02 Jan 2026 03:04:05 UTC"),
            json!("Fri, 02 Jan 2026 11:04:05 +0800"),
            json!("Thu, 01 Jan 2026 22:04:05 EST"),
            json!("02 Jan 2026 03:04:05 GMT"),
            json!("Friday, 02-Jan-26 03:04:05 GMT"),
            json!("Fri Jan  2 03:04:05 2026"),
            json!("Fri Jan 02 2026 11:04:05 GMT+0800 (China Standard Time)"),
            json!("1/2/2026 3:04:05 AM +00:00"),
            json!("01/02/2026 03:04:05 AM"),
            json!("1/2/2026 11:04:05 AM +08:00"),
            json!("/Date(1767323045000)/"),
            json!("/Date(1767323045000+0800)/"),
            json!("\\/Date(1767323045000)\\/"),
        ] {
            assert_eq!(read(&value), moment, "{value}");
        }
        let evening = read(&json!("11/28/2026 5:24:12 PM +00:00"));
        assert_eq!(evening, Ok(EpochMs(1_795_886_652_000)));
        let by_day = read(&json!("28/11/2026 17:24:12"));
        assert_eq!(by_day, evening);
        assert_eq!(read(&json!("11/28/2026 17:24:12 +0000")), evening);
    }

    #[test]
    fn what_may_mean_two_days_is_refused_and_so_is_what_is_long_past_or_far_ahead() {
        for value in [
            "1/2/2026 03:04:05",
            "02/01/2026 23:04",
            "12/11/2026 10:00:00 +00:00",
        ] {
            let fault = read(&json!(value));
            assert!(matches!(fault, Err(TimeFault::Ambiguous(_))), "{value}");
        }
        for value in [
            json!(0),
            json!(-1),
            json!(7200),
            json!(3600.5),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!("1999-12-31T23:59:59Z"),
            json!("2100-01-01T00:00:00Z"),
            json!("0001-01-01T00:00:00Z"),
            json!("9999-12-31T23:59:59Z"),
            json!("/Date(-62135596800000)/"),
            json!(99_990_101_000_000_i64),
        ] {
            let fault = read(&value);
            assert!(matches!(fault, Err(TimeFault::Implausible(_))), "{value}");
        }
        for value in [
            json!("soon"),
            json!(""),
            json!(null),
            json!({}),
            json!("2026-13-01T00:00:00Z"),
            json!("2026-01-02"),
            json!("2026-01-02T03:04:05 PST8"),
            json!("+"),
            json!("/Date(é)/"),
            json!("/Date()/"),
            json!("NaN"),
        ] {
            assert_eq!(read(&value), Err(TimeFault::Unreadable), "{value}");
        }
    }

    #[test]
    fn a_document_may_say_the_form_and_the_zone() {
        let form = |format: &str, offset_s| DateForm {
            format: Some(format.to_owned()),
            offset_s,
        };
        for (value, form, expected) in [
            (
                json!("02.01.2026 03:04:05"),
                form("%d.%m.%Y %H:%M:%S", 0),
                1_767_323_045_000,
            ),
            (
                json!("2/1/2026 11:04:05"),
                form("%d/%m/%Y %H:%M:%S", 28_800),
                1_767_323_045_000,
            ),
            (
                json!("2026-01-02 04:04:05 +0100"),
                form("%Y-%m-%d %H:%M:%S %z", 0),
                1_767_323_045_000,
            ),
            (json!("20260102"), form("%Y%m%d", 0), 1_767_312_000_000),
            (json!(20_260_102), form("%Y%m%d", 28_800), 1_767_283_200_000),
        ] {
            assert_eq!(moment_of(&value, &form), Ok(EpochMs(expected)), "{value}");
        }
        let beijing = DateForm {
            offset_s: 28_800,
            ..DateForm::default()
        };
        for value in [
            "2026-01-02 11:04:05",
            "20260102110405",
            "2026-01-02T03:04:05Z",
        ] {
            let read = moment_of(&json!(value), &beijing);
            assert_eq!(read, Ok(EpochMs(1_767_323_045_000)), "{value}");
        }
    }
}

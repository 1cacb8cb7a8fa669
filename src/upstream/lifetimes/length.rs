//! How long a token lives: a number, text with units, a clock, or an ISO 8601 duration.

use serde_json::Value;

use super::number::{Number, SECOND_MS, TimeFault, whole};
use crate::foundation::clock::Ms;
use crate::realm::document::{ExpiryUnit, LIFETIME_MAX_S};

const MINUTE_MS: f64 = 60.0 * SECOND_MS;
const HOUR_MS: f64 = 60.0 * MINUTE_MS;
const DAY_MS: f64 = 24.0 * HOUR_MS;
const WEEK_MS: f64 = 7.0 * DAY_MS;

const TOO_LONG: TimeFault = TimeFault::Implausible(
    "it is longer than ten years; milliseconds need expires_in_unit, a point in time expires_at",
);
const WHICH_CLOCK: TimeFault = TimeFault::Ambiguous(
    "it may be days, hours and minutes, or hours, minutes and seconds; say which with \
     expires_in_unit (d:hh:mm or h:mm:ss)",
);
const MONTHS: TimeFault =
    TimeFault::Ambiguous("months and years have no fixed length; write days or shorter");

/// A length of life. Zero and less: it has ended.
///
/// # Errors
/// Where it is in no known form, in one that may mean two things, or longer than ten years.
pub fn length_of(value: &Value, unit: ExpiryUnit) -> Result<Ms, TimeFault> {
    let ms = match Number::of(value) {
        Some(number) => match unit {
            ExpiryUnit::Milliseconds => number.as_f64(),
            ExpiryUnit::Seconds | ExpiryUnit::DaysClock | ExpiryUnit::HoursClock => {
                number.as_f64() * SECOND_MS
            }
        },
        None => text(value.as_str().ok_or(TimeFault::Unreadable)?.trim(), unit)?,
    };
    let length = whole(ms).map(Ms).ok_or(TOO_LONG)?;
    let longest = Ms::from_secs(LIFETIME_MAX_S);
    if length > longest || length < Ms(-longest.0) {
        return Err(TOO_LONG);
    }
    Ok(length)
}

fn text(text: &str, unit: ExpiryUnit) -> Result<f64, TimeFault> {
    if text.starts_with(['P', 'p']) {
        return iso(text);
    }
    match text.split_once([' ', ',']) {
        // As Python writes a time span: `1 day, 2:00:00`.
        Some((_, rest)) if text.ends_with(|c: char| c.is_ascii_digit()) && rest.contains(':') => {
            let clock_at = text.rfind([' ', ',']).ok_or(TimeFault::Unreadable)?;
            let (days, clock) = text.split_at(clock_at);
            let days = units(days.trim_end_matches([' ', ',']))?;
            Ok(days + hours_clock(clock[1..].trim())?)
        }
        _ if text.contains(':') => clock(text, unit),
        _ => units(text),
    }
}

/// `24h`, `1d12h`, `120 mins`, `1w`, `1 hour and 30 minutes`.
fn units(text: &str) -> Result<f64, TimeFault> {
    let mut rest = text;
    let mut ms = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or(TimeFault::Unreadable)?;
        let number: f64 = rest[..digits].parse().map_err(|_| TimeFault::Unreadable)?;
        rest = rest[digits..].trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        ms += number * unit_ms(&rest[..end].to_ascii_lowercase())?;
        rest = rest[end..].trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
    }
    if text.is_empty() {
        return Err(TimeFault::Unreadable);
    }
    Ok(ms)
}

fn unit_ms(unit: &str) -> Result<f64, TimeFault> {
    Ok(match unit {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND_MS,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE_MS,
        "h" | "hr" | "hrs" | "hour" | "hours" => HOUR_MS,
        "d" | "day" | "days" => DAY_MS,
        "w" | "wk" | "wks" | "week" | "weeks" => WEEK_MS,
        "mo" | "mon" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years" => {
            return Err(MONTHS);
        }
        _ => return Err(TimeFault::Unreadable),
    })
}

/// Text with colons: as the document says, or as only one reading is possible.
fn clock(text: &str, unit: ExpiryUnit) -> Result<f64, TimeFault> {
    // As .NET writes a time span: `1.02:00:00`.
    if let Some((days, rest)) = text.split_once('.')
        && rest.contains(':')
    {
        return Ok(part(days)? * DAY_MS + hours_clock(rest)?);
    }
    let parts: Vec<&str> = text.split(':').collect();
    match (&parts[..], unit) {
        ([_, _, _], ExpiryUnit::DaysClock) => days_clock(text),
        ([_, _, _], ExpiryUnit::HoursClock) => hours_clock(text),
        ([first, _, _], ExpiryUnit::Seconds | ExpiryUnit::Milliseconds) => {
            match (hours_clock(text), days_clock(text)) {
                (Ok(hours), Err(_)) => Ok(hours),
                (Err(_), Ok(days)) => Ok(days),
                // Days are not written with a leading zero, and an hour of the day is.
                (Ok(hours), Ok(_)) if first.len() == 2 && part(first)? < 24.0 => Ok(hours),
                (Ok(_), Ok(_)) => Err(WHICH_CLOCK),
                (Err(fault), Err(_)) => Err(fault),
            }
        }
        ([days, rest @ ..], _) if rest.len() == 3 => {
            Ok(part(days)? * DAY_MS + hours_clock(&rest.join(":"))?)
        }
        ([_, _], _) => Err(TimeFault::Ambiguous(
            "it may be hours and minutes, or minutes and seconds",
        )),
        _ => Err(TimeFault::Unreadable),
    }
}

/// `H:MM:SS`, with a fraction of the second or without.
fn hours_clock(text: &str) -> Result<f64, TimeFault> {
    let parts: Vec<&str> = text.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else {
        return Err(TimeFault::Unreadable);
    };
    let seconds: f64 = match seconds.split_once('.') {
        Some((whole, fraction)) => {
            part(fraction)?;
            part(whole)?;
            seconds.parse().map_err(|_| TimeFault::Unreadable)?
        }
        None => part(seconds)?,
    };
    let minutes = part(minutes)?;
    if minutes >= 60.0 || seconds >= 60.0 {
        return Err(TimeFault::Unreadable);
    }
    Ok(part(hours)? * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS)
}

/// `D:HH:MM`.
fn days_clock(text: &str) -> Result<f64, TimeFault> {
    let parts: Vec<f64> = text.split(':').map(part).collect::<Result<_, _>>()?;
    match parts[..] {
        [days, hours, minutes] if hours < 24.0 && minutes < 60.0 => {
            Ok(days * DAY_MS + hours * HOUR_MS + minutes * MINUTE_MS)
        }
        _ => Err(TimeFault::Unreadable),
    }
}

/// Digits.
fn part(text: &str) -> Result<f64, TimeFault> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse::<u32>().ok()).flatten();
    number.map(f64::from).ok_or(TimeFault::Unreadable)
}

/// ISO 8601-1, section 5.5.2: `PT2H`, `P1DT12H`, `P2W`.
fn iso(text: &str) -> Result<f64, TimeFault> {
    let (mut ms, mut in_time, mut any) = (0.0, false, false);
    let upper = text[1..].to_ascii_uppercase().replace(',', ".");
    let mut rest = upper.as_str();
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T').filter(|_| !in_time) {
            (in_time, rest) = (true, time);
            continue;
        }
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or(TimeFault::Unreadable)?;
        let number: f64 = rest[..digits].parse().map_err(|_| TimeFault::Unreadable)?;
        let mut after = rest[digits..].chars();
        ms += number
            * match (after.next(), in_time) {
                (Some('W'), false) => WEEK_MS,
                (Some('D'), false) => DAY_MS,
                (Some('H'), true) => HOUR_MS,
                (Some('M'), true) => MINUTE_MS,
                (Some('S'), true) => SECOND_MS,
                (Some('Y' | 'M'), false) => return Err(MONTHS),
                _ => return Err(TimeFault::Unreadable),
            };
        any = true;
        rest = after.as_str();
    }
    any.then_some(ms).ok_or(TimeFault::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seconds(value: &Value) -> Result<f64, TimeFault> {
        let length = length_of(value, ExpiryUnit::Seconds)?;
        Ok(f64::from(i32::try_from(length.0).unwrap()) / 1000.0)
    }

    #[test]
    fn a_length_is_read_in_every_form_that_has_one_meaning() {
        for (value, expected) in [
            (json!(7200), 7200.0),
            (json!("7200"), 7200.0),
            (json!("7200.0"), 7200.0),
            (json!(" 1.5 "), 1.5),
            (json!(-1), -1.0),
            (json!("24h"), 86_400.0),
            (json!("1d 12h"), 129_600.0),
            (json!("120 mins"), 7200.0),
            (json!("30 minutes"), 1800.0),
            (json!("1w"), 604_800.0),
            (json!("2 hours and 30 minutes"), 9000.0),
            (json!("1 hour, 1 sec"), 3601.0),
            (json!("500ms"), 0.5),
            (json!("02:00:00"), 7200.0),
            (json!("00:30:00"), 1800.0),
            (json!("23:59:59"), 86_399.0),
            (json!("12:00:00.500"), 43_200.5),
            (json!("1:30:45"), 5445.0),
            (json!("100:00:59.5"), 360_059.5),
            (json!("1.02:00:00"), 93_600.0),
            (json!("7.00:00:00"), 604_800.0),
            (json!("0.01:00:00.1"), 3600.1),
            (json!("1:02:03:04"), 93_784.0),
            (json!("1 day, 2:00:00"), 93_600.0),
            (json!("2 days, 0:00:30"), 172_830.0),
            (json!("PT2H"), 7200.0),
            (json!("P1DT12H"), 129_600.0),
            (json!("PT0.5S"), 0.5),
            (json!("PT1H30M15S"), 5415.0),
            (json!("pt90m"), 5400.0),
            (json!("P1W"), 604_800.0),
        ] {
            assert_eq!(seconds(&value), Ok(expected), "{value}");
        }
        let ms = |value| length_of(&value, ExpiryUnit::Milliseconds);
        assert_eq!(ms(json!(1500)), Ok(Ms(1500)));
        assert_eq!(ms(json!("24h")), Ok(Ms::from_secs(86_400)));
        let day = Ms::from_secs(86_400 + 2 * 3600 + 180);
        let of = |text: &str, unit| length_of(&json!(text), unit);
        assert_eq!(of("1:02:03", ExpiryUnit::DaysClock), Ok(day));
        let hour = Ms::from_secs(3723);
        assert_eq!(of("1:02:03", ExpiryUnit::HoursClock), Ok(hour));
    }

    #[test]
    fn what_may_mean_two_things_is_refused_and_so_is_what_is_too_long() {
        for value in [
            "1:02:03", "7:00:00", "30:00:00", "02:00", "P1M", "P1Y", "3 months",
        ] {
            let fault = length_of(&json!(value), ExpiryUnit::Seconds);
            assert!(matches!(fault, Err(TimeFault::Ambiguous(_))), "{value}");
        }
        for value in [
            json!(1e300),
            json!(-1e300),
            json!(1_767_323_045),
            json!("1767323045000"),
            json!(i64::MAX),
            json!(u64::MAX),
            json!("99999999999999999999999999"),
            json!("600w"),
            json!("4000.00:00:00"),
            json!("P3651D"),
        ] {
            let fault = length_of(&value, ExpiryUnit::Seconds);
            assert!(matches!(fault, Err(TimeFault::Implausible(_))), "{value}");
        }
        for value in [
            json!("NaN"),
            json!("inf"),
            json!("-infinity"),
            json!("h"),
            json!("12x"),
            json!(""),
            json!([1]),
            json!(true),
            json!("1:2:x"),
            json!("24:60:00"),
            json!("1:2:3:4:5"),
            json!("P"),
            json!("PT"),
            json!("P1H"),
            json!("1,5"),
            json!("٣٦٠٠"),
            json!("P1é"),
        ] {
            let fault = length_of(&value, ExpiryUnit::Seconds);
            assert_eq!(fault, Err(TimeFault::Unreadable), "{value}");
        }
    }
}

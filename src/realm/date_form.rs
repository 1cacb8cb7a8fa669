//! How a document says that its provider writes dates: a `strftime` format, and the zone of
//! dates that name none.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};

/// The longest format, in bytes.
const FORMAT_MAX_BYTES: usize = 100;

/// A form of dates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DateForm {
    /// As `strftime` writes it; none: one of the known forms.
    pub format: Option<String>,
    /// East of UTC, in seconds: of dates that name no zone.
    pub offset_s: i32,
}

impl DateForm {
    /// Whether dates can be read by a format.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check_format(format: &str) -> Result<(), String> {
        if format.len() > FORMAT_MAX_BYTES {
            return Err(format!("must not be longer than {FORMAT_MAX_BYTES} bytes"));
        }
        if StrftimeItems::new(format).any(|item| item == Item::Error) {
            return Err("holds something that strftime does not know".to_owned());
        }
        let sample = DateTime::from_timestamp(1_795_871_109, 0).unwrap_or_default();
        let written = sample.format(format).to_string();
        let form = Self {
            format: Some(format.to_owned()),
            offset_s: 0,
        };
        match form.read(&written, format) {
            Some(read) if read.date_naive() == sample.date_naive() => Ok(()),
            _ => Err("does not say year, month and day in a way that can be read".to_owned()),
        }
    }

    /// Reads a date by a format: with a zone, without one, or a day without a time, which ends
    /// as it begins.
    pub fn read(&self, text: &str, format: &str) -> Option<DateTime<FixedOffset>> {
        let offset = FixedOffset::east_opt(self.offset_s)?;
        let local = |date: NaiveDateTime| date.and_local_timezone(offset).single();
        DateTime::parse_from_str(text, format)
            .ok()
            .or_else(|| local(NaiveDateTime::parse_from_str(text, format).ok()?))
            .or_else(|| {
                let day = NaiveDate::parse_from_str(text, format).ok()?;
                local(day.and_hms_opt(0, 0, 0)?)
            })
    }
}

/// `+08:00`, `+0800` or `+08`, in seconds.
pub fn offset_of(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = match digits.split_once(':') {
        Some((hours, minutes)) if hours.len() == 2 => format!("{hours}{minutes}"),
        Some(_) => return None,
        None => digits.to_owned(),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let (hours, minutes) = match (digits.len(), is_number) {
        (2, true) => (digits.as_str(), "0"),
        (4, true) => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_must_say_the_day() {
        for format in [
            "%d.%m.%Y",
            "%Y-%m-%dT%H:%M:%S%z",
            "%s",
            "%c",
            "%Y%m%d%H%M%S",
        ] {
            assert_eq!(DateForm::check_format(format), Ok(()), "{format}");
        }
        let long = "%Y".repeat(60);
        for format in ["%H:%M", "%Y", "%Q", "yyyy-MM-dd", "", "%", &long] {
            assert!(DateForm::check_format(format).is_err(), "{format}");
        }
    }

    #[test]
    fn an_offset_is_a_sign_and_two_or_four_digits() {
        for (zone, seconds) in [
            ("+08:00", 28_800),
            ("+0800", 28_800),
            ("-05", -18_000),
            ("+00:00", 0),
            ("+05:30", 19_800),
        ] {
            assert_eq!(offset_of(zone), Some(seconds), "{zone}");
        }
        for zone in [
            "", "8", "+8", "+080", "+99:00", "+08:60", "+0é", "Z", "08:00", "+8:000",
        ] {
            assert_eq!(offset_of(zone), None, "{zone}");
        }
    }
}

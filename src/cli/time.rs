//! Lengths of time on the command line.

use crate::foundation::clock::Ms;

/// # Errors
/// Where it is no time, or none that passes.
pub(super) fn time(text: &str) -> Result<Ms, String> {
    let time = humantime::parse_duration(text).ok();
    let millis = time.and_then(|time| i64::try_from(time.as_millis()).ok());
    millis
        .filter(|millis| *millis > 0)
        .map(Ms)
        .ok_or_else(|| "must be a time above zero with its unit, such as 90s, 30m or 1h".to_owned())
}

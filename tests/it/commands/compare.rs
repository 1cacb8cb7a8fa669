//! What a page shows, beside what was printed.

use serde_json::{Deserializer, Value};

use super::page::Shown;

/// Stands on a page for what is left out or differs.
pub const LEFT_OUT: &str = "…";

/// Fields that differ from run to run. A page shows what one run printed; another prints a
/// number, or a text of the same shape.
pub const DIFFER: [&str; 13] = [
    "created_at",
    "duration_ms",
    "expires_at",
    "expires_in",
    "expires_in_s",
    "failures",
    "generation",
    "last_attempt_at",
    "renew_at",
    "request_id",
    "since",
    "token",
    "updated_at",
];

/// Every difference between what is shown and what was printed, except of these fields.
pub fn compare(shown: &Shown, printed: &str, differ: &[&str]) -> Vec<String> {
    let mut differences = Vec::new();
    match shown {
        Shown::Text(text) => {
            let (shown, printed) = (without_keys(text), without_keys(printed));
            let shown: Vec<_> = shown.lines().map(Line).collect();
            let printed: Vec<_> = printed.lines().map(str::trim_end).collect();
            if !fit(&shown, &printed) {
                differences.push(format!("shown:\n{text}"));
            }
        }
        // What the last command answers is shown.
        Shown::Json(shown) => {
            let answers: Result<Vec<Value>, _> =
                Deserializer::from_str(printed).into_iter().collect();
            match answers.map(|mut answers| answers.pop()) {
                Ok(Some(real)) => values("", shown, &real, differ, &mut differences),
                Ok(None) => differences.push("nothing is printed".to_owned()),
                Err(error) => differences.push(format!("what is printed is no JSON: {error}")),
            }
        }
    }
    differences
}

pub fn values(
    at: &str,
    shown: &Value,
    real: &Value,
    differ: &[&str],
    differences: &mut Vec<String>,
) {
    match (shown, real) {
        (Value::String(text), _) if text == LEFT_OUT => {}
        (Value::Object(shown), Value::Object(real)) => {
            for (name, value) in shown.iter().filter(|(name, _)| *name != LEFT_OUT) {
                let at = format!("{at}.{name}");
                match real.get(name) {
                    Some(real) if differ.contains(&name.as_str()) && alike(value, real) => {}
                    Some(real) => values(&at, value, real, differ, differences),
                    None => differences.push(format!("{at} is not answered")),
                }
            }
            let open = shown.contains_key(LEFT_OUT);
            for name in real
                .keys()
                .filter(|name| !open && !shown.contains_key(*name))
            {
                differences.push(format!("{at}.{name} is not shown"));
            }
        }
        (Value::Array(shown), Value::Array(real)) => {
            let gap = shown.iter().position(|item| item == LEFT_OUT);
            let (before, after) = match gap {
                Some(gap) => (&shown[..gap], &shown[gap + 1..]),
                None => (&shown[..], &[][..]),
            };
            let fits = before.len() + after.len();
            if real.len() < fits || gap.is_none() && real.len() > fits {
                differences.push(format!("{at} has {} items", real.len()));
                return;
            }
            let last = real.len() - after.len();
            let pairs = before
                .iter()
                .zip(real)
                .chain(after.iter().zip(&real[last..]));
            for (index, (shown, real)) in pairs.enumerate() {
                values(&format!("{at}[{index}]"), shown, real, differ, differences);
            }
        }
        (Value::String(text), Value::String(real)) if Line(text).fits(real) => {}
        _ if shown == real => {}
        _ => differences.push(format!("{at}: shown {shown}, answered {real}")),
    }
}

/// Numbers, or texts that differ in digits and hexadecimal digits only.
fn alike(shown: &Value, real: &Value) -> bool {
    let shape = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit(), "0");
    match (shown, real) {
        (Value::Number(_), Value::Number(_)) => true,
        (Value::String(shown), Value::String(real)) => shape(shown) == shape(real),
        _ => false,
    }
}

/// Each API key, or the beginning of one, as one of its length.
fn without_keys(text: &str) -> String {
    let mut parts = text.split("tsk_");
    let mut without = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let after = part.trim_start_matches(is_of_key);
        without.push_str("tsk_");
        without.push_str(&"0".repeat(part.len() - after.len()));
        without.push_str(after);
    }
    without
}

/// A line as it is shown.
struct Line<'a>(&'a str);

impl Line<'_> {
    /// Whether it shows this, with anything where something is left out.
    fn fits(&self, real: &str) -> bool {
        let mut parts: Vec<_> = self.0.split(LEFT_OUT).collect();
        let last = parts.pop().unwrap_or_default();
        let Some((first, middle)) = parts.split_first() else {
            return real == last;
        };
        let mut rest = real
            .strip_prefix(first)
            .and_then(|rest| rest.strip_suffix(last));
        for part in middle {
            rest = rest.and_then(|rest| rest.split_once(part).map(|(_, after)| after));
        }
        rest.is_some()
    }
}

/// Whether these lines are shown; one that is left out stands for any number.
fn fit(shown: &[Line], real: &[&str]) -> bool {
    match shown.split_first() {
        None => real.is_empty(),
        Some((Line(LEFT_OUT), rest)) => (0..=real.len()).any(|skipped| fit(rest, &real[skipped..])),
        Some((line, rest)) => real
            .split_first()
            .is_some_and(|(first, real)| line.fits(first) && fit(rest, real)),
    }
}

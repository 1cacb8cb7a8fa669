//! The values of a secret's parameters: which are refused, and what is warned of. What is said
//! names the parameter and the character, and never shows the value.

use secrecy::{ExposeSecret, SecretString};

use super::pointer_of;
use super::rights::is_open;
use crate::foundation::fields::Warning;
use crate::realm::document::ParamRule;
use crate::realm::{Fault, Source};
use crate::secret::params::{Params, VALUE_MAX_BYTES, looks_like_mask, mask};

/// Characters that take no room: they come with what is copied from a page.
const INVISIBLE: [char; 5] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];

/// What is said of a mask that is not that of the stored value.
pub(super) const MASKED: &str = "looks like the mask of a value, and is not that of the one that is \
                                 stored: send the value itself, or leave it out to keep what is stored";

/// A parameter as it is shown: as it is, where the realm declares that it is not secret.
pub(super) fn shown(source: Option<&Source>, name: &str, value: &SecretString) -> String {
    let rules = source.map_or(&[][..], Source::params).iter();
    match rules.filter(|rule| rule.name == name).any(is_open) {
        true => value.expose_secret().to_owned(),
        false => mask(value),
    }
}

/// What is wrong with a value that is sent.
pub(super) fn fault(source: &Source, rule: &ParamRule, value: &SecretString) -> Option<String> {
    let value = value.expose_secret();
    if value.len() > VALUE_MAX_BYTES {
        return Some(format!("must not be longer than {VALUE_MAX_BYTES} bytes"));
    }
    if let Some(choices) = &rule.choices
        && !choices.iter().any(|choice| choice == value)
    {
        let choices = choices.join(", ");
        return Some(format!("{}must be one of {choices}", titled(rule)));
    }
    if rule.choices.is_none() && looks_like_mask(value) {
        return Some(format!("{}{MASKED}", titled(rule)));
    }
    let stray = stray(source, rule, value);
    if let Some(pattern) = rule
        .pattern
        .as_ref()
        .filter(|pattern| !pattern.is_match(value))
    {
        let stray = stray.map_or(String::new(), |stray| format!("; it {stray}"));
        let pattern = pattern.as_str();
        // As it was declared: it is made to match the whole of a value.
        let declared = pattern
            .strip_prefix("^(?:")
            .and_then(|pattern| pattern.strip_suffix(")$"));
        let declared = declared.unwrap_or(pattern);
        return Some(format!(
            "{}does not match the pattern {declared}{stray}",
            titled(rule)
        ));
    }
    let stray = stray.filter(|_| rule.declared)?;
    Some(format!(
        "{}{stray}: remove it; if it is meant, the realm must declare a pattern that allows it",
        titled(rule)
    ))
}

/// What is to be said of values that are stored.
pub(super) fn warnings(source: &Source, params: &Params) -> Vec<Warning> {
    let rules = source.params().iter();
    rules
        .filter_map(|rule| {
            let value = params.get(&rule.name)?.expose_secret();
            let stray = stray(source, rule, value)?;
            let detail = format!("{}{stray}, which is sent as it is", titled(rule));
            Some(Warning::new(pointer_of(&rule.name), detail))
        })
        .collect()
}

/// What is to be said of a token that an admin typed in.
pub(super) fn token_warning(token: &SecretString) -> Option<Warning> {
    let stray = odd(token.expose_secret(), false)?;
    Some(Warning::new(
        "/token",
        format!("{stray}, which is served as it is"),
    ))
}

fn titled(rule: &ParamRule) -> String {
    let title = rule.title.as_ref();
    title.map_or(String::new(), |title| format!("({title}) "))
}

/// A character that is hardly meant in this parameter's value.
fn stray(source: &Source, rule: &ParamRule, value: &str) -> Option<String> {
    if rule.choices.is_some() {
        return None;
    }
    let allowed = rule.pattern.as_ref();
    if allowed.is_some_and(|pattern| pattern.is_match(value)) {
        return None;
    }
    let key = matches!(source, Source::Provider(document) if document.is_key(&rule.name));
    odd(value, key || is_pem(value) || is_json(value))
}

/// What is odd about a value, if anything is; `lines`: it may have more than one.
fn odd(value: &str, lines: bool) -> Option<String> {
    let white = |c: &char| c.is_whitespace() || INVISIBLE.contains(c);
    let break_or_tab = |c: &char| matches!(c, '\n' | '\r' | '\t');
    let ends = [
        ("begins with", value.chars().next()),
        ("ends in", value.chars().next_back()),
    ];
    for (where_, c) in ends {
        if let Some(c) = c.filter(white).filter(|_| !lines) {
            return Some(format!("{where_} {}", named(c)));
        }
    }
    let controls = value.chars().filter(|c| c.is_control());
    let odd = controls
        .filter(|c| !(lines && break_or_tab(c)))
        .chain(value.chars().filter(|c| INVISIBLE.contains(c)));
    odd.map(|c| format!("holds {}", named(c))).next()
}

fn named(c: char) -> &'static str {
    match c {
        '\n' | '\r' => "a line break",
        '\t' => "a tab",
        ' ' => "a space",
        '\0' => "NUL",
        c if INVISIBLE.contains(&c) => "an invisible character",
        c if c.is_control() => "a control character",
        _ => "white space",
    }
}

fn is_pem(value: &str) -> bool {
    value.trim_start().starts_with("-----BEGIN ") && value.contains("-----END ")
}

fn is_json(value: &str) -> bool {
    let begins = value.trim_start().starts_with(['{', '[']);
    begins && serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok()
}

/// What is wrong with a value, at its place.
pub(super) fn fault_at(
    pointer: &str,
    source: &Source,
    rule: &ParamRule,
    value: &SecretString,
) -> Option<Fault> {
    fault(source, rule, value).map(|why| Fault::new(pointer, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_about_a_value_is_named_and_the_value_is_not() {
        for (value, told) in [
            ("s3cret\n", "ends in a line break"),
            ("s3cret\r\n", "ends in a line break"),
            ("s3cret ", "ends in a space"),
            ("s3cret\t", "ends in a tab"),
            (" s3cret", "begins with a space"),
            ("\u{a0}s3cret", "begins with white space"),
            ("\u{feff}s3cret", "begins with an invisible character"),
            ("s3cret\u{200b}", "ends in an invisible character"),
            ("s3\u{200b}cret", "holds an invisible character"),
            ("s3\ncret", "holds a line break"),
            ("s3\0cret", "holds NUL"),
            ("s3\u{1b}cret", "holds a control character"),
            ("\n", "begins with a line break"),
        ] {
            assert_eq!(odd(value, false).as_deref(), Some(told), "{value:?}");
        }
        for value in ["", "s3cret", "a b c", "p\u{e4}ss w\u{f6}rd", "a\\nb"] {
            assert_eq!(odd(value, false), None, "{value:?}");
        }
    }

    #[test]
    fn keys_and_json_have_lines() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";
        assert!(is_pem(pem) && odd(pem, true).is_none());
        let json = "{\n\t\"a\": 1\r\n}\n";
        assert!(is_json(json) && odd(json, true).is_none());
        assert!(!is_json("{a}\n") && !is_pem("-----BEGIN\n"));
        assert_eq!(odd("a\0b\n", true).as_deref(), Some("holds NUL"));
    }
}

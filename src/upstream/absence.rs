//! What an answer has where it lacks what a realm looks for, so that a mistyped name is seen at
//! once. Only names of fields are told, and of those none that may be a value: some providers
//! answer an object whose keys are tokens.

use std::fmt;

use serde_json::Value;

/// Names of one object that are told; of the others only how many there are.
const NAMES_MAX: usize = 8;
/// A longer name, or a longer word in one, may be a value.
const NAME_MAX_CHARS: usize = 40;
const WORD_MAX_CHARS: usize = 15;
/// So many consonants in a row stand in no word.
const CONSONANTS_MAX: usize = 5;
/// Fields that are compared with what was looked for.
const COMPARED_MAX: usize = 300;
const DEPTH_MAX: usize = 4;
/// Names less alike than this are not suggested (Jaro-Winkler, from 0 to 1).
const ALIKE: f64 = 0.88;

/// Where nothing was found, and what there is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    /// `nothing at data.expiresAt`
    pub what: String,
    /// `data has token, expireAt (did you mean data.expireAt?)`
    pub has: String,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.has)
    }
}

impl Absence {
    /// What there is instead of the value at a dotted path. `whole` names what the path begins
    /// in.
    pub fn at(path: &str, within: &Value, whole: &str) -> Self {
        let (mut owner, mut known) = (within, Vec::new());
        let mut what = format!("nothing at {path}");
        for step in path.split('.') {
            match step_into(owner, step) {
                Some(Value::Null) => {
                    known.push(step);
                    what = format!("null at {}", known.join("."));
                    known.pop();
                    break;
                }
                Some(next) => {
                    owner = next;
                    known.push(step);
                }
                None => break,
            }
        }
        let name = match known.as_slice() {
            [] => whole.to_owned(),
            steps => steps.join("."),
        };
        let meant = nearest(path, within)
            .map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
        Self {
            what,
            has: format!("{name} {}{meant}", contents(owner)),
        }
    }
}

pub(super) fn step_into<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step),
    }
}

/// What a value is, with the names of its fields.
pub(super) fn contents(value: &Value) -> String {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) => return format!("is a list of {}", items.len()),
        Value::String(text) if text.is_empty() => return "is an empty text".to_owned(),
        Value::String(_) => return "is a text".to_owned(),
        Value::Number(_) => return "is a number".to_owned(),
        Value::Bool(_) => return "is true or false".to_owned(),
        Value::Null => return "is null".to_owned(),
    };
    let plain = fields.keys().filter(|name| is_plain(name));
    let told: Vec<_> = plain.take(NAMES_MAX).map(String::as_str).collect();
    let others = fields.len() - told.len();
    match (told.is_empty(), others) {
        (true, 0) => "is an object without fields".to_owned(),
        (true, 1) => "has one field, whose name is not shown".to_owned(),
        (true, _) => format!("has {others} fields, whose names are not shown"),
        (false, 0) => format!("has {}", told.join(", ")),
        (false, _) => format!("has {} and {others} more", told.join(", ")),
    }
}

/// Whether a name is made of words, as authors of APIs name fields, and so is no value: no
/// digits but one or two at the end, no word that cannot be pronounced.
fn is_plain(name: &str) -> bool {
    let words = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let fits = name.len() - words.len() <= 2 && name.len() <= NAME_MAX_CHARS;
    let letters = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-');
    if !fits || words.is_empty() || !words.chars().all(letters) {
        return false;
    }
    let words = words_of(words);
    if words.is_empty() {
        return false;
    }
    // Letters drawn at random change their case all the time.
    let chars: usize = words.iter().map(String::len).sum();
    let is_chopped = words.len() > 2 && chars < words.len() * 3;
    !is_chopped && words.iter().all(|word| is_word(word))
}

/// The words of `snake_case`, `kebab-case`, `camelCase` and `HTTPStatus`, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if begins || matches!(c, '_' | '-') {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphabetic()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_word(word: &str) -> bool {
    let is_vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let in_a_row = word.split(is_vowel).map(str::len).max().unwrap_or_default();
    // Eight letters of hexadecimal are a checksum sooner than a word.
    let is_hex = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    word.len() <= WORD_MAX_CHARS && in_a_row <= CONSONANTS_MAX && !is_hex
}

/// The path that was meant, most likely: of a single value, with a name that is alike.
fn nearest(path: &str, within: &Value) -> Option<String> {
    let wanted = plainly(path.rsplit('.').next()?);
    let mut paths = Vec::new();
    collect(within, "", 0, &mut paths);
    let alike = |path: &String| {
        let name = plainly(path.rsplit('.').next().unwrap_or_default());
        let contains = wanted.len() >= 5 && name.ends_with(&wanted);
        let alike = strsim::jaro_winkler(&wanted, &name);
        if contains { alike.max(0.95) } else { alike }
    };
    let scored = paths.into_iter().map(|path| (alike(&path), path));
    // The first of those that are equally alike is nearest to the root.
    let best = scored
        .filter(|(alike, other)| *alike >= ALIKE && other != path)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(best.1)
}

fn plainly(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// The paths of single values, those nearest to the root first.
fn collect(value: &Value, prefix: &str, depth: usize, paths: &mut Vec<String>) {
    let fields: Vec<(String, &Value)> = match value {
        Value::Object(fields) => {
            let plain = fields.iter().filter(|(name, _)| is_plain(name));
            plain.map(|(name, value)| (name.clone(), value)).collect()
        }
        // One stands for all.
        Value::Array(items) => items
            .first()
            .map(|item| ("0".to_owned(), item))
            .into_iter()
            .collect(),
        _ => return,
    };
    let mut below = Vec::new();
    for (name, value) in fields {
        if paths.len() >= COMPARED_MAX {
            return;
        }
        let path = match prefix {
            "" => name,
            prefix => format!("{prefix}.{name}"),
        };
        match value {
            Value::Object(_) | Value::Array(_) => below.push((path, value)),
            Value::Null => {}
            _ => paths.push(path),
        }
    }
    if depth < DEPTH_MAX {
        for (path, value) in below {
            collect(value, &path, depth + 1, paths);
        }
    }
}

/// What a text is that is not of the form which the realm reads it by.
pub(super) fn what_is(text: &str) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim();
    let begins = text
        .get(..text.len().min(500))
        .unwrap_or(text)
        .to_lowercase();
    match begins.chars().next() {
        None => "it is empty",
        Some('<') if begins.contains("<html") || begins.starts_with("<!doctype html") => {
            "it is an HTML page"
        }
        Some('<') => "it looks like XML (response_format: xml)",
        Some('{' | '[') => "it begins like JSON (response_format: json)",
        Some(_) if begins.contains('=') && !begins.contains(char::is_whitespace) => {
            "it looks like a form (response_format: form)"
        }
        Some(_) => "it is a text",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(path: &str, body: &Value) -> String {
        Absence::at(path, body, "the answer").to_string()
    }

    #[test]
    fn it_says_what_there_is_instead_and_what_was_meant() {
        for (path, body, expected) in [
            (
                "data.expiresAt",
                json!({"data": {"token": "t", "expireAt": 5}, "code": 0}),
                "nothing at data.expiresAt; data has token, expireAt (did you mean data.expireAt?)",
            ),
            (
                "expires_in",
                json!({"data": {"access_token": "t", "expires_in": 5}, "code": 0}),
                "nothing at expires_in; the answer has data, code (did you mean data.expires_in?)",
            ),
            (
                "token",
                json!({"access_token": "t", "token_type": "Bearer"}),
                "nothing at token; the answer has access_token, token_type (did you mean access_token?)",
            ),
            (
                "data.token",
                json!({"data": [{"token": "t"}]}),
                "nothing at data.token; data is a list of 1 (did you mean data.0.token?)",
            ),
            (
                "data.token.value",
                json!({"data": {"token": "t"}}),
                "nothing at data.token.value; data.token is a text",
            ),
            (
                "data.token",
                json!({"data": null}),
                "null at data; the answer has data",
            ),
            (
                "token",
                json!({}),
                "nothing at token; the answer is an object without fields",
            ),
            (
                "token",
                json!([1, 2, 3]),
                "nothing at token; the answer is a list of 3",
            ),
            (
                "token",
                json!("t"),
                "nothing at token; the answer is a text",
            ),
        ] {
            assert_eq!(said(path, &body), expected);
        }
    }

    #[test]
    fn few_names_are_told_and_long_lists_are_counted() {
        let fields = [
            "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india",
        ];
        let body: Value = fields
            .map(|name| (name.to_owned(), json!(1)))
            .into_iter()
            .collect();
        assert_eq!(
            said("expires", &body),
            "nothing at expires; the answer has alpha, bravo, charlie, delta, echo, foxtrot, golf, hotel and 1 more"
        );
    }

    #[test]
    fn names_of_fields_are_told() {
        for name in [
            "token",
            "access_token",
            "accessToken",
            "expires_in",
            "expiresAt",
            "expireAt",
            "ttl",
            "errcode",
            "x-auth-token",
            "HTTPStatus",
            "data",
            "key_1",
            "oauth2",
            "isOK",
            "jti",
            "component_access_token",
            "tenant_access_token",
            "authorizer_appid",
            "validUntil",
            "Gueltigkeitsdauer_bis",
            "youxiaoqi",
            "sessionTimeoutInSeconds",
            "_links",
        ] {
            let told = name != "Gueltigkeitsdauer_bis";
            assert_eq!(is_plain(name), told, "{name}");
        }
    }

    #[test]
    fn names_that_may_be_values_are_not_told() {
        for name in [
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "sk-live-4eC39HqLyjWDarjtT1zdp7dc",
            "550e8400-e29b-41d4-a716-446655440000",
            "a1b2c3d4",
            "deadbeefcafe",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            "aGVsbG8gd29ybGQ",
            "qWxZpLmNtRvB",
            "xkcdqzvbnm",
            "JBSWYDPEHPKPXP",
            "user@example.com",
            "+8613800138000",
            "13800138000",
            "two words",
            "",
            "___",
            "凭证",
            "averyveryverylongnamewithoutanyseparator",
            "\u{1b}[2J",
            "a\nb",
        ] {
            assert!(!is_plain(name), "{name}");
        }
        let body = json!({"eyJhbGciOiJIUzI1NiJ9": {"exp": 1}, "550e8400-e29b": 5});
        assert_eq!(
            said("exp_at", &body),
            "nothing at exp_at; the answer has 2 fields, whose names are not shown"
        );
    }

    #[test]
    fn a_text_of_another_form_is_told_by_its_kind() {
        for (text, expected) in [
            ("", "it is empty"),
            (" \r\n", "it is empty"),
            ("<!DOCTYPE html><p>", "it is an HTML page"),
            ("<HTML lang=de>", "it is an HTML page"),
            (
                "<?xml version='1.0'?><a/>",
                "it looks like XML (response_format: xml)",
            ),
            ("{\"a\":", "it begins like JSON (response_format: json)"),
            ("a=b&c=d", "it looks like a form (response_format: form)"),
            ("Service Unavailable", "it is a text"),
        ] {
            assert_eq!(what_is(text), expected, "{text:?}");
        }
    }
}

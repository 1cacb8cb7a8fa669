//! The parameters of a secret.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// The longest value, in bytes: a certificate chain with its key fits.
pub const VALUE_MAX_BYTES: usize = 64 * 1024;

/// What takes the place of a value, or of its middle.
const MASK: &str = "********";

/// Characters of a value's ends that its mask shows.
const MASK_SHOWS_CHARS: usize = 2;

/// Only stars, and at least as many, are a mask: the audit writes three.
const STARS_MIN: usize = 3;

/// Shorter values are masked whole.
const MASK_SHOWS_FROM_CHARS: usize = 16;

/// Values by name. Printing shows names only.
#[derive(Clone, Debug, Default)]
pub struct Params(BTreeMap<String, SecretString>);

/// What a caller says of one parameter.
#[derive(Clone, Debug)]
pub enum ParamChange {
    Set(SecretString),
    Clear,
}

impl Params {
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Merges changes; a value equal to the mask of what is stored means unchanged.
    /// Answers whether anything changed.
    pub fn merge(&mut self, changes: impl IntoIterator<Item = (String, ParamChange)>) -> bool {
        let mut changed = false;
        for (name, change) in changes {
            let stored = self.0.get(&name);
            match change {
                ParamChange::Set(value)
                    if stored.is_some_and(|old| means_unchanged(old, &value)) => {}
                ParamChange::Set(value) => {
                    self.0.insert(name, value);
                    changed = true;
                }
                ParamChange::Clear => changed |= self.0.remove(&name).is_some(),
            }
        }
        changed
    }

    pub fn masked(&self) -> BTreeMap<String, String> {
        self.iter()
            .map(|(name, value)| (name.to_owned(), mask(value)))
            .collect()
    }

    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let plain: BTreeMap<&str, &str> = self
            .iter()
            .map(|(name, value)| (name, value.expose_secret()))
            .collect();
        Zeroizing::new(serde_json::to_vec(&plain).expect("a map of strings is always JSON"))
    }

    pub(super) fn from_json(plain: &[u8]) -> Option<Self> {
        let values: BTreeMap<String, String> = serde_json::from_slice(plain).ok()?;
        let values = values
            .into_iter()
            .map(|(name, value)| (name, SecretString::from(value)));
        Some(Self(values.collect()))
    }
}

/// Stars for the value; a long one shows its ends, so that a human can tell two apart.
pub fn mask(value: &SecretString) -> String {
    let text = value.expose_secret();
    if text.is_empty() {
        return String::new();
    }
    let chars: Vec<char> = text.chars().collect();
    let printable = !chars.iter().any(|c| c.is_control());
    if chars.len() < MASK_SHOWS_FROM_CHARS || !printable {
        return MASK.to_owned();
    }
    let head: String = chars[..MASK_SHOWS_CHARS].iter().collect();
    let tail: String = chars[chars.len() - MASK_SHOWS_CHARS..].iter().collect();
    format!("{head}{MASK}{tail}")
}

/// Whether a text is written as values are masked: hardly anybody means it as a value.
pub fn looks_like_mask(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let is_stars = |chars: &[char]| chars.iter().all(|c| *c == '*');
    let ends = MASK_SHOWS_CHARS;
    let shows_ends = chars.len() == MASK.len() + 2 * ends;
    (STARS_MIN <= chars.len() && is_stars(&chars))
        || (shows_ends && is_stars(&chars[ends..chars.len() - ends]))
}

fn means_unchanged(stored: &SecretString, sent: &SecretString) -> bool {
    sent.expose_secret() == stored.expose_secret() || sent.expose_secret() == mask(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> ParamChange {
        ParamChange::Set(SecretString::from(value))
    }

    #[test]
    fn what_was_read_can_be_sent_back_without_changing_anything() {
        let mut params = Params::default();
        assert!(params.merge([
            ("key_1".to_owned(), set("short")),
            ("key_2".to_owned(), set("a-long-enough-secret")),
            ("key_3".to_owned(), set("")),
        ]));
        let masked = params.masked();
        assert_eq!(masked["key_1"], "********");
        assert_eq!(masked["key_2"], "a-********et");
        assert_eq!(masked["key_3"], "");
        let sent_back = masked.into_iter().map(|(name, value)| (name, set(&value)));
        assert!(!params.merge(sent_back.collect::<Vec<_>>()));
        assert_eq!(params.get("key_1").unwrap().expose_secret(), "short");
    }

    #[test]
    fn what_masks_a_value_looks_like_a_mask_and_values_do_not() {
        for value in [
            "short",
            "a-long-enough-secret",
            "\u{e4}-long-enough-secret\u{fc}",
        ] {
            assert!(
                looks_like_mask(&mask(&SecretString::from(value))),
                "{value}"
            );
        }
        for text in ["***", "****************", "ab********c*"] {
            assert!(looks_like_mask(text), "{text}");
        }
        for text in [
            "",
            "*",
            "**",
            "a*b",
            "ab*******cd",
            "abc********cd",
            "a********",
        ] {
            assert!(!looks_like_mask(text), "{text}");
        }
    }

    #[test]
    fn clearing_removes_a_value_and_counts_as_a_change_once() {
        let mut params = Params::default();
        params.merge([("key_1".to_owned(), set("x"))]);
        assert!(params.merge([("key_1".to_owned(), ParamChange::Clear)]));
        assert!(!params.merge([("key_1".to_owned(), ParamChange::Clear)]));
        assert!(params.get("key_1").is_none());
    }

    #[test]
    fn printing_parameters_shows_no_value() {
        let mut params = Params::default();
        params.merge([("key_1".to_owned(), set("canary-value"))]);
        assert!(!format!("{params:?}").contains("canary"));
    }
}

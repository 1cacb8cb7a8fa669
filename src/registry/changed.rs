//! What a change replaced, and with what, for the audit: only what differs, of bounded size, and in
//! place of what is secret a mark.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use token_server_entity::realm;

use super::leaves::{Leaves, MARK, differing, is_masked, leaves_of, value};
use super::rights::is_open;
use crate::access::audit::Change;
use crate::access::store::{ListedKey, NewKey};
use crate::foundation::clock::{EpochMs, Timeline};
use crate::foundation::hex;
use crate::foundation::pattern::Pattern;
use crate::realm::Source;
use crate::realm::store::RealmContent;
use crate::secret::params::Params;

/// Longer texts are cut, in characters.
const TEXT_MAX_CHARS: usize = 500;
/// Parts of a document that are shown.
const PARTS_MAX: usize = 100;
/// How many more there are.
const MORE: &str = "…";

pub(super) fn content_of(row: &realm::Model) -> RealmContent {
    RealmContent {
        comment: row.comment.clone(),
        config: row.config.clone(),
        logic_code: row.logic_code.clone(),
    }
}

/// A realm that was saved or deleted: of its document the parts that differ, by their pointers.
pub(super) fn of_realm(before: Option<&RealmContent>, after: Option<&RealmContent>) -> Change {
    let leaves = [before, after].map(|content| {
        let text = content.and_then(|content| content.config.as_deref());
        let document: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
        document.as_ref().map(leaves_of)
    });
    let [left, right] = &leaves;
    let differing = differing(left, right);
    let side = |content: Option<&RealmContent>, other: Option<&RealmContent>, leaves| {
        let content = content?;
        let mut shown = Map::new();
        let texts = |content: &RealmContent| [content.comment.clone(), content.logic_code.clone()];
        let others = other.map(texts);
        for (index, text) in texts(content).into_iter().enumerate() {
            let name = ["comment", "logic_code"][index];
            if others.as_ref().is_none_or(|others| others[index] != text) {
                let text = text.as_deref().map(cut);
                shown.insert(name.to_owned(), json!(text));
            }
        }
        if !differing.is_empty() {
            let is_masked = |name: &str| is_masked(name, left, right);
            let parts = parts_of(leaves, &differing, is_masked);
            let config = content.config.as_ref().map(|_| parts);
            shown.insert("config".to_owned(), json!(config));
        }
        Some(Value::Object(shown))
    };
    Change {
        before: side(before, after, left),
        after: side(after, before, right),
    }
}

/// An issuer that was saved or deleted: the parts of its registration that differ. Its keys are
/// public.
pub(super) fn of_issuer(before: Option<&str>, after: Option<&Value>) -> Change {
    let before: Option<Value> = before.and_then(|text| serde_json::from_str(text).ok());
    let [left, right] = [before.as_ref(), after].map(|document| document.map(leaves_of));
    let differing = differing(&left, &right);
    let side = |leaves: &Leaves| {
        let parts = parts_of(leaves, &differing, |_| false);
        leaves.as_ref().map(|_| Value::Object(parts))
    };
    Change {
        before: side(&left),
        after: side(&right),
    }
}

/// What a document holds of what differs, of bounded size.
fn parts_of(
    leaves: &Leaves,
    differing: &[String],
    is_masked: impl Fn(&str) -> bool,
) -> Map<String, Value> {
    let named = differing.iter().take(PARTS_MAX);
    let mut parts: Map<_, _> = named
        .filter_map(|name| {
            let value = value(leaves, name)?;
            let shown = match is_masked(name) {
                true => json!(MARK),
                false => shortened(value),
            };
            Some((name.clone(), shown))
        })
        .collect();
    if differing.len() > PARTS_MAX {
        parts.insert(MORE.to_owned(), json!(differing.len() - PARTS_MAX));
    }
    parts
}

fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(cut(text)),
        other => other.clone(),
    }
}

/// Two long texts that begin alike differ in their digests.
fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX_CHARS) {
        Some((end, _)) => {
            let digest = hex(&Sha256::digest(text));
            format!("{}… (SHA-256 {digest})", &text[..end])
        }
        None => text.to_owned(),
    }
}

/// Parameters of a secret that was saved: those that differ, and null where there is none.
pub(super) fn of_params(
    source: &Source,
    before: Option<&Params>,
    after: &Params,
) -> (Option<Value>, Value) {
    let shown = |params: &Params, name: &str| {
        let rules = source.params().iter();
        let is_open = rules.filter(|rule| rule.name == name).any(is_open);
        let value = params.get(name).map(|value| match is_open {
            true => cut(value.expose_secret()),
            false => MARK.to_owned(),
        });
        json!(value)
    };
    let none = Params::default();
    let old = before.unwrap_or(&none);
    let value = |params: &Params, name: &str| {
        let value = params.get(name);
        value.map(|value| value.expose_secret().to_owned())
    };
    let names: BTreeSet<_> = old
        .iter()
        .chain(after.iter())
        .map(|(name, _)| name)
        .collect();
    let differing: Vec<_> = names
        .into_iter()
        .filter(|name| value(old, name) != value(after, name))
        .collect();
    let side = |params: &Params| {
        let shown = differing
            .iter()
            .map(|name| ((*name).to_owned(), shown(params, name)));
        Value::Object(shown.collect())
    };
    (before.map(side), side(after))
}

/// All parameters that a secret had which was deleted.
pub(super) fn names_of(params: &Params) -> Value {
    let marked = params
        .iter()
        .map(|(name, _)| (name.to_owned(), json!(MARK)));
    Value::Object(marked.collect())
}

/// A fixed token, as it is shown.
pub(super) fn of_token(expires_at: Option<EpochMs>) -> Value {
    json!({"token": MARK, "expires_at": expires_at.map(Timeline::to_rfc3339)})
}

/// A key that was made.
pub(super) fn of_new_key(key: &NewKey) -> Change {
    let patterns = |patterns: &Option<Vec<Pattern>>| {
        let patterns = patterns.as_ref()?.iter();
        Some(
            patterns
                .map(|one| one.as_str().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    Change {
        before: None,
        after: Some(json!({
            "name": key.name,
            "scopes": scopes,
            "realms": patterns(&key.coverage.realms),
            "keys": patterns(&key.coverage.keys),
            "expires_at": key.expires_at.map(Timeline::to_rfc3339),
            "rate": key.rate,
        })),
    }
}

/// A key that was revoked.
pub(super) fn of_revoked_key(key: &ListedKey, now: EpochMs) -> Change {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let revoked_at = |at: Option<EpochMs>| json!({"name": key.name, "scopes": scopes, "revoked_at": at.map(Timeline::to_rfc3339)});
    Change {
        before: Some(revoked_at(None)),
        after: Some(revoked_at(Some(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(config: Value, comment: &str) -> RealmContent {
        RealmContent {
            comment: Some(comment.to_owned()),
            config: Some(config.to_string()),
            logic_code: None,
        }
    }

    #[test]
    fn of_a_document_only_what_differs_is_shown_by_pointers() {
        let before = json!({"url": "https://a.example", "method": "GET", "steps": [{"a/b": 1}]});
        let after = json!({"url": "https://b.example", "method": "GET", "steps": [{"a/b": 2}, []]});
        let change = of_realm(Some(&content(before, "c")), Some(&content(after, "c")));
        assert_eq!(
            change.before,
            Some(json!({"config": {"/steps/0/a~1b": 1, "/url": "https://a.example"}}))
        );
        assert_eq!(
            change.after,
            Some(json!({"config": {
                "/steps/0/a~1b": 2, "/steps/1": [], "/url": "https://b.example",
            }}))
        );
        let same = content(json!({"url": "u"}), "c");
        let change = of_realm(Some(&same), Some(&same));
        assert_eq!(change.before, Some(json!({})));
        let made = of_realm(None, Some(&same));
        assert_eq!(made.before, None);
        assert_eq!(
            made.after,
            Some(json!({"comment": "c", "logic_code": null, "config": {"/url": "u"}}))
        );
        let cleared = RealmContent {
            config: None,
            ..same.clone()
        };
        let change = of_realm(Some(&same), Some(&cleared));
        assert_eq!(change.after, Some(json!({"config": null})));
    }

    #[test]
    fn a_large_document_and_long_texts_are_cut() {
        let many: Map<_, _> = (0..1000)
            .map(|number| (format!("p{number}"), json!("x".repeat(10_000))))
            .collect();
        let change = of_realm(None, Some(&content(Value::Object(many), "c")));
        let after = change.after.unwrap();
        assert_eq!(after["config"][MORE], 900);
        assert!(after.to_string().len() < 60_000);
    }

    #[test]
    fn defaults_of_secret_parameters_are_marked() {
        let document = |value: &str| {
            json!({"params": {
                "a": {"default": value},
                "b": {"default": value, "secret": false},
                "c": {"default": value, "enum": [value]},
            }})
        };
        let (old, new) = (content(document("x"), "c"), content(document("y"), "c"));
        let change = of_realm(Some(&old), Some(&new));
        assert_eq!(
            change.after,
            Some(json!({"config": {
                "/params/a/default": MARK, "/params/b/default": "y",
                "/params/c/default": "y", "/params/c/enum/0": "y",
            }}))
        );
    }
}

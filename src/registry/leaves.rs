//! What a document holds, by pointers: what differs between two, and what of it is secret.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::foundation::fields::escape;

/// In place of a secret value. A value that differs has it before and after.
pub(super) const MARK: &str = "***";

/// What a document holds, by pointers; none where there is no document.
pub(super) type Leaves = Option<BTreeMap<String, Value>>;

pub(super) fn value<'a>(leaves: &'a Leaves, name: &str) -> Option<&'a Value> {
    leaves.as_ref()?.get(name)
}

/// The pointers of what differs.
pub(super) fn differing(left: &Leaves, right: &Leaves) -> Vec<String> {
    let both = [left, right].into_iter().flatten();
    let names: BTreeSet<_> = both.flat_map(BTreeMap::keys).collect();
    let differs = |name: &&String| value(left, name) != value(right, name);
    let mut names: Vec<_> = names.into_iter().filter(differs).cloned().collect();
    // Where something goes comes first: whatever else was changed, it is not left out.
    names.sort_by_key(|name| !is_destination(name));
    names
}

pub(super) fn is_destination(pointer: &str) -> bool {
    let mut fields = pointer.split('/').skip(1);
    let begins = fields.next().unwrap_or_default();
    matches!(
        begins,
        "parent" | "proxy" | "tls" | "allowed_hosts" | "issuer" | "jwks_url"
    ) || pointer.ends_with("/url")
}

/// The default of a parameter is secret where the parameter is.
pub(super) fn is_masked(pointer: &str, left: &Leaves, right: &Leaves) -> bool {
    let Some(rule) = pointer.strip_suffix("/default") else {
        return false;
    };
    let says_open = |leaves: &Leaves| match leaves {
        Some(leaves) if leaves.contains_key(pointer) => {
            let is_open = leaves.get(&format!("{rule}/secret")) == Some(&json!(false));
            is_open || leaves.contains_key(&format!("{rule}/enum/0"))
        }
        _ => true,
    };
    rule.starts_with("/params/") && !(says_open(left) && says_open(right))
}

/// What a document holds, by pointers, without what contains something.
pub(super) fn leaves_of(document: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, pointer: String, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    walk(value, format!("{pointer}/{}", escape(name)), leaves);
                }
            }
            Value::Array(values) if !values.is_empty() => {
                for (index, value) in values.iter().enumerate() {
                    walk(value, format!("{pointer}/{index}"), leaves);
                }
            }
            leaf => {
                leaves.insert(pointer, leaf.clone());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk(document, String::new(), &mut leaves);
    leaves
}

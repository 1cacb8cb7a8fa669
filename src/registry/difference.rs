//! What differs of a realm for whoever is about to change it: where credentials would be sent, and the
//! realm as a file, before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::leaves::{Leaves, MARK, differing, is_destination, is_masked, leaves_of, value};
use super::realm_file::file_of;
use super::values;
use crate::realm::Fault;
use crate::realm::store::RealmContent;
use crate::secret::params::looks_like_mask;

/// The mark of what differs, where a difference is to be seen.
const CHANGED_MARK: &str = "*** (changed)";

/// A part of a realm that says where credentials are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where it stands in a file of the realm.
    pub pointer: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What differs of where credentials are sent.
pub(super) fn destinations(
    before: Option<&RealmContent>,
    after: Option<&RealmContent>,
) -> Vec<Destination> {
    let logic_code = [before, after].map(|content| content?.logic_code.clone());
    let [left, right] = [before, after].map(|content| config_of(content?).as_ref().map(leaves_of));
    let names = differing(&left, &right).into_iter();
    let shown = |leaves: &Leaves, name: &str| match value(leaves, name)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let in_config = names.filter(|name| is_destination(name));
    let in_config = in_config.map(|name| Destination {
        before: shown(&left, &name),
        after: shown(&right, &name),
        pointer: format!("/config{name}"),
    });
    let [before, after] = logic_code;
    let beside = (before != after).then(|| Destination {
        pointer: "/logic_code".to_owned(),
        before,
        after,
    });
    in_config.chain(beside).collect()
}

fn config_of(content: &RealmContent) -> Option<Value> {
    serde_json::from_str(content.config.as_deref()?).ok()
}

/// Defaults of parameters that are what a difference shows in their place.
pub(super) fn masked_defaults(before: Option<&RealmContent>, after: &RealmContent) -> Vec<Fault> {
    let contents = [before, Some(after)];
    let [left, right] = contents.map(|content| config_of(content?).as_ref().map(leaves_of));
    let is_mark = |text: &str| text == CHANGED_MARK || looks_like_mask(text);
    let names = differing(&left, &right).into_iter();
    let names = names.filter(|name| name.starts_with("/params/") && name.ends_with("/default"));
    let masked = names.filter(|name| {
        let text = value(&right, name).and_then(Value::as_str);
        text.is_some_and(is_mark)
    });
    masked
        .map(|name| Fault::new(format!("/config{name}"), values::MASKED))
        .collect()
}

/// A realm as a file of it is, before and after a change, without the defaults of secret parameters.
pub(super) fn masked_files(
    id: &str,
    before: Option<&RealmContent>,
    after: Option<&RealmContent>,
) -> [Option<Value>; 2] {
    let contents = [before, after];
    let mut configs = contents.map(|content| config_of(content?));
    let leaves: [Leaves; 2] = [0, 1].map(|side: usize| configs[side].as_ref().map(leaves_of));
    let [left, right] = &leaves;
    let names: BTreeSet<_> = leaves.iter().flatten().flat_map(BTreeMap::keys).collect();
    for name in names
        .into_iter()
        .filter(|name| is_masked(name, left, right))
    {
        let differs = value(left, name) != value(right, name);
        let marks = [MARK, if differs { CHANGED_MARK } else { MARK }];
        for (config, mark) in configs.iter_mut().zip(marks) {
            if let Some(value) = config.as_mut().and_then(|config| config.pointer_mut(name)) {
                *value = json!(mark);
            }
        }
    }
    let [first, second] = configs;
    let file = |content: Option<&RealmContent>, config| Some(file_of(id, content?, config));
    [file(before, first), file(after, second)]
}

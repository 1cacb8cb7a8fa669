//! The codes of problems, from the specification. What a code means is the last column, written
//! by hand: it is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::http_api::all;
use super::markdown::{code, codes, table};
use crate::kit::contract::resolved;
use crate::kit::source::{read, root, sources};

/// Answered where no operation is.
const BEFORE_OPERATIONS: [(&str, &str); 2] = [("404", "not_found"), ("405", "method_not_allowed")];

/// The codes of a response that is a problem.
pub fn codes_of(response: &Value) -> Vec<String> {
    let schema = resolved(&response["content"]["application/problem+json"]["schema"]);
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let words = parts.flat_map(|part| part["properties"]["code"]["enum"].as_array());
    let words = words.flatten().filter_map(Value::as_str);
    words.map(str::to_owned).collect()
}

pub fn table_of(committed: &str) -> String {
    let mut operations: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (status, code) in BEFORE_OPERATIONS {
        operations.insert((status.to_owned(), code.to_owned()), Vec::new());
    }
    for (_, operation) in all() {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let responses = operation["responses"].as_object().into_iter().flatten();
        for (status, response) in responses {
            for code in codes_of(resolved(response)) {
                operations
                    .entry((status.clone(), code))
                    .or_default()
                    .push(id);
            }
        }
    }
    let meanings = meanings(committed);
    let rows = operations.into_iter().map(|((status, name), ids)| {
        let place = [status.clone(), code(&name)];
        let meaning = meanings.get(&place).cloned().unwrap_or_default();
        assert!(
            !meaning.is_empty(),
            "docs/src/reference/errors.md does not say what {status} {name} means: add a row of it"
        );
        [status, code(name), answered_by(&ids), meaning]
    });
    table(["status", "code", "answered by", "means"], rows)
}

/// Which operations answer a code, in as few words as possible.
fn answered_by(ids: &[&str]) -> String {
    let every: Vec<_> = all()
        .filter_map(|(_, operation)| operation["operationId"].as_str())
        .collect();
    let others = every.iter().filter(|id| !ids.contains(id));
    let others: Vec<_> = others.collect();
    match (ids.len(), others.len()) {
        (0, _) => "no operation".to_owned(),
        (_, 0) => "every operation".to_owned(),
        (some, rest) if rest < some / 2 => format!("all but {}", codes(others)),
        _ => codes(ids),
    }
}

/// What is said by hand, by status and code.
fn meanings(committed: &str) -> BTreeMap<[String; 2], String> {
    let rows = committed.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [status, code, .., means] = cells.as_slice() else {
            return None;
        };
        let place = [(*status).to_owned(), (*code).to_owned()];
        Some((place, means.replace("\\|", "|")))
    });
    rows.collect()
}

/// Codes in the source, where a problem is made.
fn made() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources(&root().join("src/api")) {
        let text = read(&file);
        let text: String = text.split_whitespace().collect();
        let word = |text: &str| {
            let (word, _) = text.split_once('"')?;
            let is_code = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            is_code.then(|| word.to_owned())
        };
        for maker in ["bad_request(\"", "not_found(\"", "unavailable(\""] {
            found.extend(text.split(maker).skip(1).filter_map(word));
        }
        for after in text.split("StatusCode::").skip(1) {
            let after = after.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_');
            let literal = [",\"", "=>(\""]
                .iter()
                .find_map(|with| after.strip_prefix(with));
            found.extend(literal.and_then(word));
        }
    }
    found
}

#[test]
fn every_code_that_the_source_makes_is_on_the_page() {
    let page = super::read("docs/src/reference/errors.md");
    let made = made();
    assert!(made.len() > 20, "the codes are found: {made:?}");
    let missing: Vec<_> = made
        .iter()
        .filter(|name| !page.contains(&format!("| {} |", code(name))))
        .collect();
    assert!(missing.is_empty(), "not on the page of errors: {missing:?}");
}

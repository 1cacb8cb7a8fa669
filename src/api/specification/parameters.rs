//! Parameters that a handler takes by an extractor of more than one: the framework does not list
//! them.

use serde_json::{Map, Value, json};

use super::operation::Operation;

/// Of `Paging`, as `api/extract.rs` reads them.
const PAGING: [(&str, &str); 2] = [
    ("page", "Counts from 1."),
    ("pageSize", "From 1 to 1000; 10 where absent."),
];

/// Lists what is missing, before what is there: the parts of the path, and the page where the
/// table has the operation take one.
pub fn complete(path: &str, known: &Operation, operation: &mut Value) {
    let listed = operation["parameters"].take();
    let listed = listed.as_array().cloned().unwrap_or_default();
    let is_missing = |name: &str| !listed.iter().any(|there| there["name"] == name);
    let parts = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = parts.filter(|name| is_missing(name)).map(in_path).collect();
    let takes = |name: &str| known.parameters.iter().any(|taken| taken.0 == name);
    let paging = PAGING
        .iter()
        .filter(|(name, _)| takes(name) && is_missing(name));
    all.extend(paging.map(|(name, description)| number_in_query(name, description)));
    all.extend(listed);
    put(operation, all);
}

fn in_path(name: &str) -> Value {
    json!({
        "name": name,
        "schema": {"type": "string"},
        "in": "path",
        "required": true,
        "deprecated": false,
        "explode": true,
    })
}

fn number_in_query(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "schema": {"type": "integer", "format": "uint64"},
        "in": "query",
        "description": description,
        "required": false,
        "deprecated": false,
        "explode": true,
    })
}

/// Where the framework puts parameters: before the body and the responses.
fn put(operation: &mut Value, parameters: Vec<Value>) {
    let Some(fields) = operation.as_object_mut() else {
        return;
    };
    fields.shift_remove("parameters");
    if parameters.is_empty() {
        return;
    }
    let mut parameters = Some(parameters);
    let mut ordered = Map::new();
    for (name, value) in std::mem::take(fields) {
        if matches!(name.as_str(), "requestBody" | "responses")
            && let Some(parameters) = parameters.take()
        {
            ordered.insert("parameters".to_owned(), parameters.into());
        }
        ordered.insert(name, value);
    }
    *fields = ordered;
}

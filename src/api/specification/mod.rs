//! The specification as it is served and committed: what the framework makes of the handlers,
//! completed by what it cannot say. The steps go from names to details, each by a table of its
//! own; what a table names and the document lacks is a fault of the house, and so is the other
//! way round.

mod draft;
mod examples;
mod fields;
mod models;
mod nullable;
mod operation;
mod operations;
mod parameters;
mod problems;
mod responses;
mod unsaid;

use serde_json::{Value, json};

use draft::Draft;

/// In the order in which they are read.
const TAGS: [&str; 6] = ["Token", "Secret", "Realm", "Renewal", "Access", "Operation"];
/// The first is what a dialog begins with.
const SECURITY_SCHEMES: [&str; 3] = ["bearer", "basic", "session"];

/// Completes a generated document.
pub fn complete(generated: &str) -> Value {
    completed(generated).document
}

/// What a table names and the document lacks, or the other way round.
#[cfg(test)]
pub fn missing(generated: &str) -> Vec<String> {
    completed(generated).missing
}

fn completed(generated: &str) -> Draft {
    let mut draft = Draft::new(generated);
    models::rename(&mut draft);
    models::complete(&mut draft);
    responses::complete(&mut draft);
    nullable::modernise(&mut draft.document);
    // The framework writes 3.0.0.
    draft.document["openapi"] = json!("3.1.0");
    put_in_order(&mut draft);
    draft
}

fn put_in_order(draft: &mut Draft) {
    let mut tags = Vec::new();
    if let Some(listed) = draft.document["tags"].as_array_mut() {
        listed.sort_by_key(|tag| place_of(&tag["name"], &TAGS));
        tags.extend(listed.iter().map(|tag| tag["name"].clone()));
    }
    draft.note(tags != TAGS, || format!("tags {tags:?} are not {TAGS:?}"));
    let schemes = draft.object(&["components", "securitySchemes"]);
    let mut sorted: Vec<_> = std::mem::take(schemes).into_iter().collect();
    sorted.sort_by_key(|(name, _)| place_of(&json!(name), &SECURITY_SCHEMES));
    schemes.extend(sorted);
    let paths = draft.object(&["paths"]);
    let mut sorted: Vec<_> = std::mem::take(paths).into_iter().collect();
    sorted.sort_by_key(|(_, methods)| {
        let mut operations = methods.as_object().into_iter().flatten();
        let first = operations
            .next()
            .map(|(_, operation)| &operation["tags"][0]);
        first.map_or(TAGS.len(), |tag| place_of(tag, &TAGS))
    });
    paths.extend(sorted);
    draft.models().sort_keys();
}

fn place_of(name: &Value, order: &[&str]) -> usize {
    let place = order.iter().position(|known| name == known);
    place.unwrap_or(order.len())
}

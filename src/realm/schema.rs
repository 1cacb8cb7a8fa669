//! The JSON Schema of the realm document: its shape comes from the reading itself, so the
//! two cannot differ; what the fields mean is added.

mod meanings;

use serde_json::{Value, json};

use super::reading;
use meanings::MEANINGS;

/// The schema, as it is served and committed.
pub fn schema() -> Value {
    let mut schema = reading::shape();
    explain(&mut schema, "");
    // Either a request, or a token made here.
    schema
        .as_object_mut()
        .expect("a schema is an object")
        .remove("required");
    schema["anyOf"] = json!([
        {"required": ["url", "method"]},
        {"required": ["token"]},
    ]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("The realm document of token-server");
    schema
}

/// The schema as text.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).expect("a schema is JSON");
    text.push('\n');
    text
}

fn explain(schema: &mut Value, at: &str) {
    let inner = if schema["properties"].is_object() {
        &mut *schema
    } else if schema["items"].is_object() {
        &mut schema["items"]
    } else if schema["additionalProperties"].is_object() {
        &mut schema["additionalProperties"]
    } else {
        return;
    };
    let Some(properties) = inner["properties"].as_object_mut() else {
        return;
    };
    for (name, property) in properties {
        let place = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        explain(property, &place);
        if let Some(meaning) = meaning(&place) {
            property["description"] = json!(meaning);
        }
    }
}

/// A field's own meaning, or that of the field it is another of: requests stand in steps,
/// in refresh and in ticket.resend, too.
fn meaning(place: &str) -> Option<&'static str> {
    let of = |place: &str| {
        let found = MEANINGS.iter().find(|(known, _)| *known == place);
        found.map(|(_, meaning)| *meaning)
    };
    let prefixes = ["steps.", "refresh.", "ticket.resend."];
    let shared = prefixes
        .iter()
        .find_map(|prefix| place.strip_prefix(prefix));
    of(place).or_else(|| of(shared?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(schema: &Value, at: &str, found: &mut Vec<String>) {
        for inner in [schema, &schema["items"], &schema["additionalProperties"]] {
            for (name, property) in inner["properties"].as_object().into_iter().flatten() {
                let place = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                places(property, &place, found);
                assert!(
                    property["description"].is_string(),
                    "{place} is not explained"
                );
                found.push(place);
            }
        }
    }

    #[test]
    fn every_field_is_explained_and_every_explanation_has_its_field() {
        let mut found = Vec::new();
        places(&schema(), "", &mut found);
        for (place, _) in MEANINGS {
            assert!(
                found.iter().any(|known| known == place),
                "{place} is no field"
            );
        }
    }

    #[test]
    fn a_request_within_another_field_need_not_repeat_what_it_inherits() {
        let schema = schema();
        assert!(schema["properties"]["refresh"].get("required").is_none());
        assert_eq!(
            schema["properties"]["steps"]["items"]["required"],
            json!(["url", "method"])
        );
    }
}

//! The fields of the realm document, from its JSON Schema.

use serde_json::Value;

use super::markdown::{code, table};
use super::schema::{description, is_required, type_of};

/// A request of its own, which has the fields of the main one.
const REQUESTS: [&str; 3] = ["steps[].", "refresh.", "ticket.resend."];

pub fn fields() -> String {
    let schema = token_server::realm::schema::schema();
    let mut rows = Vec::new();
    add(&schema, "", &mut rows);
    let known: Vec<_> = rows.clone();
    let is_repeated = |place: &str| {
        let of_main = REQUESTS
            .iter()
            .find_map(|prefix| place.strip_prefix(prefix));
        of_main.is_some_and(|of_main| known.iter().any(|row| row[0] == of_main))
    };
    let rows = rows.into_iter().filter(|row| !is_repeated(&row[0]));
    table(
        ["field", "value", "meaning"],
        rows.map(|[place, value, meaning]| [code(place), value, meaning]),
    )
}

fn add(schema: &Value, at: &str, rows: &mut Vec<[String; 3]>) {
    for (inner, below) in [
        (schema, ""),
        (&schema["items"], "[]"),
        (&schema["additionalProperties"], ".NAME"),
    ] {
        for (name, field) in inner["properties"].as_object().into_iter().flatten() {
            let place = match at {
                "" => name.clone(),
                at => format!("{at}{below}.{name}"),
            };
            let required = match is_required(inner, name) {
                true => ", required",
                false => "",
            };
            let value = format!("{}{required}", type_of(field));
            rows.push([place.clone(), value, description(field).to_owned()]);
            add(field, &place, rows);
        }
    }
}

#[test]
fn the_table_by_subject_has_every_field() {
    let page = super::read("docs/src/reference/realm-document.md");
    let (by_subject, _) = page.split_once("## All fields").expect("both tables");
    let schema = token_server::realm::schema::schema();
    let fields = schema["properties"].as_object().into_iter().flatten();
    let missing: Vec<_> = fields
        .map(|(name, _)| code(name))
        .filter(|name| !by_subject.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "not in the table by subject: {missing:?}"
    );
}

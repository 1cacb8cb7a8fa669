//! A JSON Schema in words.

use serde_json::Value;

use super::markdown::codes;

/// The type of a value, with its limits. A model is named as a link to its heading.
pub fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(of) = schema["allOf"].get(0) {
        return type_of(of);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices
            .iter()
            .map(type_of)
            .collect::<Vec<_>>()
            .join(", or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        return codes(words.iter().filter_map(Value::as_str));
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    let named = types
        .iter()
        .map(|name| match (*name, schema["format"].as_str()) {
            ("array", _) => format!("list{}", of_each(&schema["items"])),
            ("object", _) => format!("object{}", of_each(&schema["additionalProperties"])),
            ("string", Some("date-time")) => "date (RFC 3339)".to_owned(),
            (name, _) => name.to_owned(),
        });
    let named: Vec<_> = named.collect();
    let named = match named.is_empty() {
        true => "any".to_owned(),
        false => named.join(" or "),
    };
    let default = schema["default"].to_string();
    let default = (default != "null").then(|| format!("default {default}"));
    let parts = [named].into_iter().chain(limits(schema)).chain(default);
    parts.collect::<Vec<_>>().join(", ")
}

fn of_each(inner: &Value) -> String {
    match inner.is_object() && !inner["properties"].is_object() {
        true => format!(" of {}", type_of(inner)),
        false => String::new(),
    }
}

fn limits(schema: &Value) -> Option<String> {
    [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ]
    .into_iter()
    .find_map(|(least, most, unit)| {
        let most = &schema[most];
        // The largest of its type is no limit that anybody meets.
        let most = most.as_u64().filter(|most| *most < i64::MAX.unsigned_abs());
        match (schema[least].as_u64(), most) {
            (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
            (Some(least), None) => Some(format!("at least {least}{unit}")),
            (None, Some(most)) => Some(format!("at most {most}{unit}")),
            (None, None) => None,
        }
    })
}

/// Whether an object must have a field.
pub fn is_required(object: &Value, field: &str) -> bool {
    let mut required = object["required"].as_array().into_iter().flatten();
    required.any(|name| name == field)
}

pub fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

//! What the specification promises, held against every answer that a test gets: its status, its
//! media type, the code of a problem, and each field of a document.

use std::sync::LazyLock;

use chrono::DateTime;
use reqwest::Method;
use serde_json::Value;

use super::Reply;

pub static SPECIFICATION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(token_server::api::specification()).expect("it is JSON"));

/// Fails the test where an operation answers what is not promised of it. What is measured is left
/// alone, and so are servers that are killed: they share the kit.
#[track_caller]
pub fn check(method: &Method, path: &str, reply: &Reply) {
    if !module_path!().starts_with("it::") {
        return;
    }
    let Some(operation) = operation(method, path) else {
        return;
    };
    let what = format!("{method} {path} answers {}", reply.status);
    let response = resolved(&operation["responses"][reply.status.as_str()]);
    assert!(
        response.is_object(),
        "{what}, which is not in the specification: {}",
        reply.text
    );
    let sent = essence(reply.header("content-type").unwrap_or_default());
    match response["content"].as_object() {
        Some(content) => {
            let promised = content.iter().find(|(name, _)| essence(name) == sent);
            let (_, promised) = promised.unwrap_or_else(|| panic!("{what} as {sent:?}"));
            if sent.ends_with("json")
                && let Some(fault) = fault(&promised["schema"], &reply.json(), "")
            {
                panic!("{what}: {fault} in {}", reply.text);
            }
        }
        None => assert_eq!((sent, reply.text.as_str()), ("", ""), "{what}"),
    }
    assert!(
        reply.header("x-request-id").is_some(),
        "{what} without an id"
    );
    assert_eq!(
        reply.header("x-content-type-options"),
        Some("nosniff"),
        "{what}"
    );
}

pub fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = SPECIFICATION["paths"].as_object()?;
    let matches = |pattern: &str| {
        let same_length = pattern.split('/').count() == path.split('/').count();
        let mut parts = pattern.split('/').zip(path.split('/'));
        let fits = |(wanted, part): (&str, &str)| {
            wanted == part || (wanted.starts_with('{') && !part.is_empty())
        };
        same_length && parts.all(fits)
    };
    let method = method.as_str().to_lowercase();
    let spelled = paths
        .get(path)
        .and_then(|operations| operations.get(&method));
    spelled.or_else(|| {
        let mut matching = paths.iter().filter(|(pattern, _)| matches(pattern));
        matching.find_map(|(_, operations)| operations.get(&method))
    })
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// What a `$ref` leads to.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let found = SPECIFICATION.pointer(reference.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

/// Where a value is not what a schema says. Fields that no model names are faults, too.
pub fn fault(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = resolved(schema);
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let mut of_parts = parts.filter_map(|part| match part.get("$ref") {
        Some(_) => fault(part, value, at),
        // It narrows what stands beside it.
        None => of_fields(part, value, at),
    });
    if let Some(fault) = of_parts.next() {
        return Some(fault);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let mut faults = choices.iter().map(|choice| fault(choice, value, at));
        let first = faults.next().flatten();
        return first.filter(|_| faults.all(|fault| fault.is_some()));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let is_of = |of_type: &Value| match of_type.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("null") => value.is_null(),
        _ => panic!("{of_type} is not used in the specification"),
    };
    if !types.is_empty() && !types.iter().any(is_of) {
        return Some(format!("{at} is no {}", schema["type"]));
    }
    if value.is_null() {
        return None;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("{at} is none of {words:?}"));
    }
    let number = value.as_f64();
    let beyond = |limit: &str, is_beyond: fn(&f64, &f64) -> bool| {
        let limit = schema[limit].as_f64();
        number
            .zip(limit)
            .is_some_and(|(n, limit)| is_beyond(&n, &limit))
    };
    if beyond("minimum", f64::lt) || beyond("maximum", f64::gt) {
        return Some(format!("{at} is out of its limits"));
    }
    if schema["format"] == "date-time"
        && DateTime::parse_from_rfc3339(value.as_str().unwrap_or_default()).is_err()
    {
        return Some(format!("{at} is no date"));
    }
    if let Some(list) = value.as_array() {
        let mut items = list.iter().enumerate();
        return items
            .find_map(|(index, item)| fault(&schema["items"], item, &format!("{at}/{index}")));
    }
    let known = schema["properties"].as_object();
    let unknown = value.as_object().zip(known).and_then(|(fields, known)| {
        let mut names = fields.keys();
        names.find(|name| !known.contains_key(*name))
    });
    match unknown {
        Some(name) => Some(format!("{at}/{name} is in no model")),
        None => of_fields(schema, value, at),
    }
}

fn of_fields(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let fields = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    let mut required = required.filter_map(Value::as_str);
    if let Some(name) = required.find(|name| !fields.contains_key(*name)) {
        return Some(format!("{at}/{name} is not there"));
    }
    fields.iter().find_map(|(name, field)| {
        let at = format!("{at}/{name}");
        let named = schema["properties"].get(name);
        let other = || {
            schema
                .get("additionalProperties")
                .filter(|other| other.is_object())
        };
        fault(named.or_else(other)?, field, &at)
    })
}

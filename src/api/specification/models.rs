//! The models: their names, what the reading of bodies says of their limits, and what `fields.rs` has
//! of answers.

use serde_json::{Map, Value, json};

use super::draft::{Draft, reference};
use super::fields::{FIELDS, count, ok};
use super::unsaid;
use crate::api::api_keys::KeyBody;
use crate::api::body::Document;
use crate::api::dry_runs::TrialBody;
use crate::api::issuers::IssuerBody;
use crate::api::named_models::named_models;
use crate::api::presets::RegistrationBody;
use crate::api::realms::RealmBody;
use crate::api::secrets::SecretBody;
use crate::api::tokens::{FixedBody, FlushBody, ReportBody};
use crate::foundation::fields::describe;

/// Bodies, as their own reading describes them: by the name of the model.
fn bodies() -> [(String, Value); 9] {
    [
        reading::<FlushBody>(),
        reading::<ReportBody>(),
        reading::<FixedBody>(),
        reading::<SecretBody>(),
        reading::<RealmBody>(),
        reading::<TrialBody>(),
        reading::<RegistrationBody>(),
        reading::<KeyBody>(),
        reading::<IssuerBody>(),
    ]
}

fn reading<D: Document>() -> (String, Value) {
    let schema = describe(|fields| {
        D::read(fields);
    });
    (D::name().into_owned(), schema)
}

/// `Data_PageOf_Realm` becomes `RealmPageAnswer`.
fn pleasant(name: &str) -> String {
    if let Some(payload) = name.strip_prefix("Data_") {
        return format!("{}Answer", pleasant(payload));
    }
    match name.strip_prefix("PageOf_") {
        Some(row) => format!("{row}Page"),
        None => name.to_owned(),
    }
}

pub fn rename(draft: &mut Draft) {
    let models = std::mem::take(draft.models());
    for (name, mut model) in models {
        // The name says it already.
        if let Some(model) = model.as_object_mut() {
            model.shift_remove("title");
        }
        let taken = draft.models().insert(pleasant(&name), model);
        draft.note(taken.is_some(), || {
            format!("two models {}", pleasant(&name))
        });
    }
    rename_references(&mut draft.document);
}

fn rename_references(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some((place, name)) = reference.rsplit_once('/')
            {
                *reference = format!("{place}/{}", pleasant(name));
            }
            map.values_mut().for_each(rename_references);
        }
        Value::Array(list) => list.iter_mut().for_each(rename_references),
        _ => {}
    }
}

/// Adds limits, closed lists and what may be null.
pub fn complete(draft: &mut Draft) {
    for (named, schema) in named_models() {
        let taken = draft.models().insert(named.0.to_owned(), schema);
        draft.note(taken.is_some(), || format!("two models {}", named.0));
    }
    draft.models().values_mut().for_each(tidy);
    let answers = draft.models().keys().cloned().collect::<Vec<_>>();
    let mut read = Vec::new();
    for (name, schema) in bodies() {
        overlay_body(draft, &name, &schema, &mut read);
    }
    for name in draft.models_of_bodies() {
        draft.note(!read.contains(&name), || {
            format!("the body {name} is not in the list of bodies")
        });
    }
    for name in answers.iter().filter(|name| !read.contains(name)) {
        require_nullable(&mut draft.models()[name.as_str()]);
        for (field, schema) in [("success", ok()), ("total", count())] {
            if let Some(field) = draft.field(name, field) {
                overlay(field, &schema);
            }
        }
    }
    for (model, fields, schema) in FIELDS {
        for field in *fields {
            match draft.field(model, field) {
                Some(found) => overlay(found, &schema()),
                None => draft.note(true, || format!("no field {field} of {model}")),
            }
        }
    }
    unsaid::note(draft, |model| !read.iter().any(|body| body == model));
}

/// What stands beside a `$ref` counts for nothing: the framework writes it twice.
fn tidy(model: &mut Value) {
    let fields = model["properties"].as_object_mut().into_iter().flatten();
    for (_, field) in fields {
        if let Some(all) = field["allOf"].as_array_mut() {
            all.retain(|part| part.get("$ref").is_some());
        }
        // Indexing has made a null of what is not there.
        if let Some(field) = field.as_object_mut() {
            field.retain(|_, value| !value.is_null());
        }
    }
    if let Some(model) = model.as_object_mut() {
        model.retain(|_, value| !value.is_null());
    }
}

/// An answer has every field that may be null.
fn require_nullable(model: &mut Value) {
    let Some(fields) = model.get("properties").and_then(Value::as_object) else {
        return;
    };
    let required = model.get("required").and_then(Value::as_array);
    let is_required = |name: &String| {
        let named = |list: &Vec<Value>| list.iter().any(|other| other == name.as_str());
        required.is_some_and(named)
    };
    let required: Vec<_> = fields
        .iter()
        .filter(|(name, field)| is_required(name) || field["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    model["required"] = json!(required);
}

/// A body's model, and the models of objects in it.
fn overlay_body(draft: &mut Draft, name: &str, schema: &Value, read: &mut Vec<String>) {
    read.push(name.to_owned());
    let Some(mut model) = draft.models().get(name).cloned() else {
        draft.note(true, || format!("no model {name}"));
        return;
    };
    let nothing = Map::new();
    let described = schema["properties"].as_object().unwrap_or(&nothing);
    let listed = model["properties"].as_object().unwrap_or(&nothing);
    let unlike = described.keys().chain(listed.keys());
    let unlike =
        unlike.filter(|field| !(described.contains_key(*field) && listed.contains_key(*field)));
    for field in unlike {
        draft.note(true, || {
            format!("{name} and its reading do not agree on {field}")
        });
    }
    draft.note(model["required"] != schema["required"], || {
        format!("{name} and its reading do not agree on what is required")
    });
    for (field, limits) in described {
        let property = &mut model["properties"][field];
        let of_list = property.get("items").and_then(reference);
        match (reference(property), of_list) {
            (Some(below), _) => overlay_body(draft, &below, limits, read),
            (None, Some(below)) => {
                overlay_body(draft, &below, &limits["items"], read);
                let mut own = limits.clone();
                if let Some(own) = own.as_object_mut() {
                    own.shift_remove("items");
                }
                overlay(property, &own);
            }
            (None, None) => overlay(property, limits),
        }
        let required = schema["required"].as_array();
        // Null is as good as absent.
        if !required.is_some_and(|required| required.iter().any(|name| name == field)) {
            model["properties"][field]["nullable"] = json!(true);
        }
    }
    if let Some(closed) = schema.get("additionalProperties") {
        model["additionalProperties"] = closed.clone();
    }
    draft.models()[name] = model;
}

/// Adds to a schema what is known besides. Alternatives, and a model, take the place of its type.
pub fn overlay(schema: &mut Value, more: &Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        if more.contains_key("anyOf") || more.contains_key("$ref") {
            for name in ["type", "format", "additionalProperties"] {
                schema.remove(name);
            }
        }
        if more.contains_key("$ref") {
            // Nothing may stand beside a reference.
            match schema.is_empty() {
                true => schema.extend(more.clone()),
                false => drop(schema.insert("allOf".to_owned(), json!([more]))),
            }
            return;
        }
        for (name, value) in more {
            let place = schema.entry(name.clone()).or_insert(Value::Null);
            match place.is_object() {
                true => overlay(place, value),
                false => *place = value.clone(),
            }
        }
    }
}

//! The operations of the HTTP API and their models, from the specification.

use serde_json::Value;

use super::markdown::{code, codes, sentence, table};
use super::problems::codes_of;
use super::schema::{description, is_required, type_of};
use crate::kit::contract::{SPECIFICATION, resolved};

/// Methods, paths and operations, in the order of the specification.
pub fn all() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = SPECIFICATION["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| {
            (format!("{} {path}", method.to_uppercase()), operation)
        })
    })
}

pub fn operations() -> String {
    let mut text = String::new();
    let tags = SPECIFICATION["tags"].as_array().into_iter().flatten();
    for tag in tags {
        let name = tag["name"].as_str().unwrap_or_default();
        text.push_str(&format!("### {name} calls\n\n"));
        for (call, operation) in all().filter(|(_, operation)| operation["tags"][0] == name) {
            text.push_str(&one(&call, operation));
        }
    }
    text
}

fn one(call: &str, operation: &Value) -> String {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let summary = operation["summary"].as_str().unwrap_or_default();
    let more = sentence(&description(operation).replace('\n', " "));
    let mut text = format!(
        "#### {}\n\n{}: {} {more}\n\n",
        code(call),
        code(id),
        sentence(summary)
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<_> = parameters.map(parameter).collect();
    if !parameters.is_empty() {
        text.push_str(&table(["parameter", "in", "value", "meaning"], parameters));
        text.push('\n');
    }
    let bodies = operation["requestBody"]["content"]
        .as_object()
        .into_iter()
        .flatten();
    let bodies =
        bodies.map(|(media, body)| format!("{} as {}", content(&body["schema"]), code(media)));
    let bodies: Vec<_> = bodies.collect();
    if !bodies.is_empty() {
        text.push_str(&format!("Body: {}.\n\n", bodies.join(", or ")));
    }
    text.push_str(&answers(operation));
    text
}

/// What a call answers where all is well, and the codes of its problems.
fn answers(operation: &Value) -> String {
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    let responses = operation["responses"].as_object().into_iter().flatten();
    for (status, response) in responses {
        let response = resolved(response);
        let found = codes_of(response);
        if found.is_empty() {
            let contents = response["content"].as_object().into_iter().flatten();
            let contents = contents.map(|(_, of)| content(&of["schema"]));
            let contents: Vec<_> = contents.collect();
            let means = sentence(description(response));
            good.push(format!("{status} {}. {means}", contents.join(", or ")));
        } else {
            problems.push(format!("{status} {}", codes(found)));
        }
    }
    let [good, problems] = [good.join(" "), problems.join("; ")];
    format!("Answer: {good}\n\nProblems: {problems}.\n\n")
}

fn parameter(parameter: &Value) -> [String; 4] {
    let of = |name: &str| parameter[name].as_str().unwrap_or_default().to_owned();
    let required = match parameter["required"] == true {
        true => ", required",
        false => "",
    };
    let place = format!("{}{required}", of("in"));
    [
        code(of("name")),
        place,
        type_of(&parameter["schema"]),
        of("description"),
    ]
}

/// A model without what surrounds it in every answer.
fn content(schema: &Value) -> String {
    let data = &resolved(schema)["properties"]["data"];
    let row = &resolved(data)["properties"]["list"]["items"];
    match (data.is_object(), row.is_object()) {
        (true, true) => format!("a page of {}", type_of(row)),
        (true, false) => format!("{} as `data`", type_of(data)),
        _ => type_of(schema),
    }
}

pub fn models() -> String {
    let models = SPECIFICATION["components"]["schemas"].as_object();
    let mut text = String::new();
    for (name, model) in models.into_iter().flatten() {
        let surrounds = ["Answer", "Page"].iter().any(|end| name.ends_with(end));
        let is_one_problem = name.ends_with("Problem") && name != "Problem";
        if surrounds || is_one_problem {
            continue;
        }
        let meaning = sentence(&description(model).replace('\n', " "));
        text.push_str(&format!("#### {name}\n\n"));
        let fields = model["properties"].as_object().into_iter().flatten();
        let rows: Vec<_> = fields
            .map(|(field, schema)| {
                let required = match is_required(model, field) {
                    true => ", required",
                    false => "",
                };
                let value = format!("{}{required}", type_of(schema));
                [code(field), value, description(schema).to_owned()]
            })
            .collect();
        if rows.is_empty() {
            text.push_str(&format!("{meaning} Value: {}.\n\n", type_of(model)));
            continue;
        }
        if !meaning.is_empty() {
            text.push_str(&format!("{meaning}\n\n"));
        }
        text.push_str(&table(["field", "value", "meaning"], rows));
        text.push('\n');
    }
    text
}

#[test]
fn the_overview_of_calls_has_every_operation() {
    let page = super::read("docs/src/reference/http-api.md");
    let (overview, _) = page.split_once("\n## ").expect("sections follow");
    let missing: Vec<_> = all()
        .filter(|(call, _)| {
            let (method, path) = call.split_once(' ').expect("a method and a path");
            let names = |line: &&str| {
                let cell = line.split(" | ").next().unwrap_or_default();
                let last = path.rsplit('/').next().unwrap_or_default();
                let short = path.contains("/{") && cell.contains(&format!("…/{last}`"));
                (cell.contains(method) && cell.contains(path)) || short
            };
            overview.lines().find(names).is_none()
        })
        .map(|(call, _)| call)
        .collect();
    assert!(missing.is_empty(), "not in the overview: {missing:?}");
}

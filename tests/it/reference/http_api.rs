//! The operations of the HTTP API and their models, from the specification.

use serde_json::Value;
use token_server::foundation::words::words;
use token_server::reads::FlushDeniedCode;

use super::markdown::{code, codes, sentence, table};
use super::problems::codes_of;
use super::read;
use super::schema::{description, is_required, type_of};
use crate::access::scope_of;
use crate::kit::contract::{SPECIFICATION, resolved};
use crate::kit::source::in_backticks;

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
            let shape = match contents.is_empty() {
                true => String::new(),
                false => format!(" {}", contents.join(", or ")),
            };
            let means = sentence(description(response));
            good.push(format!("{status}{shape}. {means}"));
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

/// What is served beside the operations of the specification.
const BESIDE: [&str; 5] = [
    "GET /console",
    "GET /docs",
    "GET /openapi.json",
    "GET /openapi.yaml",
    "GET /realm.schema.json",
];

/// A call as the first table of the page has it.
struct Told {
    call: String,
    /// Its parameters as they stand behind the path.
    query: Vec<String>,
    scope: String,
    does: String,
}

/// The rows of the table whose head begins so.
fn rows_of<'a>(page: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    let table = page.lines().skip_while(move |line| !line.starts_with(head));
    let rows = table.take_while(|line| line.starts_with('|'));
    // Behind the head, and the line below it.
    rows.skip(2)
}

/// The calls of that table. A method may stand alone before another with its path, a path alone behind
/// one with its method, and `…` for the path before but for its last part.
fn told(page: &str) -> Vec<Told> {
    let mut told = Vec::new();
    for row in rows_of(page, "| call | scope |") {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [calls, scope, does] = cells[..] else {
            panic!("not three cells: {row}");
        };
        let (mut methods, mut last, mut above) = (Vec::new(), "", String::new());
        for code in in_backticks(calls) {
            let path = match code.split_once(' ') {
                Some((method, path)) => {
                    methods.push(method);
                    path
                }
                None if code.starts_with(['/', '…']) => code,
                None => {
                    methods.push(code);
                    continue;
                }
            };
            if methods.is_empty() {
                methods.push(last);
            }
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let path = path.replace('…', &above);
            above = path.rsplit_once('/').expect("a path").0.to_owned();
            let query = query.split('&').filter(|name| !name.is_empty());
            let query: Vec<_> = query.map(str::to_owned).collect();
            for method in methods.drain(..) {
                last = method;
                told.push(Told {
                    call: format!("{method} {path}"),
                    query: query.clone(),
                    scope: scope.trim_matches('`').replace("none", ""),
                    does: does.to_owned(),
                });
            }
        }
    }
    told
}

/// Whether the text of a row tells of a parameter: `name`, or `name=value`.
fn tells_of(does: &str, name: &str) -> bool {
    in_backticks(does).any(|code| code.split('=').next() == Some(name))
}

#[test]
fn the_table_of_calls_has_each_operation_with_its_query_and_scope_and_nothing_else() {
    let told = told(&read("docs/src/reference/http-api.md"));
    let mut wrong = Vec::new();
    for (call, operation) in all() {
        let rows: Vec<_> = told.iter().filter(|row| row.call == call).collect();
        let [row] = rows[..] else {
            wrong.push(format!("{call} is told {} times", rows.len()));
            continue;
        };
        if row.scope != scope_of(&call) {
            wrong.push(format!("{call} does not ask for {:?}", row.scope));
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let query = parameters.filter(|parameter| parameter["in"] == "query");
        let query: Vec<_> = query.filter_map(|one| one["name"].as_str()).collect();
        for name in &row.query {
            if !query.contains(&name.as_str()) {
                wrong.push(format!("{call} does not take {name}"));
            }
        }
        // Providers add those of tickets, not whoever reads the table.
        let query = query.iter().filter(|_| !call.contains("/api/ticket/"));
        for name in query {
            if !row.query.iter().any(|told| told == name) && !tells_of(&row.does, name) {
                wrong.push(format!("{call} takes {name}, too"));
            }
        }
    }
    for row in &told {
        let is_specified = all().any(|(call, _)| call == row.call);
        let is_beside = BESIDE.contains(&row.call.as_str()) && row.scope.is_empty();
        if !is_specified && !is_beside {
            wrong.push(format!("there is no {}", row.call));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_of_denied_flushes_has_each_code_once_and_nothing_else() {
    let page = read("docs/src/reference/http-api.md");
    let rows = rows_of(&page, "| `flush_denied_code` |");
    let codes = rows.flat_map(|row| in_backticks(row.split(" | ").next().unwrap_or_default()));
    let mut told: Vec<_> = codes.collect();
    told.sort_unstable();
    let mut known = words(FlushDeniedCode::ALL, FlushDeniedCode::as_str);
    known.sort_unstable();
    assert_eq!(told, known);
}

//! The operations: limits of their parameters, what a 200 holds, and their problems.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::examples::{self, EXAMPLES, Example};
use super::models::overlay;
use super::operation::{Operation, Traits};
use super::operations::OPERATIONS;
use super::parameters;
use super::problems::ProblemAnswer;
use crate::api::health::OPENMETRICS;
use crate::api::http::{SIGNED, has_body};
use crate::api::problem::MEDIA_TYPE;

/// As the framework names it. The character set goes without saying (RFC 8259).
const FRAMEWORK_JSON: &str = "application/json; charset=utf-8";
const JSON: &str = "application/json";

pub fn complete(draft: &mut Draft) {
    let mut problems = BTreeMap::new();
    let operations = draft.operations();
    for known in OPERATIONS {
        let there = operations.iter().any(|(_, _, id)| id == known.id);
        draft.note(!there, || format!("no operation {}", known.id));
    }
    for (path, method, id) in operations {
        let Some(known) = OPERATIONS.iter().find(|known| known.id == id) else {
            draft.note(true, || {
                format!("{method} {path} is not in the table of operations")
            });
            continue;
        };
        let mut operation = draft.document["paths"][&path][&method].take();
        let traits = Traits {
            needs_key: operation.get("security").is_some(),
            is_signed: path.starts_with(SIGNED),
            reads_body: method
                .to_uppercase()
                .parse()
                .is_ok_and(|method| has_body(&method)),
            takes_json: operation.get("requestBody").is_some(),
            changes: method != "get",
        };
        parameters::complete(&path, known, &mut operation);
        add_limits(draft, known, &mut operation);
        describe_answer(known, &mut operation);
        if !traits.needs_key {
            operation["security"] = json!([]);
        }
        let responses = &mut operation["responses"];
        if let Some(responses) = responses.as_object_mut() {
            // Its place is taken by each status.
            responses.remove("default");
        }
        for problem in known.problems(&traits) {
            problems.insert(problem.name, problem);
            let reference = format!("#/components/responses/{}", problem.name);
            responses[problem.status.to_string()] = json!({"$ref": reference});
        }
        match known.id {
            "createSession" => begins_with_a_key(&mut operation),
            "getMetrics" => operation["responses"]["200"]["content"] = metrics(),
            "getToken" => add_tag(&mut operation),
            "checkTicketUrl" => add_signature(&mut operation),
            "receiveTicket" => {
                add_signature(&mut operation);
                operation["requestBody"] = pushed();
            }
            _ => {}
        }
        match EXAMPLES.iter().find(|example| example.id == id) {
            Some(example) => add_examples(draft, example, &mut operation),
            None => draft.note(true, || format!("no example of {id}")),
        }
        draft.document["paths"][&path][&method] = operation;
    }
    add_headers(draft);
    for problem in problems.into_values() {
        add_problem(draft, problem);
    }
}

fn add_limits(draft: &mut Draft, known: &Operation, operation: &mut Value) {
    // A parameter that is not listed is refused as unknown.
    let pages = known.parameters.iter().any(|taken| taken.0 == "page");
    draft.note(known.id.starts_with("list") && !pages, || {
        format!("no page of {}", known.id)
    });
    let listed = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    let mut listed: Vec<_> = listed.into_iter().flatten().collect();
    for parameter in known.parameters {
        let found = listed
            .iter()
            .position(|listed| listed["name"] == parameter.0);
        match found.map(|found| listed.swap_remove(found)) {
            Some(found) => overlay(&mut found["schema"], &parameter.1()),
            None => draft.note(true, || {
                format!("no parameter {} of {}", parameter.0, known.id)
            }),
        }
    }
    for unknown in listed {
        draft.note(true, || {
            format!("no limits of {} of {}", unknown["name"], known.id)
        });
    }
}

fn describe_answer(known: &Operation, operation: &mut Value) {
    let answer = &mut operation["responses"]["200"];
    answer["description"] = json!(known.answer);
    let content = answer["content"].take();
    let content: Map<String, Value> = content
        .as_object()
        .into_iter()
        .flatten()
        .map(|(media_type, content)| {
            let media_type = match media_type.as_str() {
                FRAMEWORK_JSON => JSON,
                other => other,
            };
            (media_type.to_owned(), content.clone())
        })
        .collect();
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}});
    if content
        .values()
        .any(|content| content["schema"]["$ref"] == "#/components/schemas/Token")
    {
        headers["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
    }
    answer["headers"] = headers;
    answer["content"] = Value::Object(content);
}

fn add_examples(draft: &mut Draft, example: &Example, operation: &mut Value) {
    for (name, value) in example.parameters {
        let listed = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        let found = listed
            .into_iter()
            .flatten()
            .find(|listed| listed["name"] == *name);
        match found {
            Some(found) => found["example"] = value(),
            None => draft.note(true, || format!("no parameter {name} of {}", example.id)),
        }
    }
    if let Some(body) = example.body {
        match operation.pointer_mut("/requestBody/content/application~1json") {
            Some(content) => content["example"] = body(),
            None => draft.note(true, || format!("no body of {}", example.id)),
        }
    }
    let content = operation["responses"]["200"]["content"].as_object_mut();
    if let Some((_, content)) = content.into_iter().flatten().next_back() {
        content["example"] = (example.answer)();
    }
}

/// No session begins with another.
fn begins_with_a_key(operation: &mut Value) {
    if let Some(schemes) = operation["security"].as_array_mut() {
        schemes.retain(|scheme| scheme.get("session").is_none());
    }
}

fn metrics() -> Value {
    json!({OPENMETRICS: {"schema": {"type": "string"}}})
}

/// What the handler reads of the headers by itself, and what follows from it.
fn add_tag(operation: &mut Value) {
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.push(json!({
            "name": "If-None-Match",
            "schema": {"type": "string"},
            "in": "header",
            "description": "The `ETag` of an earlier answer, several, or `*` (RFC 9110, section 13.1.2).",
            "required": false,
        }));
    }
    let responses = &mut operation["responses"];
    let tag = json!({"$ref": "#/components/headers/ETag"});
    responses["200"]["headers"]["ETag"] = tag.clone();
    responses["304"] = json!({
        "description": "The token is one that `If-None-Match` names.",
        "headers": {
            "X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"},
            "ETag": tag,
        },
    });
}

/// What WeChat and WeCom sign in the query; the handler reads it by itself, whatever else is there.
fn add_signature(operation: &mut Value) {
    let Some(parameters) = operation["parameters"].as_array_mut() else {
        return;
    };
    for (name, description) in [
        ("signature", "WeChat: SHA-1 of token, timestamp and nonce."),
        ("msg_signature", "The same of the encrypted message, too."),
        ("timestamp", "Seconds since the epoch."),
        ("nonce", "Drawn by the provider."),
        ("echostr", "What a check of the URL is answered with."),
    ] {
        parameters.push(json!({
            "name": name,
            "schema": {"type": "string"},
            "in": "query",
            "description": description,
            "required": false,
        }));
    }
}

/// What providers push, as they send it.
fn pushed() -> Value {
    json!({
        "description": "XML of WeChat and WeCom, JSON of Feishu, as the provider signed it.",
        "required": true,
        "content": {
            "text/xml": {"schema": {"type": "string", "format": "binary"}},
            JSON: {"schema": {"type": "object", "additionalProperties": true}},
        },
    })
}

fn add_headers(draft: &mut Draft) {
    let headers = draft.object(&["components", "headers"]);
    for (name, description, schema) in [
        (
            "X-Request-Id",
            "Stands in the log, too.",
            json!({"type": "string"}),
        ),
        (
            "Retry-After",
            "When to ask again, in seconds.",
            json!({"type": "integer", "minimum": 1}),
        ),
        (
            "ETag",
            "Stays the same as long as the token and its expiry do, whatever `expires_in` and `source` \
             say; absent where a token is rendered anew on each read, where it is `stale`, and where a \
             flush was asked for.",
            json!({"type": "string"}),
        ),
        (
            "WWW-Authenticate",
            "How to send a key: `Bearer`, and `Basic` where no browser asks.",
            json!({"type": "string"}),
        ),
    ] {
        headers.insert(
            name.to_owned(),
            json!({"description": description, "schema": schema}),
        );
    }
}

fn add_problem(draft: &mut Draft, problem: &ProblemAnswer) {
    let model = format!("{}Problem", problem.name);
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}});
    let more = match problem.status {
        401 => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    if let Some(name) = more {
        headers[name] = json!({"$ref": format!("#/components/headers/{name}")});
    }
    let status = StatusCode::from_u16(problem.status).ok();
    let title = status.and_then(|status| status.canonical_reason());
    let title = title.unwrap_or_default();
    let response = json!({
        "description": problem.description,
        "headers": headers,
        "content": {MEDIA_TYPE: {
            "schema": {"$ref": format!("#/components/schemas/{model}")},
            "example": examples::of_problem(problem, title),
        }},
    });
    let schema = json!({
        "description": problem.description,
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {
                "type": "object",
                "properties": {"code": {"type": "string", "enum": problem.codes}},
                "required": ["code"],
            },
        ],
    });
    let responses = draft.object(&["components", "responses"]);
    responses.insert(problem.name.to_owned(), response);
    let taken = draft.models().insert(model, schema);
    draft.note(taken.is_some(), || {
        format!("two models of {}", problem.name)
    });
}

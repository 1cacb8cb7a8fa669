//! The specification, as people and generators read it. What is answered is held against it by
//! every test that calls a server (`kit/contract.rs`).

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::kit::contract::{SPECIFICATION, fault, resolved};
use crate::kit::process::Demo;
use crate::kit::server::Client;
use crate::kit::source::{read, root, sources};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    the_root_leads_to_swagger_ui_with_the_whole_specification,
}

struct Operation {
    method: Method,
    path: &'static str,
    said: &'static Value,
}

fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, methods) in SPECIFICATION["paths"].as_object().expect("paths") {
        for (method, said) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            all.push(Operation { method, path, said });
        }
    }
    all
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

async fn the_root_leads_to_swagger_ui_with_the_whole_specification(database: TestDatabase) {
    let server = Server::start(&database).await;
    let anybody = server.client.without_key();
    // A binary that has the console leads there.
    let root = (!token_server::api::has_console()).then_some("/");
    for path in ["/docs", "/docs/"].into_iter().chain(root) {
        let page = anybody.get(path).await.expect(200).text;
        assert!(page.contains("SwaggerUIBundle("), "{path}");
        for operation in operations() {
            let id = format!("\"operationId\": {}", operation.said["operationId"]);
            assert!(page.contains(&id), "{id} is not on {path}");
        }
        assert!(page.contains("\"UnauthorizedProblem\""), "{path}");
    }
}

#[test]
fn each_operation_has_a_name_of_its_own_and_says_what_it_does() {
    let mut names = BTreeSet::new();
    for operation in operations() {
        let name = text(&operation.said["operationId"]);
        assert!(names.insert(name), "{name} comes twice");
        assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
        for field in ["summary", "description"] {
            assert!(
                !text(&operation.said[field]).is_empty(),
                "{name} has no {field}"
            );
        }
        let statuses = operation.said["responses"].as_object().expect("responses");
        assert!(!statuses.contains_key("default"), "{name}");
        for response in statuses.values() {
            assert!(
                !text(&resolved(response)["description"]).is_empty(),
                "{name}"
            );
        }
    }
}

/// Literals that a problem is made with, in a source text.
fn codes_made(source: &str) -> Vec<String> {
    let constructors = [
        "Problem::new(",
        "Self::new(",
        "bad_request(",
        "not_found(",
        "unavailable(",
    ];
    let is_code = |literal: &str| {
        !literal.is_empty() && literal.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let mut codes = Vec::new();
    for constructor in constructors {
        for call in source.split(constructor).skip(1) {
            // The code is the first literal, after a status at most.
            let literal = call.split('"').nth(1).filter(|_| {
                let before = call.split('"').next().unwrap_or_default();
                before.len() < 80 && !before.contains([';', '|', '='])
            });
            codes.extend(literal.filter(|code| is_code(code)).map(str::to_owned));
        }
    }
    codes
}

#[test]
fn the_codes_of_problems_are_those_that_the_source_makes() {
    let responses = SPECIFICATION["components"]["responses"]
        .as_object()
        .expect("responses");
    let mut promised = BTreeSet::new();
    for response in responses.values() {
        let model = resolved(&response["content"]["application/problem+json"]["schema"]);
        let codes = model["allOf"][1]["properties"]["code"]["enum"]
            .as_array()
            .expect("codes");
        promised.extend(codes.iter().map(text));
    }
    let folder = root().join("src/api");
    let mut made = BTreeSet::new();
    let mut source = String::new();
    let tables = folder.join("specification");
    let files = sources(&folder).into_iter();
    for file in files.filter(|file| !file.starts_with(&tables)) {
        let text = read(&file);
        made.extend(codes_made(&text));
        source.push_str(&text);
    }
    for code in &promised {
        assert!(
            source.contains(&format!("\"{code}\"")),
            "{code} is made nowhere"
        );
    }
    // Of a path or a method that no operation has.
    for of_no_operation in ["not_found", "method_not_allowed"] {
        made.remove(of_no_operation);
    }
    assert!(made.len() > 20, "the codes are read: {made:?}");
    for code in made {
        assert!(
            promised.contains(code.as_str()),
            "{code} is not in the specification"
        );
    }
}

#[test]
fn each_example_is_what_its_schema_says() {
    let mut examples = 0;
    let mut expect = |schema: &Value, example: &Value, what: &str| {
        assert!(!example.is_null(), "{what} has no example");
        assert_eq!(fault(schema, example, ""), None, "{what}: {example}");
        examples += 1;
    };
    for operation in operations() {
        let name = text(&operation.said["operationId"]);
        let parameters = operation.said["parameters"]
            .as_array()
            .into_iter()
            .flatten();
        for parameter in parameters.filter(|parameter| parameter["required"] == true) {
            let what = format!("{} of {name}", parameter["name"]);
            expect(&parameter["schema"], &parameter["example"], &what);
        }
        let body = &operation.said["requestBody"]["content"]["application/json"];
        if body.is_object() {
            expect(&body["schema"], &body["example"], name);
        }
        for (status, response) in operation.said["responses"].as_object().expect("responses") {
            let content = resolved(response)["content"].as_object();
            // A 304 has none.
            assert_eq!(content.is_none(), status == "304", "{status} of {name}");
            let mut content = content.into_iter().flatten();
            let json = content.find(|(name, _)| name.ends_with("json"));
            if let Some((_, content)) = json {
                expect(
                    &content["schema"],
                    &content["example"],
                    &format!("{status} of {name}"),
                );
            }
        }
    }
    assert!(examples > 200, "{examples} examples");
}

/// As Swagger UI does it, in the order in which its page says.
#[tokio::test]
async fn the_examples_work_when_they_are_executed_against_the_demo() {
    let database = TestDatabase::sqlite();
    let demo = Demo::start(&database);
    let client = &demo.client;
    // The first token is being fetched.
    client.generation("demo", "app", 1).await;
    let mut left = operations();
    for name in ORDER {
        let found = left
            .iter()
            .position(|operation| operation.said["operationId"] == *name);
        let operation = left.swap_remove(found.unwrap_or_else(|| panic!("no operation {name}")));
        execute(client, &operation).await;
    }
    let left: Vec<_> = left
        .iter()
        .map(|operation| &operation.said["operationId"])
        .collect();
    assert_eq!(left, [] as [&Value; 0], "not executed");
}

/// What an example needs is made by one before it.
const ORDER: &[&str] = &[
    "getHealth",
    "getReadiness",
    "getMetrics",
    "getToken",
    "watchToken",
    "flushToken",
    "reportToken",
    "listRealms",
    "saveRealm",
    "saveFixedToken",
    "getRealm",
    "previewRealm",
    "testRealm",
    "listPresets",
    "getPreset",
    "registerPreset",
    "deleteRealm",
    "listSecrets",
    "getEvents",
    "saveSecret",
    "getSecret",
    "pauseSecret",
    "resumeSecret",
    "deleteSecret",
    "listRenewals",
    "runRenewals",
    "getSignIn",
    "createSession",
    "getSession",
    "endSession",
    "createApiKey",
    "listApiKeys",
    "revokeApiKey",
    "saveIssuer",
    "listIssuers",
    "getIssuer",
    "deleteIssuer",
    "listAuditEntries",
    "getOverview",
    "getSettings",
    "checkTicketUrl",
    "receiveTicket",
];

async fn execute(client: &Client, operation: &Operation) {
    let name = text(&operation.said["operationId"]);
    let (mut path, mut query) = (operation.path.to_owned(), Vec::new());
    for parameter in operation.said["parameters"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let value = match &parameter["example"] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let parameter_name = text(&parameter["name"]);
        match text(&parameter["in"]) {
            "path" => path = path.replace(&format!("{{{parameter_name}}}"), &value),
            _ => query.push(format!("{parameter_name}={value}")),
        }
    }
    let mut request = client.request(
        operation.method.clone(),
        &format!("{path}?{}", query.join("&")),
    );
    let body = &operation.said["requestBody"]["content"]["application/json"]["example"];
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let reply = client.send(request).await;
    match name {
        // They are for whoever has the cookie of a session, and calls with nothing else.
        "getSession" | "endSession" => drop(reply.expect_problem(404, "no_session")),
        // Nothing pushes tickets for the demo.
        "checkTicketUrl" | "receiveTicket" => drop(reply.expect_problem(404, "unknown_realm")),
        _ => drop(reply.expect(200)),
    }
}

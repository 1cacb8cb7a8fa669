//! What an admin is told when a realm is registered: warnings, which refuse nothing, and
//! refusals that say what to do; in `values`, what of the values of a secret.

mod addresses;
mod refused;
mod values;

use std::fs;

use serde_json::{Value, json};

use crate::cli::run;
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_document_is_warned_of_what_is_most_likely_not_meant,
    a_document_without_reason_has_no_warnings,
    warnings_stand_wherever_one_realm_is_shown,
    the_command_line_prints_warnings_and_exits_as_without,
}

/// A document without reason for a warning, with some fields replaced or added.
fn config(more: Value) -> Value {
    let mut config = json!({
        "url": "https://api.example.com/token", "method": "POST", "content_type": "form",
        "params": {"client_id": {}, "client_secret": {"title": "Client secret"}},
        "arguments": [
            {"name": "client_id", "place": "body", "value": "$client_id"},
            {"name": "client_secret", "place": "body", "value": "$client_secret"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    for (name, value) in more.as_object().expect("an object") {
        config[name] = value.clone();
    }
    config
}

/// One more argument beside those of `config`.
fn argument(place: &str, value: Value) -> Value {
    let mut config = config(json!({}));
    let arguments = config["arguments"].as_array_mut().expect("a list");
    arguments.push(json!({"name": "more", "place": place, "value": value}));
    config
}

async fn warnings(client: &Client, config: &Value) -> Vec<(String, String)> {
    let body = json!({"id": "r", "config": config});
    let reply = client.post("/api/realm", &body).await.expect(200).json();
    pairs(&reply["data"]["warnings"])
}

async fn faults(client: &Client, config: &Value) -> Vec<(String, String)> {
    let body = json!({"id": "r", "config": config});
    let reply = client.post("/api/realm", &body).await;
    pairs(&reply.expect_problem(422, "invalid_document")["errors"])
}

fn pairs(list: &Value) -> Vec<(String, String)> {
    // Absent where there is nothing.
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.iter()
        .map(|entry| (text(&entry["pointer"]), text(&entry["detail"])))
        .collect()
}

/// One entry, at this place, that says this.
#[track_caller]
fn assert_single(told: &[(String, String)], pointer: &str, part: &str, of: &Value) {
    let [(at, detail)] = told else {
        panic!("one is expected: {told:?} of {of}");
    };
    assert_eq!(at, pointer, "{detail} of {of}");
    assert!(detail.contains(part), "{detail} of {of}");
}

fn step(more: &Value) -> Value {
    let mut step = json!({"url": "https://api.example.com/step", "method": "GET"});
    for (name, value) in more.as_object().expect("an object") {
        step[name] = value.clone();
    }
    step
}

#[allow(clippy::too_many_lines)] // A table.
async fn a_document_is_warned_of_what_is_most_likely_not_meant(database: TestDatabase) {
    let server = Server::start(&database).await;
    let declared = |name: &str| {
        let mut params = config(json!({}))["params"].clone();
        params[name] = json!({"optional": true});
        config(json!({"params": params}))
    };
    let third = "/config/arguments/2/value";
    let header = |name: &str| json!({"name": name, "place": "header", "value": "x"});
    let headers = |one: &str, other: &str| {
        config(json!({
            "params": {}, "arguments": [header(one), header(other)],
        }))
    };
    let steps = |count: usize, more: Value| {
        let mut document = config(json!({"steps": vec![step(&json!({})); count]}));
        for (name, value) in more.as_object().expect("an object") {
            document[name] = value.clone();
        }
        document
    };
    let cases = [
        // A declared parameter that nothing uses.
        (
            declared("tenant"),
            "/config/params/tenant",
            "nothing in the document uses it",
        ),
        (
            declared("refresh_token"),
            "/config/params/refresh_token",
            "nothing",
        ),
        (declared("scope_2"), "/config/params/scope_2", "nothing"),
        // What leads nowhere, and what comes from nowhere.
        (
            config(json!({"allowed_hosts": ["*.example.com"]})),
            "/config/allowed_hosts",
            "nothing in the document uses stored.extra",
        ),
        (
            argument("header", json!("${stored.extra.pod}")),
            "/config/extra",
            "the document does not have it",
        ),
        // What is a name elsewhere, and text here.
        (
            argument("header", json!("Bearer $client_id")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("{{client_id}}")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("a {{ client_id | upper }}")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("v1/{client_id}")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("#{client_id}!")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("%(client_id)s")),
            third,
            "write ${client_id}",
        ),
        (
            argument("body", json!("${client_id}:$client_secret")),
            third,
            "${client_secret}",
        ),
        (argument("body", json!("{now}")), third, "write ${now()}"),
        (
            argument("body", json!("id-$uuid")),
            third,
            "write ${uuid()}",
        ),
        (
            argument("header", json!(["a", "x $client_id"])),
            "/config/arguments/2/value/1",
            "text",
        ),
        (
            config(json!({"url": "https://api.example.com/{client_id}/token"})),
            "/config/url",
            "holds {client_id}",
        ),
        (
            config(json!({"token_template": "Ghost $token"})),
            "/config/token_template",
            "write ${token}",
        ),
        // A function that is not called.
        (
            argument("body", json!("${now or 'x'}")),
            third,
            "write now()",
        ),
        (
            argument("body", json!("a ${client_id ~ uuid} b")),
            third,
            "write uuid()",
        ),
        (
            argument("body", json!("${ {'a': nonce} }")),
            third,
            "write nonce()",
        ),
        (
            config(json!({"success": "body.time == now"})),
            "/config/success",
            "write now()",
        ),
        // A token that is not sent cannot be refused.
        (
            config(json!({"error": {"code": "body.error", "classes": {"invalid_token": ["7"]}}})),
            "/config/error/classes/invalid_token",
            "has no parent",
        ),
        (
            config(json!({"error": {"patterns": [
                {"match": "busy", "class": "transient"},
                {"match": "expired", "class": "invalid_token"},
            ]}})),
            "/config/error/patterns/1/class",
            "use permanent",
        ),
        // A step that is not there.
        (
            steps(2, json!({"token_path": null, "token": "steps[2].body.t"})),
            "/config/token",
            "only steps[0] to steps[1] come before",
        ),
        (
            steps(
                1,
                json!({"url": "https://api.example.com/t?x=${ steps[1].body.x }"}),
            ),
            "/config/url",
            "only steps[0] comes before",
        ),
        (
            config(json!({"extra": {"a": "steps[0].body.a"}})),
            "/config/extra/a",
            "no step comes before",
        ),
        (
            config(json!({"steps": [step(&json!({})), step(&json!({
                "url": "https://api.example.com/${ steps [ 1 ].body.x }",
            }))]})),
            "/config/steps/1/url",
            "uses steps[1]",
        ),
        (
            steps(
                1,
                json!({"refresh_token_path": "r", "refresh": {"success": "steps[0].status"}}),
            ),
            "/config/refresh/success",
            "no step comes before",
        ),
        (
            steps(1, json!({"error": {"code": "body.e or steps[3].body.e"}})),
            "/config/error/code",
            "uses steps[3]",
        ),
        // Headers given twice.
        (
            headers("X-Key", "X-Key"),
            "/config/arguments/1/name",
            "both are sent",
        ),
        (
            headers("X-Key", "x-key"),
            "/config/arguments/1/name",
            "both are sent",
        ),
        (
            headers("accept", "ACCEPT"),
            "/config/arguments/1/name",
            "both are sent",
        ),
        // Neighbours of these.
        (
            config(json!({"content_type": "json", "params": {}, "arguments": [
                {"name": "a/b", "place": "body", "value": "1"},
                {"name": "a/b", "place": "body", "value": "2"},
            ]})),
            "/config/arguments/1/name",
            "it replaces",
        ),
        (
            config(json!({"params": {}, "arguments": [
                {"name": "${ now() }", "place": "url", "value": "1"},
            ]})),
            "/config/arguments/0/name",
            "is not a template",
        ),
        (
            config(json!({"token_path": "$.data.token"})),
            "/config/token_path",
            "write data.token",
        ),
        (
            config(json!({"token_path": "/data/token"})),
            "/config/token_path",
            "write data.token",
        ),
        (
            argument(
                "body",
                json!("${ 'x' if not client_id else client_id|nope }"),
            ),
            third,
            "the filter nope",
        ),
    ];
    for (config, pointer, part) in &cases {
        assert_single(
            &warnings(&server.client, config).await,
            pointer,
            part,
            config,
        );
    }
    let all = config(json!({
        "params": {"client_id": {}, "client_secret": {}, "unused": {}},
        "url": "https://api.example.com/{client_id}",
        "extra": {"a": "steps[0]"},
    }));
    let told = warnings(&server.client, &all).await;
    let pointers: Vec<_> = told.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(
        pointers,
        ["/config/url", "/config/extra/a", "/config/params/unused"]
    );
}

async fn a_document_without_reason_has_no_warnings(database: TestDatabase) {
    let server = Server::start(&database).await;
    let twice = |place: &str, name: &str, optional: bool| {
        config(json!({
            "params": {}, "arguments": [
                {"name": name, "place": place, "value": "1", "optional": optional},
                {"name": name, "place": place, "value": "2", "optional": optional},
            ],
        }))
    };
    for config in [
        config(json!({})),
        argument("body", json!("$client_id")),
        argument(
            "body",
            json!("costs $5, or $other, {\"client_id\": 1}, {x}, {{y}}"),
        ),
        argument(
            "body",
            json!("${ now('s') } ${ uuid() } ${ nonce(8) } ${ '$client_id' }"),
        ),
        argument("body", json!("${ now ('s') }")),
        argument("body", json!("${ client_id.now }")),
        argument("body", json!("client_id")),
        config(json!({"steps": [step(&json!({"success": "body.ok"}))],
            "token_path": null, "token": "steps[0].body.t ~ steps[-1].body.u"})),
        config(json!({"extra": {"a": "'steps[4]'", "b": "body.steps[4]"}})),
        config(json!({"refresh_token_path": "r", "params": {
            "client_id": {}, "client_secret": {}, "refresh_token": {}}})),
        twice("body", "scope", false),
        twice("url", "scope", false),
        twice("header", "Authorization", true),
        config(json!({"token_path": "data.$.token"})),
        // As the predecessor wrote them: nothing is declared.
        json!({"url": "https://api.example.com/", "method": "GET", "token_path": "t",
            "expires_in_path": "e", "arguments": [
                {"name": "a", "place": "url", "value": "$key_1"}]}),
        Value::Null,
    ] {
        assert_eq!(warnings(&server.client, &config).await, [], "{config}");
    }
}

async fn warnings_stand_wherever_one_realm_is_shown(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let config = config(json!({"token_path": "$.token"}));
    let stored = warnings(client, &config).await;
    assert_eq!(stored.len(), 1);
    let shown = client.get("/api/realm/r").await.expect(200).json()["data"].take();
    assert_eq!(pairs(&shown["warnings"]), stored);
    // What was read can be sent back.
    let again = client.post("/api/realm", &shown).await.expect(200).json();
    assert_eq!(pairs(&again["data"]["warnings"]), stored);
    assert_eq!(client.list("/api/realm").await[0].get("warnings"), None);
    let preset = client.post("/api/preset/auth0", &json!({})).await;
    assert_eq!(preset.expect(200).json()["data"]["warnings"], Value::Null);
    let trial = json!({"config": config, "params": {"client_id": "a", "client_secret": "b"}});
    let tried = client.dry_run(&trial).await.expect(200).json();
    assert_eq!(pairs(&tried["data"]["warnings"]), stored);
}

async fn the_command_line_prints_warnings_and_exits_as_without(database: TestDatabase) {
    assert_eq!(run(&database, "migrate").await.code, Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, document: &Value| {
        let path = folder.path().join(name);
        fs::write(&path, document.to_string()).expect("a file can be written");
        path.display().to_string()
    };
    let warned = file(
        "a.json",
        &json!({"id": "a", "config": config(json!({"token_path": "$.t"}))}),
    );
    let said = format!("{warned}: warning: /config/token_path is a dotted path");
    for (command, done) in [("check", "a: good\n"), ("apply", "a: created\n")] {
        let ended = run(&database, &format!("realm {command} {warned}")).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, done);
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    }
    let broken = file(
        "b.json",
        &json!({"id": "b", "config": config(json!({"success": "a && b"}))}),
    );
    let ended = run(&database, &format!("realm check {warned} {broken}")).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("b.json: /config/success syntax error (column 3)"),
        "{}",
        ended.stderr
    );
}

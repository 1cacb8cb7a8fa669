//! What an administrator is told where an answer lacks what the realm looks for: where that was,
//! what is there instead, and never a value.

use serde_json::{Value, json};

use crate::kit::server::Client;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_expiry_that_is_not_found_is_told_with_what_there_is,
    a_token_that_is_not_found_is_told_with_what_there_is,
    a_condition_that_is_not_met_is_told_with_what_it_looked_for,
    names_that_may_be_values_are_not_told,
    custom_logic_is_told_what_its_answer_lacks,
    a_trial_says_of_every_place_what_is_there_instead,
}

/// Stands in no message, wherever an answer has it.
const CANARY: &str = "c4n4ry-t0k3n-9b7e4";

async fn detail(client: &Client, name: &str) -> String {
    client.save_secret(name, "k").await;
    let secret = eventually(&format!("a failure of {name}"), async || {
        let secret = client.secret(name, "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    let detail = secret["last_error"]["detail"].as_str();
    detail.expect("a text").to_owned()
}

struct Scene {
    server: Server,
    provider: Provider,
}

impl Scene {
    async fn set(database: &TestDatabase) -> Self {
        Self {
            server: Server::start(database).await,
            provider: Provider::start().await,
        }
    }

    fn config(&self, more: &Value) -> Value {
        let mut config = json!({
            "url": self.provider.url("/token"), "method": "GET",
            "token_path": "data.token", "expires_at_path": "data.expiresAt",
        });
        for (name, value) in more.as_object().expect("an object") {
            config[name] = value.clone();
        }
        config
    }

    /// Why this answer is of no use to a realm with these fields.
    async fn detail(&self, name: &str, more: &Value, answer: Answer) -> String {
        let client = &self.server.client;
        self.provider.answer_with(answer);
        client.save_realm(name, self.config(more)).await;
        detail(client, name).await
    }
}

fn ok(body: &Value) -> Answer {
    Answer::status(200).with_json(body)
}

async fn an_expiry_that_is_not_found_is_told_with_what_there_is(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let by_expression = json!({"expires_at_path": null, "expires_at": "body.data.expiresAt"});
    let token_only = json!({"data": {"token": "t", "expireAt": 5}});
    for (name, more, body, expected) in [
        (
            "mistyped",
            json!({}),
            token_only.clone(),
            "expiry_unknown: nothing at data.expiresAt; data has token, expireAt (did you mean \
             data.expireAt?); and the token itself does not say it; mend that, or set \
             default_expires_in_s",
        ),
        (
            "expression",
            by_expression,
            token_only,
            "expiry_unknown: nothing at body.data.expiresAt; body.data has token, expireAt (did \
             you mean body.data.expireAt?); and the token itself does not say it; mend that, or \
             set default_expires_in_s",
        ),
        (
            "elsewhere",
            json!({"expires_at_path": null, "expires_in_path": "expires_in"}),
            json!({"data": {"token": "t", "expires_in": 7200}, "code": 0}),
            "expiry_unknown: nothing at expires_in; the answer has data, code (did you mean \
             data.expires_in?); and the token itself does not say it; mend that, or set \
             default_expires_in_s",
        ),
        (
            "null",
            json!({}),
            json!({"data": {"token": "t", "expiresAt": null}}),
            "expiry_unknown: null at data.expiresAt; data has token, expiresAt; and the token \
             itself does not say it; mend that, or set default_expires_in_s",
        ),
        (
            "nowhere",
            json!({"expires_at_path": null}),
            json!({"data": {"token": "t"}, "ttl": 60}),
            "expiry_unknown: the document has no expires_in_path and no expires_at_path; the \
             answer has data, ttl; mend that, or set default_expires_in_s",
        ),
    ] {
        let detail = scene.detail(name, &more, ok(&body)).await;
        assert_eq!(detail, expected, "{name}");
    }
}

async fn a_token_that_is_not_found_is_told_with_what_there_is(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let default = json!({"expires_at_path": null, "default_expires_in_s": 60});
    let form =
        json!({"expires_at_path": null, "default_expires_in_s": 60, "response_format": "form"});
    let xml =
        json!({"expires_at_path": null, "default_expires_in_s": 60, "response_format": "xml"});
    for (name, more, answer, expected) in [
        (
            "object",
            &default,
            ok(&json!({"data": {"access_token": "t"}})),
            "the answer holds no token at data.token; data has access_token (did you mean \
             data.access_token?)",
        ),
        (
            "list",
            &default,
            ok(&json!([1, 2, 3])),
            "the answer holds no token at data.token; the answer is a list of 3",
        ),
        (
            "empty",
            &default,
            Answer::status(200),
            "the answer is not JSON: it is empty",
        ),
        (
            "html",
            &default,
            Answer::status(200).with_bytes("<!DOCTYPE html><p>Please log in"),
            "the answer is not JSON: it is an HTML page",
        ),
        (
            "text",
            &default,
            Answer::status(200).with_bytes("Service Unavailable"),
            "the answer is not JSON: it is a text",
        ),
        (
            "broken",
            &default,
            Answer::status(200).with_bytes("{\"data\": {\"token\": "),
            "the answer is not JSON: it begins like JSON (response_format: json)",
        ),
        (
            "form",
            &form,
            ok(&json!({"token": "t"})),
            "the answer is not a form: it begins like JSON (response_format: json)",
        ),
        (
            "xml",
            &xml,
            Answer::status(200).with_bytes("token=t&x=y"),
            "the answer is not XML: it looks like a form (response_format: form)",
        ),
    ] {
        let detail = scene.detail(name, more, answer).await;
        // What else is wrong comes behind.
        let first = detail.split("; expiry_unknown").next();
        assert_eq!(first, Some(expected), "{name}");
    }
}

async fn a_condition_that_is_not_met_is_told_with_what_it_looked_for(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let error = json!({"code": "body.error.number", "message": "body.error.text"});
    for (name, more, answer, expected) in [
        (
            "success",
            json!({"success": "body.code == 0"}),
            ok(&json!({"Code": 0, "data": {"token": "t"}})),
            "the provider answered 200, and the condition success is not met: nothing at \
             body.code; body has Code, data (did you mean body.Code?)",
        ),
        (
            "found",
            json!({"success": "body.code == 0"}),
            ok(&json!({"code": 7})),
            "the provider answered 200, and the condition success is not met",
        ),
        (
            "error",
            json!({"error": error}),
            Answer::status(500).with_json(&json!({"failure": {"number": 7}})),
            "the provider answered 500; error.code: nothing at body.error.number; body has \
             failure (did you mean body.failure.number?); error.message: nothing at \
             body.error.text; body has failure",
        ),
        (
            "explained",
            json!({"error": error}),
            Answer::status(500).with_json(&json!({"error": {"text": "out of order"}})),
            "the provider answered 500: out of order",
        ),
    ] {
        let detail = scene.detail(name, &more, answer).await;
        assert_eq!(detail, expected, "{name}");
    }
}

async fn names_that_may_be_values_are_not_told(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let sessions = json!({
        CANARY: {"user": "u"}, "eyJhbGciOiJIUzI1NiJ9": 1, "550e8400-e29b-41d4-a716-446655440000": 2,
        "\u{1b}[2J": 3, "one\ntwo": 4,
        // A parameter of the secret.
        "the-secret": 5, "user": CANARY,
    });
    for (name, body) in [
        ("keys", json!({"data": sessions})),
        ("root", sessions.clone()),
    ] {
        let detail = scene.detail(name, &json!({}), ok(&body)).await;
        for hidden in [CANARY, "eyJ", "550e", "2J", "two", "the-secret"] {
            assert!(!detail.contains(hidden), "{name}: {hidden}: {detail}");
        }
        assert!(detail.contains(" more"), "{name}: {detail}");
        assert!(detail.contains("user"), "{name}: {detail}");
    }
    let many: Value = (b'a'..=b'z')
        .flat_map(|one| (b'a'..=b'z').map(move |other| [one, b'a', other]))
        .map(|name| (String::from_utf8_lossy(&name).into_owned(), json!(1)))
        .collect();
    let detail = scene.detail("many", &json!({}), ok(&many)).await;
    assert!(detail.contains("and 668 more"), "{detail}");
}

async fn custom_logic_is_told_what_its_answer_lacks(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let client = &scene.server.client;
    for (name, body, expected) in [
        (
            "token",
            json!({"access_token": CANARY, "expires_in": 60}),
            "custom logic's answer holds no token; it has access_token, expires_in",
        ),
        (
            "expiry",
            json!({"token": CANARY, "expires": 60}),
            "expiry_unknown: custom logic's answer holds no expires_in in whole seconds; it has \
             token, expires",
        ),
    ] {
        scene.provider.answer_with(ok(&body));
        let realm = json!({"id": name, "logic_code": scene.provider.url("/logic")});
        client.post("/api/realm", &realm).await.expect(200);
        assert_eq!(detail(client, name).await, expected);
    }
}

async fn a_trial_says_of_every_place_what_is_there_instead(database: TestDatabase) {
    let scene = Scene::set(&database).await;
    let more = json!({
        "default_expires_in_s": 60, "refresh_token_path": "data.refreshToken",
        "extra": {"region": "body.data.regoin", "shop": "body.data.shop"},
    });
    let body = json!({"data": {"token": "t", "expireAt": 5, "region": "eu", "shop": "s"}});
    scene.provider.answer_with(ok(&body));
    let trial = json!({
        "send": true, "config": scene.config(&more), "params": {},
        "confirm": "consumes_refresh_token",
    });
    let shown = scene.server.client.dry_run(&trial).await;
    let shown = shown.expect(200).json();
    let reading = &shown["data"]["exchanges"][0]["reading"];
    let field = |name: &str| {
        let fields = reading["fields"].as_array().expect("fields");
        let field = fields.iter().find(|field| field["field"] == name);
        field.unwrap_or_else(|| panic!("{name}: {reading}"))["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    for (name, expected) in [
        (
            "expires_at_path",
            "60 s from now, by default, or by the token itself: nothing at data.expiresAt; data \
             has token, expireAt, region, shop (did you mean data.expireAt?)",
        ),
        (
            "refresh_token_path",
            "the answer holds none; nothing at data.refreshToken; data has token, expireAt, \
             region, shop",
        ),
        (
            "extra",
            "region: nothing at body.data.regoin; body.data has token, expireAt, region, shop \
             (did you mean body.data.region?)",
        ),
    ] {
        assert_eq!(field(name), expected, "{reading}");
    }
    assert!(reading.get("failure").is_none(), "{reading}");
    let elsewhere = scene.config(&json!({"success": "body.ok", "error": {"code": "body.err"}}));
    let trial = json!({"send": true, "config": elsewhere, "params": {}});
    let shown = scene.server.client.dry_run(&trial).await;
    let shown = shown.expect(200).json();
    let fields = &shown["data"]["exchanges"][0]["reading"]["fields"];
    assert_eq!(fields[0]["detail"], "nothing at body.ok; body has data");
    assert_eq!(fields[1]["field"], "error.code");
    assert_eq!(fields[1]["detail"], "nothing at body.err; body has data");
}

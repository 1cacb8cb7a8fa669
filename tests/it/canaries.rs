//! Credentials of every kind, each a text of its own, in a server whose provider repeats them all:
//! none is found anywhere but where it is meant to be, in no usual form.

mod jwts;
mod panics;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::process::{ServerProcess, command};
use crate::kit::server::Client;
use crate::kit::{Answer, Provider, TestDatabase, eventually, on_every_database};

on_every_database! {
    no_credential_is_found_where_it_is_not_meant_to_be,
}

const CLIENT_SECRET: &str = "Cs9f3Kd82LmQz04Xv7TnPw6";
const FIRST_REFRESH_TOKEN: &str = "Rf1tB6yUc3WnE0oZaS5dHj8";
const OTHERS_SECRET: &str = "Os2kVb7RtYhN4mLpQ0xGzD1";
const TOKEN: &str = "At8jHn3RfVbG5tYkM0lPqW2e";
const REFRESH_TOKEN: &str = "Rt5gBn8UjMkI9olP0zAqXs1w";
const BESIDE: &str = "Id4hJm7YtGfDs2wQaZxCv6bN";
const OTHERS_TOKEN: &str = "Xt6yHb3NjUm1kLo9PzQaXs7w";
const FIXED_TOKEN: &str = "Fx3cVg6BhNj9mKl0PqWeRt4y";
const ADMIN: &str = "Ad7uJm2KiLo5pNb8VcXz1qWsEdRfTgYh0";
const WRONG_KEY: &str = "tsk_Wk4rTgBvFc6yHnJm8uKi0oLp2qAzSxDw3eRfVtGb7";
const SEALING_KEY: [u8; 32] = *b"Sk6tFv3gYb9hUn1jMi0kOl7pZaQxSw4e";
const WEBHOOK_KEY: [u8; 32] = *b"Wh2eDc5rFv8tGb1yHn4uJm7iKo0lPqAz";
const TYPED_IN_THE_WRONG_PLACE: &str = "Tp5wRd8cEs1xQa4zWf7vTg0b";

const CREDENTIALS: (&str, Option<&str>) = (CLIENT_SECRET, Some(FIRST_REFRESH_TOKEN));

const CANARIES: [&str; 11] = [
    CLIENT_SECRET,
    FIRST_REFRESH_TOKEN,
    OTHERS_SECRET,
    TOKEN,
    REFRESH_TOKEN,
    BESIDE,
    OTHERS_TOKEN,
    FIXED_TOKEN,
    ADMIN,
    WRONG_KEY,
    TYPED_IN_THE_WRONG_PLACE,
];

/// A text as it may be written down: as it is, and encoded.
fn forms(canary: &str) -> Vec<String> {
    vec![
        canary.to_owned(),
        STANDARD_NO_PAD.encode(canary),
        URL_SAFE_NO_PAD.encode(canary),
        STANDARD_NO_PAD.encode(format!("the-client:{canary}")),
        utf8_percent_encode(canary, NON_ALPHANUMERIC).to_string(),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

/// What must be found nowhere.
fn forbidden(made: &str) -> Vec<String> {
    let keys = [SEALING_KEY, WEBHOOK_KEY].map(|key| String::from_utf8(key.to_vec()));
    let keys = keys.map(|key| key.expect("keys of letters"));
    let texts = CANARIES
        .iter()
        .copied()
        .chain(keys.iter().map(String::as_str));
    texts.chain([made]).flat_map(forms).collect()
}

#[track_caller]
fn expect_clean(what: &str, text: &str, forbidden: &[String]) {
    for canary in forbidden {
        if let Some(at) = text.find(canary.as_str()) {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            panic!("{what} shows {canary}: …{}", &text[from..at]);
        }
    }
}

/// Keys and addresses in files, so that the environment names none.
fn configured_by_files(database: &TestDatabase, receiver: &Provider) -> (TempDir, ServerProcess) {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the file is written");
        restrict(&path);
        path.display().to_string()
    };
    let more = vec![
        ("TOKEN_SERVER__LOG__FILTER", "trace".to_owned()),
        ("TOKEN_SERVER__ADMIN_KEY_FILE", file("admin", ADMIN)),
        (
            "TOKEN_SERVER__SEALING__KEYS_FILE",
            file("sealing", &format!("k1:{}", STANDARD.encode(SEALING_KEY))),
        ),
        (
            "TOKEN_SERVER__DATABASE__URL_FILE",
            file("url", &database.url),
        ),
        ("TOKEN_SERVER__WEBHOOK__URL", receiver.url("/hook")),
        (
            "TOKEN_SERVER__WEBHOOK__SECRET_FILE",
            file(
                "webhook",
                &format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY)),
            ),
        ),
        ("TOKEN_SERVER__WEBHOOK__FAILING_AFTER", "1".to_owned()),
        (
            "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S",
            "0".to_owned(),
        ),
    ];
    let mut server = command(database, &more);
    server
        .env_remove("TOKEN_SERVER__ADMIN_KEY")
        .env_remove("TOKEN_SERVER__SEALING__KEYS")
        .env_remove("DATABASE_URL");
    (folder, ServerProcess::start_by(server))
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).expect("the mode is set");
}

fn realm_of(provider: &Provider) -> Value {
    json!({
        "params": {
            "client_id": {"title": "Client ID", "secret": false},
            "client_secret": {"title": "Client secret"},
            "refresh_token": {"title": "The first refresh token", "optional": true},
            "scope": {"title": "Scope", "secret": false},
        },
        "arguments": [{"name": "scope", "place": "body", "value": "$scope"}],
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "client_auth": {
            "method": "client_secret_basic",
            "client_id": "$client_id", "client_secret": "$client_secret",
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
        "refresh_token_path": "refresh_token", "refresh": {},
        "extra": {"id_token": "body.id_token"},
    })
}

fn answer(token: &str) -> Answer {
    Answer::status(200).with_json(&json!({
        "access_token": token, "expires_in": 7200,
        "refresh_token": REFRESH_TOKEN, "id_token": BESIDE,
    }))
}

/// Another scope has the token renewed.
async fn save(client: &Client, key: &str, credentials: (&str, Option<&str>), scope: &str) {
    let (client_secret, refresh_token) = credentials;
    let secret = json!({"realm": "r", "key": key, "params": {
        "client_id": "the-client", "client_secret": client_secret, "refresh_token": refresh_token,
        "scope": scope,
    }});
    client.post("/api/secret", &secret).await.expect(200);
}

/// All that a provider knows, and may say.
fn everything() -> String {
    let encoded = STANDARD.encode(format!("the-client:{CLIENT_SECRET}"));
    [
        CLIENT_SECRET,
        FIRST_REFRESH_TOKEN,
        OTHERS_SECRET,
        TOKEN,
        REFRESH_TOKEN,
        BESIDE,
        OTHERS_TOKEN,
        &encoded,
    ]
    .join(" ")
}

/// Answers of a provider that repeats credentials, wherever an answer has a place for them.
fn echoes() -> Vec<Answer> {
    let said = everything();
    vec![
        Answer::status(401)
            .with_json(&json!({"error": "invalid_client", "error_description": said})),
        Answer::status(400).with_json(&json!({"error": {"code": TOKEN, "message": said}})),
        Answer::status(200).with_json(&json!({"errcode": 40_001, "errmsg": said})),
        Answer::status(200).with_json(&json!({"data": {OTHERS_TOKEN: {"x": said}}})),
        Answer::status(500).with_bytes(said.clone()),
        Answer::status(200).with_bytes(format!("<xml><error>{said}</error></xml>")),
        Answer::status(302).with_header("location", &format!("https://127.0.0.1/{OTHERS_TOKEN}")),
        Answer::status(401).with_header("www-authenticate", &format!("Bearer error=\"{said}\"")),
        Answer::status(200).with_json(&json!({"access_token": 5, "expires_in": said})),
    ]
}

/// Everything that can be read of a server, but for tokens.
async fn shown(client: &Client, config: &Value) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in [
        "/api/realm?pageSize=1000",
        "/api/realm/r",
        "/api/realm/r/preview?key=k",
        "/api/secret?pageSize=1000",
        "/api/secret/r/k",
        "/api/secret/r/other",
        "/api/secret/fixed/k",
        "/api/renewal?pageSize=1000",
        "/api/api-key?pageSize=1000",
        "/api/audit?pageSize=1000",
        "/api/overview",
        "/api/settings",
        "/openapi.json",
        "/metrics",
        "/readyz",
    ] {
        let reply = client.get(path).await;
        assert!(reply.status.is_success(), "{path}: {}", reply.text);
        let headers = format!("{:?}", reply.headers);
        shown.push((path.to_owned(), format!("{headers}\n{}", reply.text)));
    }
    let trial = json!({"config": config, "send": true, "confirm": "consumes_refresh_token", "params": {
        "client_id": "the-client", "client_secret": CLIENT_SECRET,
        "refresh_token": FIRST_REFRESH_TOKEN, "scope": "all",
    }});
    let reply = client.dry_run(&trial).await.expect(200);
    shown.push(("a dry run".to_owned(), reply.text));
    shown
}

/// What is typed in wrongly: no error repeats it.
async fn mistaken(client: &Client) -> Vec<(String, String)> {
    let typed = TYPED_IN_THE_WRONG_PLACE;
    let mut told = Vec::new();
    for (path, body) in [
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": {"client_secret": {"x": typed}}}),
        ),
        (
            "/api/secret",
            json!({"realm": "r", "key": "k", "params": typed}),
        ),
        ("/api/api-key", json!({"name": "x", "scopes": [typed]})),
        (
            "/api/realm",
            json!({"id": "x", "config": {"url": typed, "method": typed}}),
        ),
        (
            "/api/token/report",
            json!({"realm": "r", "key": "k", "generation": typed}),
        ),
    ] {
        let reply = client.post(path, &body).await;
        assert!(reply.status.is_client_error(), "{path}: {}", reply.text);
        told.push((format!("{path} with a mistake"), reply.text));
    }
    let guessed = client.with_key(WRONG_KEY);
    let refused = guessed.token("r", "k").await.expect(401);
    told.push(("a refused key".to_owned(), refused.text));
    told
}

async fn no_credential_is_found_where_it_is_not_meant_to_be(database: TestDatabase) {
    let (provider, receiver) = (Provider::start().await, Provider::start().await);
    receiver.answer_with(Answer::status(204));
    let (_folder, server) = configured_by_files(&database, &receiver);
    let client = &server.client.with_key(ADMIN);
    let config = realm_of(&provider);
    client.save_realm("r", config.clone()).await;
    provider.answer_with(answer(OTHERS_TOKEN));
    save(client, "other", (OTHERS_SECRET, None), "all").await;
    client.generation("r", "other", 1).await;
    provider.answer_with(answer(TOKEN));
    save(client, "k", CREDENTIALS, "all").await;
    client.generation("r", "k", 1).await;
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    let fixed = json!({"realm": "fixed", "key": "k", "token": FIXED_TOKEN});
    client.put("/api/token", &fixed).await.expect(200);
    let new = json!({"name": "the shop", "scopes": ["token:read", "token:flush"]});
    let made = client.post("/api/api-key", &new).await.expect(200).json();
    let made = made["data"]["key"].as_str().expect("a key").to_owned();
    // They are served to whom they are meant for.
    let reader = client.with_key(&made);
    assert_eq!(
        reader.token("r", "k").await.expect(200).json()["token"],
        TOKEN
    );
    assert_eq!(
        reader.token("r", "other").await.expect(200).json()["token"],
        OTHERS_TOKEN
    );

    let forbidden = forbidden(&made);
    let mut log = server.before_it_served.clone();
    for (number, echo) in echoes().into_iter().enumerate() {
        provider.answer_with(echo);
        let attempts = provider.request_count();
        save(client, "k", CREDENTIALS, &format!("scope-{number}")).await;
        provider.wait_for_requests(attempts + 1).await;
        for (what, text) in shown(client, &config).await {
            expect_clean(&what, &text, &forbidden);
        }
    }
    for (what, text) in mistaken(client).await {
        expect_clean(&what, &text, &forbidden);
    }
    eventually("an event at the webhook", async || {
        (receiver.request_count() > 0).then_some(())
    })
    .await;
    for event in receiver.requests() {
        expect_clean("an event", &format!("{event:?}"), &forbidden);
    }
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid()));
    let environment = environment.expect("root reads it; a user reads its own");
    expect_clean(
        "the environment",
        &String::from_utf8_lossy(&environment),
        &forbidden,
    );
    // Whatever was added up is written before a server ends.
    server.terminate();
    log.extend(server.logged_to_the_end());
    assert!(
        log.iter().any(|line| line.contains("not renewed")),
        "{} lines",
        log.len()
    );
    expect_clean("the log", &log.join("\n"), &forbidden);
    // What is not secret can be found, so the search works.
    assert!(database.contains("/token").await);
    let found = database.first_of(&forbidden).await;
    assert!(found.is_none(), "the database shows {found:?}");
}

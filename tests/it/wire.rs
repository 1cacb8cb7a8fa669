//! What goes out, byte for byte, as a provider without a library of its own receives it.

use serde_json::{Value, json};

use crate::kit::raw::RawProvider;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    a_post_or_put_without_a_body_says_that_its_length_is_0,
    names_of_headers_are_in_title_case,
    servers_that_close_silently_after_each_answer_make_no_attempt_fail,
    basic_credentials_come_back_whole_from_a_form_decoder_and_a_percent_decoder,
}

/// Realms in the forms of real providers that take their credentials elsewhere than in a body.
fn without_body(provider: &RawProvider) -> Vec<(&'static str, Value)> {
    let url = |path: &str| provider.url(path);
    let basic = json!({
        "method": "client_secret_basic", "client_id": "$key_1", "client_secret": "$key_2",
    });
    let argument = |name: &str, place: &str, value: &str| json!({"name": name, "place": place, "value": value});
    let grant = || argument("grant_type", "url", "client_credentials");
    let realm = |path: &str, more: Value| {
        let mut config = json!({
            "url": url(path), "method": "POST", "content_type": "none",
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        config
    };
    vec![
        (
            "basic-and-query",
            realm(
                "/oauth/token",
                json!({
                    "client_auth": basic, "arguments": [grant(), argument("account_id", "url", "$key_3")],
                }),
            ),
        ),
        (
            "query-alone",
            realm(
                "/oauth2/token",
                json!({"arguments": [
                    grant(), argument("client_id", "url", "$key_1"), argument("client_secret", "url", "$key_2"),
                ]}),
            ),
        ),
        (
            "query-in-the-url",
            realm(
                "/token?grant_type=client_credentials",
                json!({
                    "client_auth": basic,
                }),
            ),
        ),
        (
            "basic-alone",
            realm("/v1/auth/login", json!({"client_auth": basic})),
        ),
        (
            "headers",
            realm(
                "/api/auth",
                json!({"arguments": [
                    argument("X-Api-Key", "header", "$key_1"), argument("X-Api-Secret", "header", "$key_2"),
                ]}),
            ),
        ),
        (
            "authorization-header",
            realm(
                "/session",
                json!({"arguments": [
                    argument("Authorization", "header", "Api-Token ${key_2}"),
                ]}),
            ),
        ),
        (
            "credentials-in-the-path",
            realm("/apps/${key_1}/keys/${key_2}/token", json!({})),
        ),
        (
            "put",
            realm("/tokens", json!({"method": "PUT", "client_auth": basic})),
        ),
        (
            "put-with-query",
            realm(
                "/tokens/current",
                json!({
                    "method": "PUT", "arguments": [argument("key", "url", "$key_1")],
                }),
            ),
        ),
        (
            "signed-query",
            realm(
                "/openapi/token",
                json!({"arguments": [
                    argument("ak", "url", "$key_1"), argument("sign", "url", "${(key_1 ~ key_2)|md5}"),
                ]}),
            ),
        ),
        (
            "accept-header",
            realm(
                "/connect/token",
                json!({
                    "client_auth": basic, "arguments": [argument("Accept", "header", "application/json")],
                }),
            ),
        ),
        (
            "step-before",
            realm(
                "/exchange",
                json!({
                    "steps": [{"url": url("/login"), "method": "POST", "content_type": "none",
                               "client_auth": basic}],
                    "arguments": [argument("session", "url", "${steps[0].body.session}")],
                }),
            ),
        ),
        (
            "form-without-arguments",
            realm(
                "/issue",
                json!({
                    "content_type": "none", "arguments": [argument("key", "header", "$key_1")],
                }),
            ),
        ),
    ]
}

async fn fetch(server: &Server, name: &str, config: Value) {
    server.client.save_realm(name, config).await;
    let secret = json!({
        "realm": name, "key": "k", "key_1": "the-app", "key_2": "the-secret", "key_3": "account",
    });
    server.client.post("/api/secret", &secret).await.expect(200);
    server.client.generation(name, "k", 1).await;
}

async fn a_post_or_put_without_a_body_says_that_its_length_is_0(database: TestDatabase) {
    let server = Server::start(&database).await;
    let provider = RawProvider::start().await;
    let realms = without_body(&provider);
    assert!(realms.len() >= 12);
    for (name, config) in realms {
        let before = provider.requests().len();
        fetch(&server, name, config).await;
        for request in &provider.requests()[before..] {
            assert!(
                request.has("Content-Length: 0"),
                "{name}: {:?}",
                request.head
            );
            assert!(request.body.is_empty(), "{name}");
        }
    }
}

async fn names_of_headers_are_in_title_case(database: TestDatabase) {
    let server = Server::start(&database).await;
    let provider = RawProvider::start().await;
    let config = json!({
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "client_credentials"},
            {"name": "Authorization", "place": "header", "value": "Basic x"},
            {"name": "x-api-key", "place": "header", "value": "k"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    fetch(&server, "r", config).await;
    let requests = provider.requests();
    for line in [
        "Authorization: Basic x",
        "X-Api-Key: k",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 29",
    ] {
        assert!(requests[0].has(line), "{line}: {:?}", requests[0].head);
    }
    let lower = |line: &&String| line.starts_with(|c: char| c.is_ascii_lowercase());
    assert_eq!(requests[0].head.iter().find(lower), None);
}

async fn servers_that_close_silently_after_each_answer_make_no_attempt_fail(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let provider = RawProvider::start().await;
    let config = json!({
        "url": provider.url("/token"), "method": "GET",
        "steps": [
            {"url": provider.url("/login"), "method": "POST"},
            {"url": provider.url("/again"), "method": "GET"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    server.client.save_realm("r", config).await;
    for number in 0..50 {
        server.client.save_secret("r", &format!("k{number}")).await;
    }
    for number in 0..50 {
        server
            .client
            .generation("r", &format!("k{number}"), 1)
            .await;
    }
    let attempts = server.client.list("/api/renewal").await;
    assert_eq!(attempts.len(), 50);
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt["outcome"] == "stored")
    );
    assert_eq!(provider.requests().len(), 150);
}

async fn basic_credentials_come_back_whole_from_a_form_decoder_and_a_percent_decoder(
    database: TestDatabase,
) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let server = Server::start(&database).await;
    let provider = RawProvider::start().await;
    let id: String = (' '..='~').collect();
    let secret = "中文 é%2B+&=:/\u{1f600} end";
    let config = json!({
        "url": provider.url("/token"), "method": "POST", "content_type": "form",
        "params": {"id": {"title": "ID", "pattern": "(?s).*"}, "secret": {"title": "Secret"}},
        "client_auth": {
            "method": "client_secret_basic", "client_id": "$id", "client_secret": "$secret",
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    server.client.save_realm("r", config).await;
    let body = json!({"realm": "r", "key": "k", "params": {"id": id, "secret": secret}});
    server.client.post("/api/secret", &body).await.expect(200);
    server.client.generation("r", "k", 1).await;
    let requests = provider.requests();
    let sent = requests[0]
        .head
        .iter()
        .find_map(|line| line.strip_prefix("Authorization: Basic "));
    let sent = STANDARD.decode(sent.expect("credentials")).expect("Base64");
    let sent = String::from_utf8(sent).expect("ASCII");
    let (sent_id, sent_secret) = sent.split_once(':').expect("two parts");
    for (sent, whole) in [(sent_id, id.as_str()), (sent_secret, secret)] {
        let by_percent = percent_encoding::percent_decode_str(sent).decode_utf8();
        assert_eq!(by_percent.expect("UTF-8"), whole);
        let form = format!("v={sent}");
        let (_, by_form) = url::form_urlencoded::parse(form.as_bytes())
            .next()
            .expect("a pair");
        assert_eq!(by_form, whole);
    }
}

//! What users of the predecessor rely on: its documents, requests, answers and statuses.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms};

use crate::kit::provider::RecordedRequest;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    the_documented_realm_registers_unchanged_and_asks_as_it_did,
    on_get_body_arguments_go_to_the_query,
    a_post_as_json_without_body_arguments_sends_an_empty_object,
    an_absent_content_type_means_json,
    text_sends_json_as_application_text,
    a_form_is_sent_url_encoded,
    an_empty_text_is_a_value,
    a_literal_key_equal_to_the_token_path_wins_over_the_dotted_path,
    a_dotted_token_path_steps_into_the_answer,
    a_lifetime_may_be_a_numeric_text,
    a_token_is_answered_with_its_life_in_milliseconds_and_its_source,
    unknown_fields_are_ignored_at_the_top_and_refused_inside_config,
    a_realm_is_merged,
    a_secret_is_merged,
    answers_say_ok_around_their_data,
    lists_are_paged_with_the_newest_change_first,
    a_keyword_is_part_of_an_id_or_a_comment,
    custom_logic_is_told_everything_and_answers_a_token_with_seconds,
    config_wins_over_custom_logic,
    a_fixed_token_is_stored_with_the_secret_or_put,
    a_token_cannot_be_typed_into_a_realm_that_obtains_its_own,
    a_fixed_token_is_417_where_flushed_missing_or_expired,
    the_unknown_is_400_for_a_token_and_404_for_a_realm,
    a_failed_provider_is_503_with_the_time_to_come_back,
    names_are_exact,
    a_refusal_with_status_200_is_a_failure,
    flush_counts_only_as_true,
}

const START: EpochMs = EpochMs(1_700_000_000_000);

/// A provider, and a server that flushes as often as asked, on a clock that the test moves.
async fn start(database: &TestDatabase) -> (Provider, Server, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let interval = "TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S";
    let options = Options {
        env: vec![(interval, "0".to_owned())],
        clock: Some(clock.clone()),
    };
    let server = Server::start_with(database, options).await;
    (Provider::start().await, server, clock)
}

fn config(provider: &Provider, fields: &Value) -> Value {
    let mut config = json!({
        "url": provider.url("/token"), "method": "POST",
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    for (name, value) in fields.as_object().expect("fields") {
        config[name] = value.clone();
    }
    config
}

/// What a provider is asked for a secret, in a realm whose config has these fields.
async fn asked(database: &TestDatabase, fields: Value) -> RecordedRequest {
    let (provider, server, _) = start(database).await;
    server
        .client
        .save_realm("r", config(&provider, &fields))
        .await;
    let secret = json!({"realm": "r", "key": "k", "key_1": "ä&b", "key_2": ""});
    server.client.post("/api/secret", &secret).await.expect(200);
    server.client.generation("r", "k", 1).await;
    provider.requests().remove(0)
}

/// What is served where a provider answers that.
async fn served(database: &TestDatabase, fields: Value, answer: Value) -> Value {
    let (provider, server, _) = start(database).await;
    provider.answer_with(Answer::status(200).with_json(&answer));
    server
        .client
        .save_realm("r", config(&provider, &fields))
        .await;
    server.client.save_secret("r", "k").await;
    server.client.generation("r", "k", 1).await;
    server.client.token("r", "k").await.expect(200).json()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

async fn the_documented_realm_registers_unchanged_and_asks_as_it_did(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let mut document = json!({
        "id": "wxgzh", "comment": "WeChat Official Account",
        "config": {
            "url": "https://api.weixin.qq.com/cgi-bin/token", "method": "GET",
            "arguments": [
                {"name": "appid", "place": "url", "value": "$key_1"},
                {"name": "secret", "place": "url", "value": "$key_2"},
                {"name": "grant_type", "place": "url", "value": "$key_3"},
            ],
            "token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in",
        },
    });
    server
        .client
        .post("/api/realm", &document)
        .await
        .expect(200);
    let stored = server
        .client
        .get("/api/realm/wxgzh")
        .await
        .expect(200)
        .json();
    for field in ["id", "comment", "config"] {
        assert_eq!(stored["data"][field], document[field]);
    }
    document["config"]["url"] = json!(provider.url("/cgi-bin/token"));
    server
        .client
        .post("/api/realm", &document)
        .await
        .expect(200);
    let secret = json!({
        "realm": "wxgzh", "key": "k", "key_1": "wx1", "key_2": "s+/=", "key_3": "client_credential",
    });
    server.client.post("/api/secret", &secret).await.expect(200);
    server.client.generation("wxgzh", "k", 1).await;
    let request = provider.requests().remove(0);
    assert_eq!(
        (&*request.method, &*request.path),
        ("GET", "/cgi-bin/token")
    );
    let query = [
        ("appid", "wx1"),
        ("secret", "s+/="),
        ("grant_type", "client_credential"),
    ];
    assert_eq!(request.query, pairs(&query));
    assert_eq!(request.body, "");
    assert_eq!(request.headers.get("content-type"), None);
}

async fn on_get_body_arguments_go_to_the_query(database: TestDatabase) {
    let arguments = json!([
        {"name": "a", "place": "url", "value": "1"}, {"name": "b", "place": "body", "value": "$key_1"},
    ]);
    let request = asked(&database, json!({"method": "GET", "arguments": arguments})).await;
    assert_eq!(request.query, pairs(&[("a", "1"), ("b", "ä&b")]));
    assert_eq!((&*request.method, &*request.body), ("GET", ""));
}

async fn a_post_as_json_without_body_arguments_sends_an_empty_object(database: TestDatabase) {
    let arguments = json!([{"name": "a", "place": "url", "value": "1"}]);
    let request = asked(
        &database,
        json!({"content_type": "json", "arguments": arguments}),
    )
    .await;
    assert_eq!((&*request.method, &*request.body), ("POST", "{}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.query, pairs(&[("a", "1")]));
}

/// An argument of each place that a POST has.
fn arguments() -> Value {
    json!([
        {"name": "X-App", "place": "header", "value": "app"},
        {"name": "a", "place": "body", "value": "$key_1"},
        {"name": "b", "place": "body", "value": "plain"},
    ])
}

async fn an_absent_content_type_means_json(database: TestDatabase) {
    let request = asked(&database, json!({"arguments": arguments()})).await;
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["x-app"], "app");
    assert_eq!(request.body, r#"{"a":"ä&b","b":"plain"}"#);
}

async fn text_sends_json_as_application_text(database: TestDatabase) {
    let fields = json!({"content_type": "text", "arguments": arguments()});
    let request = asked(&database, fields).await;
    assert_eq!(request.headers["content-type"], "application/text");
    assert_eq!(request.body, r#"{"a":"ä&b","b":"plain"}"#);
}

async fn a_form_is_sent_url_encoded(database: TestDatabase) {
    let fields = json!({"content_type": "form", "arguments": arguments()});
    let request = asked(&database, fields).await;
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(request.body, "a=%C3%A4%26b&b=plain");
}

async fn an_empty_text_is_a_value(database: TestDatabase) {
    let arguments = json!([
        {"name": "a", "place": "body", "value": "$key_2"}, {"name": "b", "place": "url", "value": "$key_2"},
    ]);
    let request = asked(&database, json!({"arguments": arguments})).await;
    assert_eq!(request.body, r#"{"a":""}"#);
    assert_eq!(request.query, pairs(&[("b", "")]));
}

async fn a_literal_key_equal_to_the_token_path_wins_over_the_dotted_path(database: TestDatabase) {
    let answer = json!({"data": {"token": "dotted"}, "data.token": "literal", "expires_in": 60});
    let token = served(&database, json!({"token_path": "data.token"}), answer).await;
    assert_eq!(token["token"], "literal");
}

async fn a_dotted_token_path_steps_into_the_answer(database: TestDatabase) {
    let fields = json!({"token_path": "data.list.0.token", "expires_in_path": "data.life.s"});
    let answer = json!({"data": {"list": [{"token": "deep"}], "life": {"s": 60}}, "token": "no"});
    let token = served(&database, fields, answer).await;
    assert_eq!(
        (&token["token"], &token["expires_in"]),
        (&json!("deep"), &json!(60_000))
    );
}

async fn a_lifetime_may_be_a_numeric_text(database: TestDatabase) {
    let answer = json!({"access_token": "t", "expires_in": "7200"});
    assert_eq!(
        served(&database, json!({}), answer).await["expires_in"],
        7_200_000
    );
}

async fn a_token_is_answered_with_its_life_in_milliseconds_and_its_source(database: TestDatabase) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    clock.advance(Ms(1001));
    let token = client.token("r", "k").await.expect(200).json();
    assert_eq!(
        (&token["token"], &token["source"]),
        (&json!("token-1"), &json!("database"))
    );
    assert_eq!(token["expires_in"], 7_200_000 - 1001);
    let token = client
        .get("/api/token?realm=r&key=k&flush=true")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&token["token"], &token["source"]),
        (&json!("token-2"), &json!("upstream"))
    );
    assert_eq!(token["expires_in"], 7_200_000);
}

async fn unknown_fields_are_ignored_at_the_top_and_refused_inside_config(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    let good = config(&provider, &json!({}));
    let realm = json!({"id": "r", "name": "x", "createdAt": 5, "config": good});
    client.post("/api/realm", &realm).await.expect(200);
    let secret = json!({"realm": "r", "key": "k", "key_6": "x", "comment": {"any": "thing"}});
    let stored = client.post("/api/secret", &secret).await.expect(200).json();
    assert_eq!(stored["data"]["params"], json!({}));
    let realm = json!({"id": "s", "config": config(&provider, &json!({"name": "x"}))});
    let problem = client.post("/api/realm", &realm).await;
    let problem = problem.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/config/name");
    client.get("/api/realm/s").await.expect(404);
}

async fn a_realm_is_merged(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let (first, second) = (
        config(&provider, &json!({})),
        config(&provider, &json!({"method": "GET"})),
    );
    let logic = provider.url("/logic");
    for (patch, comment, config, logic_code) in [
        (
            json!({"comment": "one", "config": first, "logic_code": logic}),
            json!("one"),
            &first,
            json!(logic),
        ),
        (json!({}), json!("one"), &first, json!(logic)),
        (
            json!({"comment": "two"}),
            json!("two"),
            &first,
            json!(logic),
        ),
        (
            json!({"config": second, "logic_code": null}),
            json!("two"),
            &second,
            Value::Null,
        ),
        (json!({"comment": ""}), json!(""), &second, Value::Null),
        (
            json!({"comment": null, "config": null}),
            Value::Null,
            &Value::Null,
            Value::Null,
        ),
    ] {
        let mut patch = patch;
        patch["id"] = json!("r");
        server.client.post("/api/realm", &patch).await.expect(200);
        let stored = server.client.get("/api/realm/r").await.expect(200).json()["data"].clone();
        assert_eq!(stored["comment"], comment);
        assert_eq!(&stored["config"], config);
        assert_eq!(stored["logic_code"], logic_code);
    }
}

/// The body that custom logic was sent last, with the token it then issued.
async fn told(provider: &Provider, server: &Server, patch: Value, generation: i64) -> Value {
    let token = json!({"token": format!("logic-{generation}"), "expires_in": 7200});
    provider.answer_next(Answer::status(200).with_json(&token));
    server.client.post("/api/secret", &patch).await.expect(200);
    server.client.generation("r", "k", generation).await;
    let request = provider.requests().pop().expect("a request");
    assert_eq!((&*request.method, &*request.path), ("POST", "/logic"));
    assert_eq!(request.headers["content-type"], "application/json");
    serde_json::from_str(&request.body).expect("JSON")
}

async fn a_secret_is_merged(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let logic = json!({"id": "r", "logic_code": provider.url("/logic")});
    server.client.post("/api/realm", &logic).await.expect(200);
    for (generation, (patch, expected)) in [
        (
            json!({"key_1": "a", "key_2": "b", "key_3": ""}),
            json!(["a", "b", ""]),
        ),
        (json!({"key_2": "c"}), json!(["a", "c", ""])),
        (
            json!({"key_1": null, "params": {"key_3": "d"}}),
            json!([null, "c", "d"]),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut patch = patch;
        (patch["realm"], patch["key"]) = (json!("r"), json!("k"));
        let told = told(&provider, &server, patch, generation as i64 + 1).await;
        assert_eq!(
            json!([told["key_1"], told["key_2"], told["key_3"]]),
            expected
        );
        assert!(!told.as_object().expect("an object").contains_key("key_4"));
    }
}

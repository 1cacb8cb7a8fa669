//! What users of the predecessor rely on: here what is sent to providers and what is served,
//! in `registered` what is registered and how it is listed.

mod registered;

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{ManualClock, Ms};

use crate::kit::provider::RecordedRequest;
use crate::kit::server::{Client, Options};
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
    a_dotted_path_steps_into_the_answer,
    a_lifetime_may_be_a_numeric_text,
    a_token_is_answered_with_its_life_in_milliseconds_and_its_source,
    the_unknown_is_400_for_a_token_and_404_for_a_realm,
    a_failed_provider_is_503_with_the_time_to_come_back,
    a_refusal_with_status_200_is_a_failure,
    flush_counts_as_true_or_1_in_any_case_and_as_nothing_else,
}

/// A provider, and a server that flushes as often as asked, on a clock that the test moves.
struct World {
    provider: Provider,
    server: Server,
    clock: Arc<ManualClock>,
}

impl World {
    async fn start(database: &TestDatabase) -> Self {
        let always = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
        let options = Options::default().with(&[always]);
        let (server, clock) = Server::on_manual_clock_with(database, options).await;
        let provider = Provider::start().await;
        Self {
            provider,
            server,
            clock,
        }
    }

    fn client(&self) -> &Client {
        &self.server.client
    }

    async fn get(&self, path: &str) -> Value {
        self.client().get(path).await.expect(200).json()
    }

    async fn post(&self, path: &str, document: &Value) -> Value {
        self.client().post(path, document).await.expect(200).json()
    }

    /// A config for a POST, with some fields more.
    fn config(&self, fields: &Value) -> Value {
        let mut config = json!({
            "url": self.provider.url("/token"), "method": "POST",
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        let more = fields.as_object().expect("fields").clone();
        config.as_object_mut().expect("an object").extend(more);
        config
    }

    /// Has a first token obtained in a realm whose config has these fields.
    async fn obtain(&self, fields: &Value) {
        self.client().save_realm("r", self.config(fields)).await;
        let secret = json!({"realm": "r", "key": "k", "key_1": "ä&b", "key_2": ""});
        self.post("/api/secret", &secret).await;
        self.client().generation("r", "k", 1).await;
        self.server.settled().await;
    }
}

/// What a provider is asked in a realm whose config has these fields.
async fn asked(database: &TestDatabase, fields: Value) -> RecordedRequest {
    let world = World::start(database).await;
    world.obtain(&fields).await;
    world.provider.requests().remove(0)
}

/// Token and lifetime that are served where a provider answers that.
async fn served(database: &TestDatabase, fields: Value, answer: Value) -> Value {
    let world = World::start(database).await;
    let answer = Answer::status(200).with_json(&answer);
    world.provider.answer_with(answer);
    world.obtain(&fields).await;
    let token = world.get("/api/token?realm=r&key=k").await;
    json!([token["token"], token["expires_in"]])
}

fn query(request: &RecordedRequest) -> Value {
    json!(request.query)
}

async fn the_documented_realm_registers_unchanged_and_asks_as_it_did(database: TestDatabase) {
    let world = World::start(&database).await;
    let documented = r#"{"id": "wxgzh", "comment": "WeChat Official Account",
        "config": {"url": "https://api.weixin.qq.com/cgi-bin/token", "method": "GET",
          "arguments": [{"name": "appid", "place": "url", "value": "$key_1"},
                        {"name": "secret", "place": "url", "value": "$key_2"},
                        {"name": "grant_type", "place": "url", "value": "$key_3"}],
          "token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in"}}"#;
    let simulated = documented.replace("https://api.weixin.qq.com", &world.provider.url(""));
    for text in [documented, &simulated] {
        let document: Value = serde_json::from_str(text).expect("JSON");
        world.post("/api/realm", &document).await;
        let stored = &world.get("/api/realm/wxgzh").await["data"];
        assert_eq!(stored["comment"], document["comment"]);
        assert_eq!(stored["config"], document["config"]);
    }
    let secret = json!({"realm": "wxgzh", "key": "k", "key_1": "a", "key_2": "+/=", "key_3": "c"});
    world.post("/api/secret", &secret).await;
    world.client().generation("wxgzh", "k", 1).await;
    let asked = world.provider.requests().remove(0);
    assert_eq!(
        [&*asked.method, &asked.path, &asked.body],
        ["GET", "/cgi-bin/token", ""]
    );
    assert_eq!(
        query(&asked),
        json!([["appid", "a"], ["secret", "+/="], ["grant_type", "c"]])
    );
    assert_eq!(asked.headers.get("content-type"), None);
}

async fn on_get_body_arguments_go_to_the_query(database: TestDatabase) {
    let fields = json!({"method": "GET", "content_type": "json", "arguments": [
        {"name": "a", "place": "url", "value": "1"},
        {"name": "b", "place": "body", "value": "$key_1"},
    ]});
    let asked = asked(&database, fields).await;
    assert_eq!(query(&asked), json!([["a", "1"], ["b", "ä&b"]]));
    assert_eq!([&*asked.method, &asked.body], ["GET", ""]);
}

async fn a_post_as_json_without_body_arguments_sends_an_empty_object(database: TestDatabase) {
    let arguments = json!([{"name": "a", "place": "url", "value": "1"}]);
    let asked = asked(
        &database,
        json!({"content_type": "json", "arguments": arguments}),
    )
    .await;
    let media_type = &asked.headers["content-type"];
    assert_eq!([media_type, &asked.body], ["application/json", "{}"]);
    assert_eq!(query(&asked), json!([["a", "1"]]));
}

/// The media type and the body of a POST with two arguments in its body.
async fn posted(database: &TestDatabase, mut fields: Value) -> [String; 2] {
    fields["arguments"] = json!([
        {"name": "a", "place": "body", "value": "$key_1"},
        {"name": "b", "place": "body", "value": "$key_2"},
    ]);
    let asked = asked(database, fields).await;
    [asked.headers["content-type"].clone(), asked.body]
}

async fn an_absent_content_type_means_json(database: TestDatabase) {
    let posted = posted(&database, json!({})).await;
    assert_eq!(posted, ["application/json", r#"{"a":"ä&b","b":""}"#]);
}

async fn text_sends_json_as_application_text(database: TestDatabase) {
    let posted = posted(&database, json!({"content_type": "text"})).await;
    assert_eq!(posted, ["application/text", r#"{"a":"ä&b","b":""}"#]);
}

async fn a_form_is_sent_url_encoded(database: TestDatabase) {
    let posted = posted(&database, json!({"content_type": "form"})).await;
    assert_eq!(
        posted,
        ["application/x-www-form-urlencoded", "a=%C3%A4%26b&b="]
    );
}

async fn an_empty_text_is_a_value(database: TestDatabase) {
    let world = World::start(&database).await;
    // key_2 is empty, key_3 is not there.
    let config = |name| json!({"arguments": [{"name": "a", "place": "url", "value": name}]});
    world.obtain(&config("$key_2")).await;
    assert_eq!(query(&world.provider.requests()[0]), json!([["a", ""]]));
    world
        .client()
        .save_realm("unset", world.config(&config("$key_3")))
        .await;
    world.client().save_secret("unset", "k").await;
    let secret = world.client().state("unset", "k", "needs_attention").await;
    assert_eq!(secret["last_error"]["class"], "internal");
    assert_eq!(world.provider.request_count(), 1);
}

async fn a_literal_key_equal_to_the_token_path_wins_over_the_dotted_path(database: TestDatabase) {
    let answer = json!({"a": {"b": "dotted"}, "a.b": "literal", "expires_in": 60});
    let served = served(&database, json!({"token_path": "a.b"}), answer).await;
    assert_eq!(served, json!(["literal", 60_000]));
}

async fn a_dotted_path_steps_into_the_answer(database: TestDatabase) {
    let fields = json!({"token_path": "a.0.b", "expires_in_path": "c.d"});
    let answer = json!({"a": [{"b": "deep"}], "c": {"d": 60}, "b": "shallow", "d": 5});
    assert_eq!(
        served(&database, fields, answer).await,
        json!(["deep", 60_000])
    );
}

async fn a_lifetime_may_be_a_numeric_text(database: TestDatabase) {
    let answer = json!({"access_token": "t", "expires_in": "7200"});
    assert_eq!(
        served(&database, json!({}), answer).await,
        json!(["t", 7_200_000])
    );
}

async fn a_token_is_answered_with_its_life_in_milliseconds_and_its_source(database: TestDatabase) {
    let world = World::start(&database).await;
    world.obtain(&json!({})).await;
    world.clock.advance(Ms(1001));
    for (flush, token, expires_in, source) in [
        ("false", "token-1", 7_198_999, "cache"),
        ("true", "token-2", 7_200_000, "upstream"),
    ] {
        let path = format!("/api/token?realm=r&key=k&flush={flush}");
        let answer = world.get(&path).await;
        let answer = json!([answer["token"], answer["expires_in"], answer["source"]]);
        assert_eq!(answer, json!([token, expires_in, source]));
    }
}

async fn the_unknown_is_400_for_a_token_and_404_for_a_realm(database: TestDatabase) {
    let world = World::start(&database).await;
    let client = world.client();
    client
        .token("r", "k")
        .await
        .expect_problem(400, "unknown_secret");
    world.post("/api/realm", &json!({"id": "r"})).await;
    client
        .token("r", "k")
        .await
        .expect_problem(400, "unknown_secret");
    let secret = json!({"realm": "s", "key": "k"});
    let refused = client.post("/api/secret", &secret).await;
    refused.expect_problem(400, "unknown_realm");
    client
        .get("/api/realm/s")
        .await
        .expect_problem(404, "unknown_realm");
}

async fn a_failed_provider_is_503_with_the_time_to_come_back(database: TestDatabase) {
    let world = World::start(&database).await;
    let busy = Answer::status(503).with_header("retry-after", "120");
    world.provider.answer_with(busy);
    world
        .client()
        .save_realm("r", world.config(&json!({})))
        .await;
    world.client().save_secret("r", "k").await;
    let failed = "/api/renewal?outcome=failed";
    eventually(failed, async || world.client().list(failed).await.pop()).await;
    let reply = world.client().token("r", "k").await;
    let wait: i64 = reply
        .header("retry-after")
        .expect("a wait")
        .parse()
        .expect("seconds");
    assert_eq!(wait, 120);
    let problem = reply.expect_problem(503, "token_unavailable");
    assert_eq!(problem["class"], "transient");
}

async fn a_refusal_with_status_200_is_a_failure(database: TestDatabase) {
    let world = World::start(&database).await;
    world
        .client()
        .save_realm("r", world.config(&json!({})))
        .await;
    for (key, answer) in [
        ("code", json!({"errcode": 40013, "errmsg": "invalid appid"})),
        (
            "code-and-token",
            json!({"errcode": -1, "access_token": "t", "expires_in": 7200}),
        ),
        (
            "code-as-text",
            json!({"errcode": "1", "access_token": "t", "expires_in": 7200}),
        ),
        ("empty", json!({"access_token": "", "expires_in": 7200})),
        ("null", json!({"access_token": null, "expires_in": 7200})),
        ("number", json!({"access_token": 5, "expires_in": 7200})),
        ("missing", json!({"expires_in": 7200})),
    ] {
        world
            .provider
            .answer_next(Answer::status(200).with_json(&answer));
        world.client().save_secret("r", key).await;
        let failed = eventually("the attempt has failed", async || {
            let secret = world.client().secret("r", key).await;
            (!secret["last_error"].is_null()).then_some(secret)
        });
        assert_eq!(failed.await["generation"], 0, "{key}");
        world.client().token("r", key).await.expect(503);
    }
    let good = json!({"errcode": 0, "errmsg": "ok", "access_token": "t", "expires_in": 7200});
    world
        .provider
        .answer_next(Answer::status(200).with_json(&good));
    world.client().save_secret("r", "zero").await;
    world.client().generation("r", "zero", 1).await;
}

async fn flush_counts_as_true_or_1_in_any_case_and_as_nothing_else(database: TestDatabase) {
    let world = World::start(&database).await;
    world.obtain(&json!({})).await;
    let flushed = async |flush: &str| {
        let path = format!("/api/token?realm=r&key=k&flush={flush}");
        let answer = world.get(&path).await;
        json!([
            answer["token"],
            answer["flushed"],
            answer["flush_denied_code"]
        ])
    };
    for flush in ["", "false", "FALSE", "0"] {
        let expected = json!(["token-1", null, null]);
        assert_eq!(flushed(flush).await, expected, "{flush}");
    }
    for flush in ["yes", "on", "2", "true%20", "true,true", "%2B1", "t%C3%BC"] {
        let expected = json!(["token-1", false, "unknown_flush_value"]);
        assert_eq!(flushed(flush).await, expected, "{flush}");
    }
    assert_eq!(world.provider.request_count(), 1);
    for (generation, flush) in (2..).zip(["true", "TRUE", "True", "1"]) {
        let expected = json!([format!("token-{generation}"), true, null]);
        assert_eq!(flushed(flush).await, expected, "{flush}");
    }
}

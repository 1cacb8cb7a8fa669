//! The bytes of answers: marks and charsets, content codings, forms, halves of characters.

mod charsets;
mod codings;

use std::io::Write as _;

use encoding_rs::{Encoding, GBK};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::kit::server::Client;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    an_answer_that_is_a_form_is_read,
    half_of_a_surrogate_pair_harms_only_its_field,
    custom_logic_is_read_by_the_same_rules,
    a_dry_run_shows_an_answer_decoded_or_says_why_it_is_not,
}

const TOKEN: &str = r#"{"access_token":"tok","expires_in":3600}"#;

fn encoded(encoding: &'static Encoding, text: &str) -> Vec<u8> {
    let (bytes, _, unmappable) = encoding.encode(text);
    assert!(!unmappable, "{text}");
    bytes.into_owned()
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let text = format!("\u{feff}{text}");
    text.encode_utf16().flat_map(bytes).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A realm of a provider of its own, and a secret in it. The provider stops with the test.
async fn registered(client: &Client, name: &str, answer: Answer, more: Value) -> Provider {
    let provider = Provider::start().await;
    provider.answer_with(answer);
    let mut config = json!({
        "url": provider.url("/token"), "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    for (field, value) in more.as_object().expect("fields") {
        config[field] = value.clone();
    }
    client.save_realm(name, config).await;
    client.save_secret(name, "k").await;
    provider
}

/// The token that comes of an answer, with what is served beside it.
async fn served(client: &Client, name: &str, answer: Answer, more: Value) -> Value {
    let _provider = registered(client, name, answer, more).await;
    let seen = eventually(&format!("a token or a failure of {name}"), async || {
        let secret = client.secret(name, "k").await;
        let ended = secret["generation"] == 1 || secret["last_error"].is_object();
        ended.then_some(secret)
    })
    .await;
    assert_eq!(seen["generation"], 1, "{name}: {seen}");
    client.token(name, "k").await.expect(200).json()
}

/// What is said of an answer that no token comes of.
async fn refused(client: &Client, name: &str, answer: Answer, more: Value) -> (String, String) {
    let _provider = registered(client, name, answer, more).await;
    let secret = eventually(&format!("a failure of {name}"), async || {
        let secret = client.secret(name, "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    assert_eq!(secret["generation"], 0, "{name}: {secret}");
    let of = |field: &str| {
        secret["last_error"][field]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    (of("class"), of("detail"))
}

fn with(content_type: &str, bytes: Vec<u8>) -> Answer {
    let answer = Answer::status(200).with_bytes(bytes);
    if content_type.is_empty() {
        return answer;
    }
    answer.with_header("content-type", content_type)
}

async fn an_answer_that_is_a_form_is_read(database: TestDatabase) {
    let server = Server::start(&database).await;
    let form = json!({
        "response_format": "form", "refresh_token_path": "refresh",
        "extra": {"scope": "body.scope", "shop": "body.shop"},
    });
    let gbk = [
        b"access_token=tok&expires_in=3600&shop=%B5%EA",
        encoded(GBK, "铺").as_slice(),
    ]
    .concat();
    for (name, content_type, bytes, token, extra) in [
        (
            "plain",
            "application/x-www-form-urlencoded",
            b"access_token=a%2Bb%7Cc&expires_in=3600".to_vec(),
            "a+b|c",
            json!({}),
        ),
        (
            "lists",
            "text/plain; charset=utf-8",
            b"\xef\xbb\xbfscope=a+b&access_token=tok&scope=%E5%BA%97&expires_in=3600&shop=\r\n"
                .to_vec(),
            "tok",
            json!({"scope": ["a b", "店"], "shop": ""}),
        ),
        (
            "gbk",
            "application/x-www-form-urlencoded; charset=GBK",
            gbk,
            "tok",
            json!({"shop": "店铺"}),
        ),
        (
            "utf16",
            "text/html",
            utf_16(
                "access_token=tok&expires_in=3600&shop=店%E5%BA%97",
                u16::to_le_bytes,
            ),
            "tok",
            json!({"shop": "店店"}),
        ),
    ] {
        let answer = with(content_type, bytes);
        let served = served(&server.client, name, answer, form.clone()).await;
        assert_eq!(served["token"], token, "{name}");
        assert_eq!(served["extra"], extra, "{name}");
    }
    // A form within another format, and a map made of it.
    let within = json!({"result": "access_token=a%20b&scope=x&scope=y"});
    let more = json!({
        "token_path": null, "token": "(body.result|formdecode).access_token",
        "expires_in_path": null, "default_expires_in_s": 3600,
        "extra": {"scope": "(body.result|formdecode).scope"},
    });
    let answer = Answer::status(200).with_json(&within);
    let within = served(&server.client, "filter", answer, more).await;
    assert_eq!(
        (&within["token"], &within["extra"]["scope"]),
        (&json!("a b"), &json!(["x", "y"]))
    );
    for (name, bytes, told) in [
        ("json", TOKEN.as_bytes(), "the answer is not a form"),
        (
            "html",
            b"<html lang='en'>hello</html>",
            "the answer is not a form",
        ),
        ("empty", b"", "the answer is not a form"),
        (
            "error",
            b"error=bad_verification_code&error_description=no+code",
            "code bad_verification_code: no code",
        ),
        (
            "not-utf8",
            b"access_token=tok&expires_in=3600&shop=%B5%EA",
            "neither UTF-8",
        ),
    ] {
        let answer = with("", bytes.to_vec());
        let (_, detail) = refused(&server.client, name, answer, form.clone()).await;
        assert!(detail.contains(told), "{name}: {detail}");
    }
}

async fn half_of_a_surrogate_pair_harms_only_its_field(database: TestDatabase) {
    let server = Server::start(&database).await;
    let more = json!({
        "extra": {"shop": "body.shop", "whole": "body.whole"},
        "refresh_token_path": "refresh_token",
    });
    for (name, field, shop) in [
        ("high", r#""shop":"a\ud83d""#, "a\u{fffd}"),
        ("low", r#""shop":"\uDE00b""#, "\u{fffd}b"),
        ("turned", r#""shop":"\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        ("cut", r#""shop":"\ud83d\n""#, "\u{fffd}\n"),
        ("refresh", r#""refresh_token":"r\udc00","shop":"ok""#, "ok"),
        ("escaped", r#""shop":"\\ud83d""#, "\\ud83d"),
    ] {
        let body =
            format!(r#"{{"access_token":"tok","expires_in":3600,"whole":"\ud83d\ude00",{field}}}"#);
        let answer = with("application/json", body.into_bytes());
        let served = served(&server.client, name, answer, more.clone()).await;
        assert_eq!(served["token"], "tok", "{name}");
        assert_eq!(
            served["extra"],
            json!({"shop": shop, "whole": "😀"}),
            "{name}"
        );
    }
    let by_expression = json!({"token_path": null, "token": "'Bearer ' ~ body.access_token"});
    let nested = json!({
        "token_path": null, "token": "(body.data|fromjson).t", "expires_in_path": null,
        "default_expires_in_s": 60,
    });
    for (name, body, more) in [
        (
            "token",
            r#"{"access_token":"t\ud800","expires_in":3600}"#,
            json!({}),
        ),
        (
            "token-low",
            r#"{"access_token":"\uDFFFt","expires_in":3600,"shop":"x"}"#,
            json!({}),
        ),
        (
            "expression",
            r#"{"access_token":"t\ud800k","expires_in":3600}"#,
            by_expression,
        ),
        ("nested", r#"{"data":"{\"t\":\"\\ud800\"}"}"#, nested),
    ] {
        let answer = with("application/json", body.into());
        let (_, detail) = refused(&server.client, name, answer, more).await;
        let told = "holds a character that cannot be represented";
        assert!(
            detail.starts_with("the token ") && detail.ends_with(told),
            "{name}: {detail}"
        );
    }
}

async fn custom_logic_is_read_by_the_same_rules(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    let answer = |text: &str| encoded(GBK, &format!(r#"{{"token":"{text}","expires_in":3600}}"#));
    let gbk = "application/json; charset=GBK";
    for (name, content_type, bytes, told) in [
        (
            "mark",
            "",
            format!("\u{feff}{}", TOKEN.replace("access_", "")).into_bytes(),
            Ok("tok"),
        ),
        ("gbk", gbk, answer("店"), Ok("店")),
        (
            "utf16",
            "",
            utf_16(&TOKEN.replace("access_", ""), u16::to_le_bytes),
            Ok("tok"),
        ),
        (
            "other",
            "",
            answer("店"),
            Err("custom logic: the answer is neither UTF-8"),
        ),
        ("half", "", answer("\\ud800"), Err("cannot be represented")),
        (
            "html",
            "",
            b"<html>".to_vec(),
            Err("custom logic: the answer is not JSON"),
        ),
    ] {
        let provider = Provider::start().await;
        provider.answer_with(
            with(content_type, gzip(&bytes)).with_header("content-encoding", "X-GZIP"),
        );
        let logic = json!({"id": name, "logic_code": provider.url("/logic")});
        client.post("/api/realm", &logic).await.expect(200);
        client.save_secret(name, "k").await;
        let secret = eventually(&format!("an attempt of {name}"), async || {
            let secret = client.secret(name, "k").await;
            let ended = secret["generation"] == 1 || secret["last_error"].is_object();
            ended.then_some(secret)
        })
        .await;
        match told {
            Ok(token) => {
                assert_eq!(secret["generation"], 1, "{name}: {secret}");
                let served = client.token(name, "k").await.expect(200).json();
                assert_eq!(served["token"], token, "{name}");
            }
            Err(told) => {
                let detail = secret["last_error"]["detail"].as_str().expect("a text");
                assert!(detail.contains(told), "{name}: {detail}");
            }
        }
    }
}

async fn a_dry_run_shows_an_answer_decoded_or_says_why_it_is_not(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let trial = async |answer: Answer, more: Value| {
        provider.answer_with(answer);
        let mut config = json!({
            "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
            "expires_in_path": "expires_in", "extra": {"shop": "body.shop"},
        });
        for (field, value) in more.as_object().expect("fields") {
            config[field] = value.clone();
        }
        let trial = json!({"config": config, "send": true, "params": {}, "confirm": "consumes_refresh_token"});
        let reply = server.client.dry_run(&trial).await.expect(200);
        reply.json()["data"]["exchanges"][0].clone()
    };
    let of_gbk = encoded(
        GBK,
        r#"{"access_token":"tok","expires_in":3600,"shop":"店"}"#,
    );
    let gbk = "application/json; charset=GBK";
    let shown = trial(with(gbk, of_gbk.clone()), json!({})).await;
    assert_eq!(shown["answer"]["body"]["shop"], "店", "{shown}");
    let text = trial(
        with("text/plain; charset=GBK", encoded(GBK, "店 open")),
        json!({"response_format": "text", "token_path": null, "token": "text"}),
    )
    .await;
    assert_eq!(text["answer"]["body"], "店 open", "{text}");
    let form = trial(
        with("", b"access_token=tok&expires_in=3600&shop=a+b".to_vec()),
        json!({"response_format": "form"}),
    )
    .await;
    assert_eq!(form["answer"]["body"]["shop"], "a b", "{form}");
    for (answer, told) in [
        (with("", of_gbk.clone()), "neither UTF-8"),
        (
            with("", of_gbk).with_header("content-encoding", "zstd"),
            "zstd",
        ),
    ] {
        let shown = trial(answer, json!({})).await;
        let detail = shown["reading"]["failure"]["detail"]
            .as_str()
            .unwrap_or_default();
        assert!(detail.contains(told), "{shown}");
    }
    let harmed = r#"{"access_token":"tok","expires_in":3600,"refresh_token":"r\ud800"}"#;
    let shown = trial(
        with("", harmed.into()),
        json!({"refresh_token_path": "refresh_token"}),
    )
    .await;
    let fields = shown["reading"]["fields"].as_array().expect("fields");
    let field = fields
        .iter()
        .find(|field| field["field"] == "refresh_token_path");
    let detail = field
        .and_then(|field| field["detail"].as_str())
        .unwrap_or_default();
    assert!(detail.contains("cannot be represented"), "{shown}");
}

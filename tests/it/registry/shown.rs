//! How realms, secrets and attempts are listed and shown; what is never shown.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use token_server::foundation::clock::Ms;

use super::{save, start, with_token};
use crate::kit::server::Client;
use crate::kit::{Answer, TestDatabase, eventually, on_every_database};

on_every_database! {
    secrets_are_listed_by_realm_and_key_with_the_newest_first,
    a_keyword_is_literal_and_finds_letters_of_every_alphabet,
    a_state_is_filtered_as_it_is_shown,
    names_of_any_printable_characters_are_reached_by_path,
    no_answer_but_a_token_shows_a_parameter_or_a_token,
    a_providers_message_shows_no_parameter_that_has_line_ends,
    a_providers_message_shows_no_part_of_a_parameter_where_it_is_cut,
    the_history_tells_of_successes_and_failures_and_is_filtered,
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The keys on a list of secrets.
async fn keys(client: &Client, parameters: &str) -> Vec<String> {
    let list = client.list(&format!("/api/secret?{parameters}")).await;
    let key = |secret: &Value| secret["key"].as_str().expect("a key").to_owned();
    list.iter().map(key).collect()
}

async fn secrets_are_listed_by_realm_and_key_with_the_newest_first(database: TestDatabase) {
    let (_provider, server, _) = start(&database).await;
    let client = &server.client;
    for (realm, key) in [
        ("a", "one"),
        ("b", "two"),
        ("a", "Three"),
        ("a", "one-more"),
    ] {
        client.save_realm(realm, Value::Null).await;
        client.save_secret(realm, key).await;
    }
    // A change is no registration.
    save(
        client,
        json!({"realm": "a", "key": "one", "key_1": "changed"}),
    )
    .await;
    for (parameters, expected) in [
        ("", "one-more Three two one"),
        ("realm=a", "one-more Three one"),
        ("realm=A", ""),
        ("keyword=O", "one-more two one"),
        ("keyword=three", "Three"),
        ("realm=b&keyword=one", ""),
        ("realm=a&state=fixed&keyword=one", "one-more one"),
        ("state=active", ""),
    ] {
        assert_eq!(
            keys(client, parameters).await.join(" "),
            expected,
            "{parameters}"
        );
    }
    let page = client
        .get("/api/secret?pageSize=2&page=2")
        .await
        .expect(200)
        .json();
    assert_eq!(page["data"]["total"], 4);
    assert_eq!(page["data"]["list"][0], client.secret("b", "two").await);
    assert_eq!(page["data"]["list"][1], client.secret("a", "one").await);
}

async fn a_keyword_is_literal_and_finds_letters_of_every_alphabet(database: TestDatabase) {
    let (_provider, server, _) = start(&database).await;
    let client = &server.client;
    client.save_realm("r", Value::Null).await;
    let names = [
        "100%",
        "a_b",
        "axb",
        "bang!",
        "back\\slash",
        "quote'\"",
        "公众号",
        "MÜLLER",
        "Ёж",
    ];
    for name in names {
        client.save_secret("r", name).await;
    }
    for (keyword, expected) in [
        ("%", vec!["100%"]),
        ("_", vec!["a_b"]),
        ("a_b", vec!["a_b"]),
        ("A%B", vec![]),
        ("!", vec!["bang!"]),
        ("\\", vec!["back\\slash"]),
        ("'", vec!["quote'\""]),
        ("众", vec!["公众号"]),
        ("MÜLL", vec!["MÜLLER"]),
        ("Ёж", vec!["Ёж"]),
    ] {
        let found = keys(client, &format!("keyword={}", encoded(keyword))).await;
        assert_eq!(found, expected, "{keyword}");
    }
}

/// The secret, once its renewal has failed.
async fn failed(client: &Client) -> Value {
    eventually("a failure", async || {
        let secret = client.secret("r", "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await
}

fn refused() -> Answer {
    Answer::status(401).with_json(&json!({"error": "invalid_client"}))
}

async fn a_state_is_filtered_as_it_is_shown(database: TestDatabase) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    client.save_realm("fixed", Value::Null).await;
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("fixed", "fixed").await;
    provider.answer_with(Answer::status(500));
    for (key, answer, outcome) in [
        ("pending", Answer::status(500), "failed"),
        ("needs_attention", refused(), "failed"),
        ("expired", Answer::token("a", 60), "stored"),
        ("active", Answer::token("b", 7200), "stored"),
        ("paused", Answer::token("c", 7200), "stored"),
        ("retrying", Answer::token("d", 7200), "stored"),
        ("retrying", Answer::status(500), "failed"),
    ] {
        provider.answer_next(answer);
        save(
            client,
            json!({"realm": "r", "key": key, "key_1": outcome, "key_2": "s"}),
        )
        .await;
        let history = format!("/api/renewal?key={key}&outcome={outcome}");
        eventually(&history, async || client.list(&history).await.pop()).await;
    }
    let pause = client.post("/api/secret/r/paused/pause", &json!({})).await;
    pause.expect(200);
    clock.advance(Ms::from_secs(60));
    for state in "pending active retrying expired needs_attention paused fixed".split(' ') {
        assert_eq!(keys(client, &format!("state={state}")).await, [state]);
        let realm = if state == "fixed" { "fixed" } else { "r" };
        assert_eq!(client.secret(realm, state).await["state"], state);
    }
}

async fn names_of_any_printable_characters_are_reached_by_path(database: TestDatabase) {
    let (_provider, server, _) = start(&database).await;
    let client = &server.client;
    for name in [
        "ü x",
        "50%",
        "q?#&=+;,",
        "%2F",
        "a/b",
        "back\\slash",
        "'\"<>{}",
    ] {
        client.save_realm(name, Value::Null).await;
        save(client, json!({"realm": name, "key": name, "token": "t"})).await;
        let encoded = encoded(name);
        client.token(&encoded, &encoded).await.expect(200);
        let realm = format!("/api/realm/{encoded}");
        let shown = client.get(&realm).await.expect(200).json();
        assert_eq!(shown["data"]["id"], name);
        assert_eq!(client.secret(&encoded, &encoded).await["key"], name);
        let secret = format!("/api/secret/{encoded}/{encoded}");
        client
            .post(&format!("{secret}/pause"), &json!({}))
            .await
            .expect(200);
        client.delete(&secret).await.expect(200);
        client.delete(&realm).await.expect(200);
    }
}

async fn no_answer_but_a_token_shows_a_parameter_or_a_token(database: TestDatabase) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    provider.answer_next(Answer::token("canary-token", 7200));
    let refused = json!({
        "error": "invalid_client canary", "error_description": "no app canary-of-the-secret here",
    });
    provider.answer_with(Answer::status(401).with_json(&refused));
    client.register_realm("r", &provider.url("/token")).await;
    let secret = json!({
        "realm": "r", "key": "k", "key_1": "canary", "key_2": "canary-of-the-secret",
    });
    let mut answers = vec![client.post("/api/secret", &secret).await];
    client.generation("r", "k", 1).await;
    answers.push(client.get("/api/secret/r/k").await);
    answers.push(client.post("/api/secret/r/k/pause", &json!({})).await);
    clock.advance(Ms::from_secs(7200));
    answers.push(client.post("/api/secret/r/k/resume", &json!({})).await);
    let detail = failed(client).await["last_error"]["detail"].clone();
    assert_eq!(
        detail,
        "the provider answered 401, code invalid_client ***: no app *** here"
    );
    answers.push(client.token("r", "k").await.expect(503));
    let lists = ["secret", "renewal", "audit", "realm"].map(|list| format!("/api/{list}"));
    for path in lists
        .iter()
        .map(String::as_str)
        .chain(["/metrics", "/api/secret/r/k"])
    {
        answers.push(client.get(path).await.expect(200));
    }
    for answer in answers {
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
}

/// All that is shown of a secret whose provider repeats its value after some other text.
async fn shown_of_repeated(database: &TestDatabase, before: &str, value: &str) -> String {
    let (provider, server, _) = start(database).await;
    let client = &server.client;
    let message = format!("{before}{value}");
    let refused = json!({"errcode": 40001, "errmsg": message, "error": message});
    provider.answer_with(Answer::status(401).with_json(&refused));
    client.register_realm("r", &provider.url("/token")).await;
    save(
        client,
        json!({"realm": "r", "key": "k", "key_1": "a", "key_2": value}),
    )
    .await;
    let secret = failed(client).await;
    let detail = secret["last_error"]["detail"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(detail.contains(before), "{detail}");
    json!([
        client.list("/api/secret").await,
        client.list("/api/renewal").await
    ])
    .to_string()
}

async fn a_providers_message_shows_no_parameter_that_has_line_ends(database: TestDatabase) {
    let value = "-----BEGIN KEY-----\ncanary-line-1\ncanary-line-2\n-----END KEY-----\n";
    let shown = shown_of_repeated(&database, "not a key: ", value).await;
    assert!(!shown.contains("canary"), "{shown}");
}

async fn a_providers_message_shows_no_part_of_a_parameter_where_it_is_cut(database: TestDatabase) {
    // Messages are cut at 300 characters.
    let shown = shown_of_repeated(&database, &"x".repeat(290), "canary-of-the-secret").await;
    assert!(!shown.contains("canary"), "{shown}");
}

async fn the_history_tells_of_successes_and_failures_and_is_filtered(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    with_token(&provider, client).await;
    client
        .get("/api/token?realm=r&key=k&flush=true")
        .await
        .expect(200);
    provider.answer_with(Answer::status(500));
    client.save_secret("r", "K").await;
    let failed = "/api/renewal?key=K&outcome=failed";
    eventually(failed, async || client.list(failed).await.pop()).await;
    client.register_realm("s", &provider.url("/token")).await;
    provider.answer_with(refused());
    client.save_secret("s", "k").await;
    client.state("s", "k", "needs_attention").await;
    let first = json!(["r", "k", "scheduled", "stored", null, 1]);
    let flushed = json!(["r", "k", "flush", "stored", null, 2]);
    let failed = json!(["r", "K", "scheduled", "failed", "transient", null]);
    let parked = json!(["s", "k", "scheduled", "failed", "permanent", null]);
    for (parameters, expected) in [
        ("", vec![&parked, &failed, &flushed, &first]),
        ("realm=r", vec![&failed, &flushed, &first]),
        ("key=k", vec![&parked, &flushed, &first]),
        ("outcome=failed", vec![&parked, &failed]),
        ("outcome=stored&realm=r&key=k", vec![&flushed, &first]),
        ("outcome=discarded", vec![]),
        ("realm=R", vec![]),
    ] {
        let history = client.list(&format!("/api/renewal?{parameters}")).await;
        let fields = ["realm", "key", "cause", "outcome", "class", "generation"];
        let told = history
            .iter()
            .map(|entry| json!(fields.map(|field| entry[field].clone())));
        assert_eq!(
            json!(told.collect::<Vec<_>>()),
            json!(expected),
            "{parameters}"
        );
    }
    let page = client
        .get("/api/renewal?realm=r&page=2&pageSize=2")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            &page["data"]["total"],
            page["data"]["list"].as_array().map(Vec::len)
        ),
        (&json!(3), Some(1))
    );
    let entry = &page["data"]["list"][0];
    assert_eq!(entry["started_at"], "2023-11-14T22:13:20.000Z");
    assert_eq!(entry["detail"], Value::Null);
}

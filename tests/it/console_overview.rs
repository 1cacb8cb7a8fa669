//! What a human looks at first, as far as his key's patterns allow, and how a server is configured,
//! without any secret.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, Ms, Timeline};
use token_server::foundation::hex;
use token_server::foundation::sealing::prefix;

use crate::access::{SCOPES, with_key, with_scopes};
use crate::kit::database::Kind;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};
use crate::published_rings::look;

on_every_database! {
    the_overview_counts_and_names_what_the_patterns_of_a_key_cover,
    an_overview_is_read_anew_after_two_seconds_and_not_before,
    the_overview_is_for_who_reads_secrets_and_the_settings_for_administrators,
    the_settings_show_everything_but_secrets_and_count_values_of_each_sealing_key,
}

const OVERVIEW: &str = "/api/overview";
const SETTINGS: &str = "/api/settings";
const HOUR: Ms = Ms::from_secs(3600);
/// Nothing is renewed meanwhile.
const TEN_DAYS_S: i64 = 864_000;

async fn overview(client: &Client) -> Value {
    let mut reply = client.get(OVERVIEW).await.expect(200).json();
    reply["data"].take()
}

/// The states that some secret is in, with how many are.
fn counted(overview: &Value) -> Value {
    let states = overview["states"].as_array().expect("states");
    let counts = states.iter().filter(|state| state["secrets"] != 0);
    let count = |state: &Value| {
        let name = state["state"].as_str().expect("a name");
        (name.to_owned(), state["secrets"].clone())
    };
    Value::Object(counts.map(count).collect())
}

/// The secrets of a list, by name.
fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    let text = |secret: &Value, field: &str| secret[field].as_str().expect("a name").to_owned();
    list.map(|secret| format!("{}/{}", text(secret, "realm"), text(secret, "key")))
        .collect()
}

fn set(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

fn hour(at: EpochMs, stored: i64, failed: i64) -> Value {
    let begun_at = EpochMs(at.0 - at.0 % HOUR.0).to_rfc3339();
    json!({"begun_at": begun_at, "stored": stored, "failed": failed, "discarded": 0})
}

async fn the_overview_counts_and_names_what_the_patterns_of_a_key_cover(database: TestDatabase) {
    let (provider, others) = (Provider::start().await, Provider::start().await);
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    client.register_realm("other", &others.url("/token")).await;
    client.save_realm("fixed", Value::Null).await;
    for provider in [&provider, &others] {
        provider.answer_with(Answer::numbered_token(TEN_DAYS_S));
    }
    // So long ago that its attempt is counted no more.
    client.save_secret("r", "k").await;
    client.generation("r", "k", 1).await;
    server.settled().await;
    clock.advance(Ms(25 * HOUR.0));
    let first_hour = clock.now();
    for (realm, key) in [("r", "slow"), ("r", "paused"), ("other", "x")] {
        client.save_secret(realm, key).await;
        client.generation(realm, key, 1).await;
    }
    let pause = client.post("/api/secret/r/paused/pause", &json!({})).await;
    pause.expect(200);
    client.save_secret("fixed", "f").await;
    server.settled().await;
    clock.advance(HOUR);
    let second_hour = clock.now();
    let refused = Answer::status(401).with_json(&json!({"error": "invalid_client"}));
    provider.answer_next(refused);
    client.save_secret("r", "bad").await;
    client.state("r", "bad", "needs_attention").await;
    clock.advance(Ms::from_secs(1));
    provider.answer_next(Answer::status(503));
    others.answer_next(Answer::status(503));
    let changed = json!({"realm": "r", "key": "slow", "key_2": "another"});
    client.post("/api/secret", &changed).await.expect(200);
    client.state("r", "slow", "retrying").await;
    client.save_secret("other", "y").await;
    eventually("the attempt has failed", async || {
        let secret = client.secret("other", "y").await;
        (!secret["last_error"].is_null()).then_some(())
    })
    .await;
    server.settled().await;

    let all = overview(client).await;
    assert_eq!(all["read_at"], clock.now().to_rfc3339());
    let states = json!({
        "pending": 1, "active": 2, "retrying": 1, "needs_attention": 1, "paused": 1, "fixed": 1,
    });
    assert_eq!(counted(&all), states);
    let hours = json!([hour(first_hour, 3, 0), hour(second_hour, 0, 3)]);
    assert_eq!(all["hours"], hours);
    let failing = names(&all["failing"]);
    assert_eq!(failing[0], "r/bad", "what fails for longest comes first");
    assert_eq!(
        set(&failing),
        BTreeSet::from(["r/bad", "r/slow", "other/y"])
    );
    for (told, class) in [
        (&all["failing"][0], "permanent"),
        (
            &all["failing"][1 + usize::from(failing[1] == "other/y")],
            "transient",
        ),
    ] {
        let key = told["key"].as_str().expect("a key");
        let secret = client.secret("r", key).await;
        for field in ["state", "renew_at", "last_error"] {
            assert_eq!(told[field], secret[field], "{field} of {key}");
        }
        assert_eq!(told["last_error"]["class"], class);
        assert_eq!(told["last_error"]["failures"], 1);
        let detail = told["last_error"]["detail"].as_str();
        assert!(detail.is_some_and(|detail| !detail.is_empty()), "{told}");
    }
    let due = all["due"].as_array().expect("a list");
    assert!(due.is_sorted_by_key(|secret| secret["renew_at"].as_str()));
    let expected = ["r/k", "r/slow", "r/bad", "other/x", "other/y"];
    assert_eq!(set(&names(&all["due"])), BTreeSet::from(expected));

    let document = json!({"name": "a realm", "scopes": ["secret:read"], "realms": ["r"]});
    let of_realm = overview(&with_key(client, document).await).await;
    let states = json!({"active": 1, "retrying": 1, "needs_attention": 1, "paused": 1});
    assert_eq!(counted(&of_realm), states);
    let hours = json!([hour(first_hour, 2, 0), hour(second_hour, 0, 2)]);
    assert_eq!(of_realm["hours"], hours);
    assert_eq!(names(&of_realm["failing"]), ["r/bad", "r/slow"]);
    let expected = BTreeSet::from(["r/k", "r/slow", "r/bad"]);
    assert_eq!(set(&names(&of_realm["due"])), expected);

    // Who sees some secrets of a realm is told no sums of all.
    let document = json!({
        "name": "some keys", "scopes": ["secret:read"], "realms": ["r"], "keys": ["s*"],
    });
    let of_keys = overview(&with_key(client, document).await).await;
    assert_eq!(of_keys["states"], Value::Null);
    assert_eq!(of_keys["hours"], Value::Null);
    assert_eq!(names(&of_keys["failing"]), ["r/slow"]);
    assert_eq!(names(&of_keys["due"]), ["r/slow"]);
}

async fn an_overview_is_read_anew_after_two_seconds_and_not_before(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    client.save_realm("fixed", Value::Null).await;
    let first = overview(client).await;
    assert_eq!(counted(&first), json!({}));
    client.save_secret("fixed", "f").await;
    clock.advance(Ms(1999));
    let kept = overview(client).await;
    assert_eq!(
        (&kept["read_at"], counted(&kept)),
        (&first["read_at"], json!({}))
    );
    clock.advance(Ms(1));
    assert_eq!(counted(&overview(client).await), json!({"fixed": 1}));
}

async fn the_overview_is_for_who_reads_secrets_and_the_settings_for_administrators(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for (path, scope, name) in [
        (OVERVIEW, "secret:read", "readers"),
        (SETTINGS, "admin", "administrators"),
    ] {
        let others: Vec<_> = SCOPES
            .into_iter()
            .filter(|other| ![scope, "admin"].contains(other))
            .collect();
        let other = with_scopes(client, &format!("all but {name}"), &others).await;
        other.get(path).await.expect_problem(403, "forbidden");
        let without = client.without_key().get(path).await;
        without.expect_problem(401, "unauthorized");
        let one = with_scopes(client, name, &[scope]).await;
        one.get(path).await.expect(200);
    }
}

const ADMIN: &str = "canary-of-the-administrators-key-42";
const PASSWORD: &str = "canary-of-the-database";
const OLDER: &[u8; 32] = b"canary-of-the-older-sealing-key!";
const NEWER: &[u8; 32] = b"canary-of-the-newer-sealing-key!";
const WEBHOOK: &[u8; 32] = b"canary-of-the-signature-of-hooks";

/// Where the database is, for a user that has a password where there are users.
async fn with_password(database: &TestDatabase) -> String {
    if database.kind() == Kind::Sqlite {
        return database.url.clone();
    }
    let (server, name) = database.url.rsplit_once('/').expect("a database");
    let (_, address) = server.rsplit_once('@').expect("a user");
    for sql in [
        format!("DROP USER IF EXISTS {name}@'%'"),
        format!("CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'"),
        format!("GRANT ALL ON {name}.* TO {name}@'%'"),
    ] {
        database.run(&sql).await;
    }
    format!("mysql://{name}:{PASSWORD}@{address}/{name}")
}

/// The values of all rows that begin as those do that a key has made.
async fn made_with(database: &TestDatabase, key: &str) -> usize {
    let begins = hex(&prefix(key)).to_uppercase();
    // What the servers say of their keys is no value that needs one.
    let rows = database
        .rows(|table| !["ts_sealing_key", "ts_replica"].contains(&table))
        .await;
    let values = rows.values().flatten().flatten();
    values.filter(|value| value.starts_with(&begins)).count()
}

async fn the_settings_show_everything_but_secrets_and_count_values_of_each_sealing_key(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let url = with_password(&database).await;
    let older = format!("older:{}", STANDARD.encode(OLDER));
    let both = format!("newer:{},{older}", STANDARD.encode(NEWER));
    let webhook = format!("whsec_{}", STANDARD.encode(WEBHOOK));
    let options = |keys: &str| {
        Options::default().with(&[
            ("TOKEN_SERVER__DATABASE__URL", &url),
            ("TOKEN_SERVER__ADMIN_KEY", ADMIN),
            ("TOKEN_SERVER__SEALING__KEYS", keys),
            (
                "TOKEN_SERVER__WEBHOOK__URL",
                "https://127.0.0.1:1/canary-of-hooks",
            ),
            ("TOKEN_SERVER__WEBHOOK__SECRET", &webhook),
            (
                "TOKEN_SERVER__TRACES__ENDPOINT",
                "http://127.0.0.1:1/v1/traces",
            ),
            ("TOKEN_SERVER__TRACES__TOKEN", "canary-of-traces"),
            (
                "TOKEN_SERVER__AUDIT__URL",
                "https://127.0.0.1:1/canary-of-audits",
            ),
            ("TOKEN_SERVER__AUDIT__TOKEN", "canary-of-the-audit"),
            (
                "TOKEN_SERVER__UPSTREAM__PROXIES__OFFICE__URL",
                "http://user:canary-of-proxies@127.0.0.1:1",
            ),
            ("TOKEN_SERVER__HTTP__MAX_STREAMS", "7"),
        ])
    };
    let server = Server::start_with(&database, options(&older)).await;
    server
        .client
        .with_key(ADMIN)
        .register(&provider.url("/token"))
        .await;
    server.settled().await;
    server.stop().await;
    let server = Server::start_with(&database, options(&both)).await;
    look(&server).await;
    let client = &server.client.with_key(ADMIN);
    client.save_secret("r", "later").await;
    client.generation("r", "later", 1).await;
    server.settled().await;

    let reply = client.get(SETTINGS).await.expect(200);
    for canary in ["canary", "whsec_"] {
        assert!(!reply.text.contains(canary), "{}", reply.text);
    }
    for key in [OLDER, NEWER, WEBHOOK] {
        for form in [
            STANDARD_NO_PAD.encode(key),
            URL_SAFE_NO_PAD.encode(key),
            hex(key),
        ] {
            assert!(!reply.text.contains(&form), "{}", reply.text);
        }
    }
    let settings = &reply.json()["data"];
    for (pointer, value) in [
        ("/admin_key", "***"),
        ("/sealing/keys", "***"),
        ("/database/url", "***"),
        ("/webhook/url", "***"),
        ("/webhook/secret", "***"),
        ("/traces/token", "***"),
        ("/audit/url", "***"),
        ("/audit/token", "***"),
        ("/upstream/proxies/office/url", "***"),
        ("/traces/endpoint", "http://127.0.0.1:1/v1/traces"),
        ("/http/listen", "127.0.0.1:0"),
    ] {
        let shown = settings["configuration"].pointer(pointer);
        assert_eq!(shown, Some(&json!(value)), "{pointer}");
    }
    let streams = &settings["configuration"]["http"]["max_streams"];
    assert_eq!(streams.to_string().trim_matches('"'), "7");
    let address = settings["database"].as_str().expect("an address");
    let place = match database.kind() {
        Kind::Sqlite => "token-server.db",
        Kind::MySql => database.url.rsplit_once('/').expect("a database").1,
    };
    assert!(address.ends_with(place), "{address}");
    assert!(!address.contains('@'), "{address}");

    let mut keys = Vec::new();
    for (id, seals) in [("newer", true), ("older", false)] {
        let values = made_with(&database, id).await;
        assert!(values > 0, "something was made with {id}");
        keys.push(json!({"id": id, "seals": seals, "values": values}));
    }
    assert_eq!(settings["sealing_keys"], json!(keys));
}

//! Mistakes of admins that are told before they are made, or refused: what a save would change, what it
//! would leave without parameters, masks that are sent as values, and what goes with a deletion.

use serde_json::{Value, json};

use crate::kit::server::Client;
use crate::kit::{Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    a_dry_run_of_a_realm_says_what_would_change_and_changes_nothing,
    a_dry_run_of_a_secret_says_what_would_change_and_changes_nothing,
    a_dry_run_is_refused_for_what_the_save_would_be_refused_for,
    a_realm_that_leaves_secrets_without_what_it_comes_to_require_is_saved_only_if_that_is_confirmed,
    a_mask_that_is_not_that_of_the_stored_value_is_refused,
    parameters_that_are_declared_not_to_be_secret_are_shown_as_they_are,
    a_deletion_says_what_went_with_it_and_its_dry_run_what_would,
}

fn document(provider: &Provider, params: &Value) -> Value {
    json!({
        "url": provider.url("/token"), "method": "GET", "params": params,
        "arguments": [{"name": "app", "place": "url", "value": "$app"}],
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

/// A realm `r` whose secrets give an `app`, which is shown, and a `pass`; and two secrets in it.
async fn registered(client: &Client, provider: &Provider) {
    client
        .save_realm("r", document(provider, &declared()))
        .await;
    for key in ["a", "b"] {
        let params = json!({"app": format!("app-{key}"), "pass": "canary-that-is-long"});
        let secret = json!({"realm": "r", "key": key, "params": params});
        client.post("/api/secret", &secret).await.expect(200);
        client.generation("r", key, 1).await;
    }
}

fn declared() -> Value {
    json!({"app": {"secret": false}, "pass": {"default": "canary-default-of-it"}})
}

/// All that is stored, with the audit's changes.
async fn everything(client: &Client) -> Value {
    let changes = client.audited().await.into_iter();
    let changes = changes.filter(|entry| entry["action"].as_str() != Some("secret.read"));
    let secrets = json!([client.secret("r", "a").await, client.secret("r", "b").await]);
    let realm = client.get("/api/realm/r").await.expect(200).json();
    json!([realm, secrets, changes.collect::<Vec<_>>()])
}

async fn a_dry_run_of_a_realm_says_what_would_change_and_changes_nothing(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    server.settled().await;
    let before = everything(client).await;
    let mut params = declared();
    params["pass"]["default"] = json!("another-canary-of-it");
    params["tenant"] = json!({});
    let mut config = document(&provider, &params);
    config["url"] = json!("https://elsewhere.example/token");
    let body = json!({"id": "r", "comment": "moved", "config": config});
    let tried = client.post("/api/realm?dry_run=true", &body).await;
    let realm = tried.expect(200).json()["data"].clone();
    assert_eq!(
        (&realm["comment"], &realm["version"]),
        (&json!("moved"), &json!(2))
    );
    let changes = &realm["changes"];
    assert_eq!(changes["outcome"], "changed");
    assert_eq!(
        changes["destinations"],
        json!([{
            "pointer": "/config/url", "before": provider.url("/token"),
            "after": "https://elsewhere.example/token",
        }])
    );
    let default = "/config/params/pass/default";
    assert_eq!(changes["before"].pointer(default), Some(&json!("***")));
    assert_eq!(
        changes["after"].pointer(default),
        Some(&json!("*** (changed)"))
    );
    assert_eq!(changes["after"]["comment"], "moved");
    assert_eq!(
        changes["lacking_secrets"],
        json!([{"key": "a", "params": ["tenant"]}, {"key": "b", "params": ["tenant"]}])
    );
    assert_eq!(changes["lacking_secrets_total"], 2);
    // One that is as it is, and one that is not there yet; and a preset.
    let same = json!({"id": "r", "config": document(&provider, &declared())});
    let new = json!({"id": "new", "config": document(&provider, &declared())});
    for (path, body, outcome) in [
        ("/api/realm", same, "unchanged"),
        ("/api/realm", new, "new"),
        ("/api/preset/auth0", json!({}), "new"),
    ] {
        let tried = client.post(&format!("{path}?dry_run=true"), &body).await;
        assert_eq!(
            tried.expect(200).json()["data"]["changes"]["outcome"],
            outcome
        );
    }
    server.settled().await;
    assert_eq!(everything(client).await, before);
    assert_eq!(client.list("/api/realm").await.len(), 1);
    assert_eq!(provider.request_count(), 2);
}

async fn a_dry_run_of_a_secret_says_what_would_change_and_changes_nothing(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    server.settled().await;
    let before = everything(client).await;
    let dry_run = async |secret: Value| {
        let tried = client.post("/api/secret?dry_run=true", &secret).await;
        let tried = tried.expect(200);
        assert!(!tried.text.contains("canary"), "{}", tried.text);
        tried.json()["data"].clone()
    };
    let params = json!({"app": "other", "pass": "another-canary-word"});
    let changed = dry_run(json!({"realm": "r", "key": "a", "params": params})).await;
    assert_eq!(
        changed["changes"],
        json!({"outcome": "changed", "token": false, "params": [
            {"name": "app", "before": "app-a", "after": "other"},
            {"name": "pass", "before": "ca********ng", "after": "an********rd"},
        ]})
    );
    assert_eq!(
        changed["params"],
        json!({"app": "other", "pass": "an********rd"})
    );
    let sent_back = json!({"realm": "r", "key": "a", "params": {"pass": "ca********ng"}});
    let same = dry_run(sent_back).await;
    assert_eq!(
        same["changes"],
        json!({"outcome": "unchanged", "params": [], "token": false})
    );
    let new = dry_run(json!({"realm": "r", "key": "c", "params": {"app": "app-c"}})).await;
    assert_eq!(
        (&new["changes"]["outcome"], &new["generation"]),
        (&json!("new"), &json!(0))
    );
    client.get("/api/secret/r/c").await.expect(404);
    // Nor is a token given, or one remembered that is not there.
    client.save_realm("fixed", Value::Null).await;
    let token = json!({"realm": "fixed", "key": "k", "token": "first"});
    client.put("/api/token", &token).await.expect(200);
    client.token("fixed", "k").await.expect(200);
    let token = json!({"realm": "fixed", "key": "k", "token": "second"});
    assert_eq!(dry_run(token).await["changes"]["token"], true);
    let served = client.token("fixed", "k").await.expect(200).json();
    assert_eq!(served["token"], "first");
    client
        .delete("/api/realm/fixed?cascade=true")
        .await
        .expect(200);
    server.settled().await;
    let after = everything(client).await;
    assert_eq!((&after[0], &after[1]), (&before[0], &before[1]));
    let saves = |all: &Value| {
        let entries = all[2].as_array().expect("entries").iter();
        let saves = entries.filter(|entry| entry["target"] == "r/a");
        saves
            .filter(|entry| entry["action"] == "secret.save")
            .count()
    };
    assert_eq!((saves(&before), saves(&after)), (1, 1));
    assert_eq!(provider.request_count(), 2);
}

async fn a_dry_run_is_refused_for_what_the_save_would_be_refused_for(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    let realm = json!({"id": "r", "config": {"url": "nowhere"}});
    let secret = json!({"realm": "r", "key": "c", "params": {"pass": "p"}});
    for query in ["", "?dry_run=true", "?dry_run=false"] {
        let refused = client.post(&format!("/api/realm{query}"), &realm).await;
        refused.expect_problem(422, "invalid_document");
        let refused = client.post(&format!("/api/secret{query}"), &secret).await;
        refused.expect_problem(422, "invalid_document");
        let unknown = json!({"realm": "none", "key": "c"});
        let refused = client.post(&format!("/api/secret{query}"), &unknown).await;
        refused.expect_problem(400, "unknown_realm");
        client
            .delete(&format!("/api/secret/r/c{query}"))
            .await
            .expect_problem(404, "unknown_secret");
        client
            .delete(&format!("/api/realm/r{query}"))
            .await
            .expect_problem(409, "realm_has_secrets");
        client
            .delete(&format!("/api/realm/none{query}"))
            .await
            .expect_problem(404, "unknown_realm");
    }
}

async fn a_realm_that_leaves_secrets_without_what_it_comes_to_require_is_saved_only_if_that_is_confirmed(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    let body = |more: Value| {
        let mut params = declared();
        params["tenant"] = more;
        json!({"id": "r", "config": document(&provider, &params)})
    };
    let refused = client.post("/api/realm", &body(json!({}))).await;
    let problem = refused.expect_problem(409, "secrets_lack_params");
    let detail = problem["detail"].as_str().expect("a text");
    for told in [
        "2, the first \"a\"",
        "without tenant",
        "confirm=secrets_lack_params",
    ] {
        assert!(detail.contains(told), "{detail}");
    }
    let realm = client.get("/api/realm/r").await.expect(200).json();
    assert_eq!(realm["data"]["version"], 1);
    // What needs no value of them leaves them as good as they were.
    for harmless in [json!({"optional": true}), json!({"default": "d"})] {
        client.post("/api/realm", &body(harmless)).await.expect(200);
    }
    let unknown = client
        .post("/api/realm?confirm=yes", &body(json!({})))
        .await;
    unknown.expect_problem(400, "invalid_parameter");
    let confirmed = "/api/realm?confirm=secrets_lack_params";
    client.post(confirmed, &body(json!({}))).await.expect(200);
    // It is asked once, and not of those who have what is needed.
    client
        .post("/api/realm", &body(json!({"title": "Tenant"})))
        .await
        .expect(200);
    client
        .save_realm("empty", document(&provider, &json!({"app": {}})))
        .await;
    client
        .save_realm(
            "empty",
            document(&provider, &json!({"app": {}, "more": {}})),
        )
        .await;
}

async fn a_mask_that_is_not_that_of_the_stored_value_is_refused(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    let before = client.secret("r", "a").await;
    for (key, params) in [
        ("a", json!({"pass": "xx********yy"})),
        ("a", json!({"pass": "********"})),
        ("a", json!({"app": "***"})),
        // A new one has no value that a mask could stand for.
        ("c", json!({"app": "a", "pass": "ca********ng"})),
    ] {
        let secret = json!({"realm": "r", "key": key, "params": params});
        let refused = client.post("/api/secret", &secret).await;
        let problem = refused.expect_problem(422, "invalid_document");
        let fault = &problem["errors"][0];
        let named = params
            .as_object()
            .and_then(|params| params.keys().next_back());
        assert_eq!(
            fault["pointer"],
            json!(format!("/params/{}", named.expect("one")))
        );
        let told = fault["detail"].as_str().expect("a text");
        assert!(told.contains("send the value itself"), "{told}");
    }
    let sent_back = json!({"realm": "r", "key": "a", "params": {"pass": "ca********ng"}});
    client.post("/api/secret", &sent_back).await.expect(200);
    assert_eq!(
        client.secret("r", "a").await["updated_at"],
        before["updated_at"]
    );
    // Nor is one served as a token, or given to all secrets as a default.
    client.save_realm("fixed", Value::Null).await;
    let token = json!({"realm": "fixed", "key": "k", "token": "ab********yz"});
    let refused = client.put("/api/token", &token).await;
    let problem = refused.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/token");
    for mark in ["***", "*** (changed)", "ca********it"] {
        let mut params = declared();
        params["pass"]["default"] = json!(mark);
        let body = json!({"id": "r", "config": document(&provider, &params)});
        let refused = client.post("/api/realm", &body).await;
        let problem = refused.expect_problem(422, "invalid_document");
        assert_eq!(
            problem["errors"][0]["pointer"],
            "/config/params/pass/default"
        );
    }
}

async fn parameters_that_are_declared_not_to_be_secret_are_shown_as_they_are(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    let shown = json!({"app": "app-a", "pass": "ca********ng"});
    assert_eq!(client.secret("r", "a").await["params"], shown);
    let listed = client.list("/api/secret?realm=r").await;
    let listed = listed.iter().find(|secret| secret["key"] == "a");
    assert_eq!(listed.expect("it is listed")["params"], shown);
    let saved = client.secret("r", "a").await;
    let sent_back = client.post("/api/secret", &saved).await.expect(200).json();
    assert_eq!(sent_back["data"]["params"], shown);
    // What becomes secret is hidden again.
    let hidden = json!({"app": {}, "pass": {}});
    client.save_realm("r", document(&provider, &hidden)).await;
    let params = client.secret("r", "a").await["params"].clone();
    assert_eq!(params, json!({"app": "********", "pass": "ca********ng"}));
}

async fn a_deletion_says_what_went_with_it_and_its_dry_run_what_would(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = Server::start(&database).await;
    let client = &server.client;
    registered(client, &provider).await;
    client.save_realm("fixed", Value::Null).await;
    let empty = json!({"realm": "fixed", "key": "k"});
    client.post("/api/secret", &empty).await.expect(200);
    let gone = |keys: &[&str], tokens: u64| {
        json!({
            "secrets": keys.len(), "keys": keys, "tokens": tokens, "refresh_tokens": 0,
            "candidates": 0, "tickets": 0,
        })
    };
    for (path, expected) in [
        ("/api/secret/r/b?dry_run=true", gone(&["b"], 1)),
        (
            "/api/realm/r?cascade=true&dry_run=true",
            gone(&["a", "b"], 2),
        ),
        ("/api/secret/r/b", gone(&["b"], 1)),
        ("/api/realm/r?cascade=true&dry_run=true", gone(&["a"], 1)),
        ("/api/realm/r?cascade=true", gone(&["a"], 1)),
        ("/api/secret/fixed/k?dry_run=false", gone(&["k"], 0)),
        ("/api/realm/fixed", gone(&[], 0)),
    ] {
        let deleted = client.delete(path).await.expect(200).json();
        assert_eq!(deleted["data"], expected, "{path}");
        assert_eq!(deleted["success"], "ok");
    }
    assert_eq!(client.list("/api/realm").await, [] as [Value; 0]);
}

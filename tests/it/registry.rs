//! What admins register and what follows from a change; in `shown`, how it is shown, in `forgiving`, what
//! keeps them from mistakes.

mod forgiving;
mod shown;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms};
use token_server::renewal::{Reach, RunScope};

use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    masked_parameters_that_were_read_can_be_sent_back_and_change_nothing,
    a_secret_can_be_sent_back_as_a_whole_as_it_was_read,
    changed_parameters_make_renewal_due_and_the_old_token_is_served_until_it_succeeds,
    a_secret_that_lacks_a_declared_parameter_is_refused_by_its_name,
    a_default_stands_in_for_a_parameter_and_an_unset_optional_argument_is_left_out,
    a_realm_with_secrets_is_deleted_only_with_them,
    a_deleted_secret_has_no_token_and_is_not_renewed,
    a_paused_secret_is_served_and_not_renewed_until_it_is_resumed,
    an_attempt_under_way_does_not_wake_a_secret_that_is_paused_meanwhile,
    a_secret_that_needs_attention_is_tried_at_once_when_it_is_saved_unchanged,
    what_would_have_expired_already_is_refused,
}

/// A provider, and a server that flushes as often as asked, on a clock that the test moves.
async fn start(database: &TestDatabase) -> (Provider, Server, Arc<ManualClock>) {
    let always = ("TOKEN_SERVER__RENEWAL__MIN_FLUSH_INTERVAL_S", "0");
    let options = Options::default().with(&[always]);
    let (server, clock) = Server::on_manual_clock_with(database, options).await;
    (Provider::start().await, server, clock)
}

/// A secret `r/k` with a first token, in a realm that asks this provider.
async fn with_token(provider: &Provider, client: &Client) {
    client.register(&provider.url("/token")).await;
}

async fn save(client: &Client, secret: Value) -> Value {
    let reply = client.post("/api/secret", &secret).await.expect(200);
    reply.json()["data"].clone()
}

async fn masked_parameters_that_were_read_can_be_sent_back_and_change_nothing(
    database: TestDatabase,
) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    let values = ["short", "a-secret-of-many-characters"];
    let secret =
        json!({"realm": "r", "key": "k", "key_1": values[0], "key_2": values[1], "key_3": ""});
    save(client, secret).await;
    let before = client.generation("r", "k", 1).await;
    let masked = json!({"key_1": "********", "key_2": "a-********rs", "key_3": ""});
    assert_eq!(before["params"], masked);
    clock.advance(Ms(1));
    let sent_back = json!({"realm": "r", "key": "k", "params": before["params"]});
    assert_eq!(save(client, sent_back).await, before);
    let mut sent_back = masked;
    (sent_back["realm"], sent_back["key"]) = (json!("r"), json!("k"));
    assert_eq!(save(client, sent_back).await, before);
    client
        .get("/api/token?realm=r&key=k&flush=true")
        .await
        .expect(200);
    let requests = provider.requests();
    let sent = requests
        .iter()
        .map(|request| [&*request.query[0].1, &*request.query[1].1]);
    assert_eq!(sent.collect::<Vec<_>>(), [values, values]);
}

async fn a_secret_can_be_sent_back_as_a_whole_as_it_was_read(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    with_token(&provider, &server.client).await;
    let before = server.client.secret("r", "k").await;
    assert_eq!(save(&server.client, before.clone()).await, before);
}

async fn changed_parameters_make_renewal_due_and_the_old_token_is_served_until_it_succeeds(
    database: TestDatabase,
) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    with_token(&provider, client).await;
    provider.answer_next(Answer::status(500));
    save(client, json!({"realm": "r", "key": "k", "key_2": "better"})).await;
    client.state("r", "k", "retrying").await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-1"
    );
    provider.hold();
    clock.advance(Ms::from_secs(10));
    provider.wait_for_requests(3).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-1"
    );
    provider.release();
    client.state("r", "k", "active").await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
    let secrets = provider
        .requests()
        .into_iter()
        .map(|mut request| request.query.remove(1).1);
    assert_eq!(
        secrets.collect::<Vec<_>>(),
        ["the-secret", "better", "better"]
    );
}

/// A realm that declares a required, an optional and a default parameter.
async fn with_declared_parameters(provider: &Provider, client: &Client) {
    let config = json!({
        "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in",
        "params": {
            "app": {"title": "App"}, "pass": {}, "scope": {"default": "all"},
            "tenant": {"optional": true},
        },
        "arguments": [
            {"name": "app", "place": "url", "value": "${ app }!"},
            {"name": "scope", "place": "url", "value": "$scope"},
            {"name": "tenant", "place": "url", "value": "$tenant", "optional": true},
        ],
    });
    client.save_realm("r", config).await;
}

async fn a_secret_that_lacks_a_declared_parameter_is_refused_by_its_name(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    with_declared_parameters(&provider, client).await;
    let secret = |params: Value| json!({"realm": "r", "key": "k", "params": params});
    for (params, pointers) in [
        (json!({}), vec!["/params/app", "/params/pass"]),
        (json!({"app": "a", "tenant": "t"}), vec!["/params/pass"]),
        (json!({"app": null, "pass": "p"}), vec!["/params/app"]),
    ] {
        let refused = client.post("/api/secret", &secret(params)).await;
        let problem = refused.expect_problem(422, "invalid_document");
        let errors = problem["errors"].as_array().expect("errors").iter();
        let told: Vec<_> = errors
            .map(|error| error["pointer"].as_str().expect("a text"))
            .collect();
        assert_eq!(told, pointers);
    }
    save(client, secret(json!({"app": "a", "pass": "p"}))).await;
    // What is there cannot be taken away again.
    let refused = client
        .post("/api/secret", &secret(json!({"pass": null})))
        .await;
    refused.expect_problem(422, "invalid_document");
}

async fn a_default_stands_in_for_a_parameter_and_an_unset_optional_argument_is_left_out(
    database: TestDatabase,
) {
    let (provider, server, _) = start(&database).await;
    with_declared_parameters(&provider, &server.client).await;
    for (generation, params, query) in [
        (
            1,
            json!({"app": "a", "pass": "p"}),
            json!([["app", "a!"], ["scope", "all"]]),
        ),
        (
            2,
            json!({"scope": "", "tenant": "t"}),
            json!([["app", "a!"], ["scope", ""], ["tenant", "t"]]),
        ),
    ] {
        save(
            &server.client,
            json!({"realm": "r", "key": "k", "params": params}),
        )
        .await;
        server.client.generation("r", "k", generation).await;
        let request = provider.requests().pop().expect("a request");
        assert_eq!(json!(request.query), query);
    }
}

async fn a_realm_with_secrets_is_deleted_only_with_them(database: TestDatabase) {
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    with_token(&provider, client).await;
    for path in ["/api/realm/r", "/api/realm/r?cascade=false"] {
        client
            .delete(path)
            .await
            .expect_problem(409, "realm_has_secrets");
    }
    client.token("r", "k").await.expect(200);
    client.delete("/api/realm/r?cascade=true").await.expect(200);
    client
        .token("r", "k")
        .await
        .expect_problem(400, "unknown_secret");
    client
        .get("/api/secret/r/k")
        .await
        .expect_problem(404, "unknown_secret");
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_token").await, 0);
    assert_eq!(database.number("SELECT COUNT(*) FROM ts_secret").await, 0);
    // A realm of the same name begins anew.
    with_token(&provider, client).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
    client.delete("/api/secret/r/k").await.expect(200);
    client.delete("/api/realm/r").await.expect(200);
    client
        .delete("/api/realm/r")
        .await
        .expect_problem(404, "unknown_realm");
}

/// Renews what is due, or with `all` whatever can be, and answers how many were tried.
async fn run(server: &Server, all: bool) -> u64 {
    let scope = RunScope {
        reach: if all { Reach::All } else { Reach::Due },
        ..Default::default()
    };
    let renewals = &server.app().renewals;
    let summary = renewals
        .run(&scope, &())
        .await
        .expect("the database answers");
    summary.renewed + summary.failed + summary.discarded
}

async fn a_deleted_secret_has_no_token_and_is_not_renewed(database: TestDatabase) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    with_token(&provider, client).await;
    client.delete("/api/secret/r/k").await.expect(200);
    client
        .token("r", "k")
        .await
        .expect_problem(400, "unknown_secret");
    client
        .delete("/api/secret/r/k")
        .await
        .expect_problem(404, "unknown_secret");
    clock.advance(Ms::from_secs(7200));
    assert_eq!((run(&server, true).await, provider.request_count()), (0, 1));
}

async fn a_paused_secret_is_served_and_not_renewed_until_it_is_resumed(database: TestDatabase) {
    let (provider, server, clock) = start(&database).await;
    let client = &server.client;
    with_token(&provider, client).await;
    let paused = client
        .post("/api/secret/r/k/pause", &json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&paused["data"]["state"], &paused["data"]["renew_at"]),
        (&json!("paused"), &Value::Null)
    );
    // Neither time, nor an operator, nor a caller, nor a change wakes it.
    clock.advance(Ms::from_secs(7199));
    assert_eq!(run(&server, true).await, 0);
    save(
        client,
        json!({"realm": "r", "key": "k", "key_2": "changed"}),
    )
    .await;
    assert_eq!(run(&server, false).await, 0);
    let flushed = client
        .get("/api/token?realm=r&key=k&flush=true")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&flushed["flushed"], &flushed["token"]),
        (&json!(false), &json!("token-1"))
    );
    clock.advance(Ms::from_secs(1));
    client
        .token("r", "k")
        .await
        .expect_problem(503, "token_unavailable");
    assert_eq!(provider.request_count(), 1);
    client
        .post("/api/secret/r/k/resume", &json!({}))
        .await
        .expect(200);
    client.state("r", "k", "active").await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        "token-2"
    );
}

async fn an_attempt_under_way_does_not_wake_a_secret_that_is_paused_meanwhile(
    database: TestDatabase,
) {
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    provider.hold();
    provider.answer_next(Answer::status(500));
    for (requests, key, outcome) in [(1, "failing", "failed"), (2, "well", "stored")] {
        client.save_secret("r", key).await;
        provider.wait_for_requests(requests).await;
        let path = format!("/api/secret/r/{key}/pause");
        client.post(&path, &json!({})).await.expect(200);
        provider.release();
        let history = format!("/api/renewal?key={key}&outcome={outcome}");
        eventually("the attempt has ended", async || {
            client.list(&history).await.pop()
        })
        .await;
        let secret = client.secret("r", key).await;
        assert_eq!(secret["state"], "paused");
        assert_eq!(secret["renew_at"], Value::Null);
        provider.hold();
    }
    assert_eq!(run(&server, true).await, 0);
}

async fn a_secret_that_needs_attention_is_tried_at_once_when_it_is_saved_unchanged(
    database: TestDatabase,
) {
    // The clock stands still, so nothing becomes due by itself.
    let (provider, server, _) = start(&database).await;
    let client = &server.client;
    let refused = Answer::status(401).with_json(&json!({"error": "invalid_client"}));
    provider.answer_next(refused);
    client.register_realm("r", &provider.url("/token")).await;
    client.save_secret("r", "k").await;
    client.state("r", "k", "needs_attention").await;
    server.settled().await;
    server.sweeps().await;
    assert_eq!(provider.request_count(), 1);
    save(client, json!({"realm": "r", "key": "k"})).await;
    let secret = client.generation("r", "k", 1).await;
    assert_eq!(secret["state"], "active");
    assert_eq!(provider.request_count(), 2);
}

async fn what_would_have_expired_already_is_refused(database: TestDatabase) {
    let (_provider, server, clock) = start(&database).await;
    let client = &server.client;
    client.save_realm("fixed", Value::Null).await;
    let now = clock.now().0;
    let token = json!({"realm": "fixed", "key": "k", "token": "typed in"});
    let key = json!({"name": "n", "scopes": ["token:read"]});
    for (method, path, mut body) in [
        (Method::PUT, "/api/token", token.clone()),
        (Method::POST, "/api/secret", token),
        (Method::POST, "/api/api-key", key),
    ] {
        let send = async |body: &Value| match method {
            Method::PUT => client.put(path, body).await,
            _ => client.post(path, body).await,
        };
        for past in [0, now - 1, now] {
            body["expires_at"] = json!(past);
            let problem = send(&body).await.expect_problem(422, "invalid_document");
            let fault = &problem["errors"][0];
            assert_eq!(fault["pointer"], "/expires_at", "{path}: {problem}");
            let detail = fault["detail"].as_str().expect("a text");
            assert!(detail.starts_with("is in the past: give milliseconds"));
        }
        let stored = client.list("/api/secret").await;
        assert!(path != "/api/token" || stored.is_empty(), "{stored:?}");
        body["expires_at"] = json!(now + 1);
        send(&body).await.expect(200);
    }
    let keys = client.list("/api/api-key").await;
    assert_eq!(keys.iter().filter(|key| key["name"] == "n").count(), 1);
}

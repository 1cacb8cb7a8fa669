//! The command `renew`: what it renews, and how it exits.

use std::sync::Arc;

use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, ManualClock, Ms, SystemClock, Timeline};

use super::{Ended, end, run};
use crate::kit::process::command;
use crate::kit::server::Options;
use crate::kit::{Answer, Provider, Server, TestDatabase, on_every_database};

on_every_database! {
    renew_obtains_what_is_due_and_exits_0,
    renew_exits_1_where_some_failed_and_names_them,
    renew_of_one_realm_leaves_the_others,
    renew_all_obtains_what_is_not_due,
    renew_of_an_unknown_realm_exits_2,
    renew_obtains_a_parent_and_what_is_derived_from_it_in_one_run,
}

/// The summary of a `renew`, which is all it prints.
pub fn summary(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("standard output is one JSON document")
}

/// Has a first token obtained for `a/1`, `a/2` and `b/1`, so long ago.
pub async fn obtain(database: &TestDatabase, provider: &Provider, ago: Ms) {
    let clock = Arc::new(ManualClock::at(SystemClock.now().minus(ago)));
    let options = Options {
        clock: Some(clock),
        ..Options::default()
    };
    let server = Server::start_with(database, options).await;
    for (realm, key) in [("a", "1"), ("a", "2"), ("b", "1")] {
        let url = provider.url(&format!("/{realm}"));
        server.client.register_realm(realm, &url).await;
        server.client.save_secret(realm, key).await;
        server.client.generation(realm, key, 1).await;
    }
    server.stop().await;
}

/// So long ago that its tokens have expired since.
pub const LONG_AGO: Ms = Ms::from_secs(10_000);

async fn renew_obtains_what_is_due_and_exits_0(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let ended = run(&database, "renew").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut told = summary(&ended);
    assert!(told["duration_ms"].take().is_i64(), "{told}");
    let expected = json!({
        "renewed": 3, "failed": 0, "discarded": 0, "waiting": 0, "left": 0, "needs_attention": 0,
        "duration_ms": null, "failures": [], "left_secrets": [], "needs_attention_secrets": [],
    });
    assert_eq!(told, expected);
    assert_eq!(provider.request_count(), 6);
    // Now nothing is due.
    let again = run(&database, "renew").await;
    assert_eq!(summary(&again)["renewed"], 0);
    assert_eq!(provider.request_count(), 6);
    let server = Server::start(&database).await;
    let token = server.client.token("b", "1").await.expect(200).json();
    assert_eq!(token["generation"], 2);
}

async fn renew_exits_1_where_some_failed_and_names_them(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    provider.answer_next(Answer::token("new", 7200));
    let refused = json!({"error": "invalid_client", "error_description": "not the-secret"});
    provider.answer_with(Answer::status(401).with_json(&refused));
    let ended = run(&database, "renew --realm a").await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["failed"]), (&json!(1), &json!(1)));
    let [failure] = &**told["failures"].as_array().expect("failures") else {
        panic!("not one failure: {told}")
    };
    assert!(failure["key"] == "1" || failure["key"] == "2", "{failure}");
    assert_eq!(failure["realm"], "a");
    assert_eq!(failure["class"], "permanent");
    let detail = failure["detail"].as_str().expect("a text");
    assert!(detail.contains("401, code invalid_client"), "{detail}");
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains("the-secret"), "{output}");
    }
}

async fn renew_of_one_realm_leaves_the_others(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, LONG_AGO).await;
    let ended = run(&database, "renew --realm b").await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(summary(&ended)["renewed"], 1);
    let asked = &provider.requests()[3..];
    assert_eq!((asked.len(), &*asked[0].path), (1, "/b"));
}

async fn renew_all_obtains_what_is_not_due(database: TestDatabase) {
    let provider = Provider::start().await;
    obtain(&database, &provider, Ms::ZERO).await;
    for (arguments, renewed) in [
        ("renew", 0),
        ("renew --all", 3),
        ("renew --all --realm a", 2),
    ] {
        let ended = run(&database, arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
        assert_eq!(summary(&ended)["renewed"], renewed, "{arguments}");
    }
    assert_eq!(provider.request_count(), 3 + 3 + 2);
}

async fn renew_of_an_unknown_realm_exits_2(database: TestDatabase) {
    let ended = run(&database, "renew --realm nowhere").await;
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    assert!(ended.stderr.contains("nowhere"), "{}", ended.stderr);
}

async fn renew_obtains_a_parent_and_what_is_derived_from_it_in_one_run(database: TestDatabase) {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(SystemClock.now().minus(LONG_AGO)));
    let options = Options {
        clock: Some(clock),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    client
        .register_realm("z-parent", &provider.url("/parent"))
        .await;
    client.save_secret("z-parent", "k").await;
    client.generation("z-parent", "k", 1).await;
    for (realm, parent) in [("b-child", "z-parent"), ("a-grandchild", "b-child")] {
        let config = json!({
            "url": provider.url(&format!("/{realm}")), "method": "GET",
            "parent": {"realm": parent, "key": "k"},
            "arguments": [{"name": "of", "place": "url", "value": "${parent.token}"}],
            "token_path": "access_token", "expires_in_path": "expires_in",
        });
        client.save_realm(realm, config).await;
        client.save_secret(realm, "k").await;
        client.generation(realm, "k", 1).await;
    }
    server.stop().await;
    let asked = provider.request_count();
    let ended = run(&database, "renew").await;
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let sent = provider.requests().split_off(asked);
    let paths: Vec<_> = sent.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/parent", "/b-child", "/a-grandchild"]);
    let told = summary(&ended);
    assert_eq!((&told["renewed"], &told["waiting"]), (&json!(3), &json!(0)));
}

#[tokio::test]
async fn renew_exits_2_where_the_database_cannot_be_reached() {
    let database = TestDatabase::sqlite();
    let url = "mysql://root:canary@127.0.0.1:1/none";
    let mut command = command(&database, &[]);
    let ended = end(command.env("DATABASE_URL", url).arg("renew")).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""));
    assert!(ended.stderr.contains("database"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

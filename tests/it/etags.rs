//! `ETag` and `If-None-Match` of a read: who has the token already is not sent it again, and nobody is
//! told so to whom something else is due.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use token_server::foundation::clock::{Clock, EpochMs, ManualClock, Ms, SystemClock};

use crate::access::with_key;
use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Reply, Server, TestDatabase, on_every_database};

on_every_database! {
    who_names_the_tag_of_the_current_token_is_not_sent_it_again,
    the_tag_is_the_same_on_every_way_and_on_every_replica,
    the_tag_is_another_where_anything_of_the_token_is,
    what_is_more_than_the_token_has_no_tag_and_is_always_sent,
    nobody_is_told_that_nothing_has_changed_where_something_else_is_due,
}

async fn read(client: &Client, query: &str, tag: Option<&str>) -> Reply {
    let request = client.request(Method::GET, &format!("/api/token?{query}"));
    client
        .send(match tag {
            Some(tag) => request.header("if-none-match", tag),
            None => request,
        })
        .await
}

fn tag_of(reply: &Reply) -> String {
    reply.header("etag").expect("a tag").to_owned()
}

async fn who_names_the_tag_of_the_current_token_is_not_sent_it_again(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    server.settled().await;
    // At once, and the long way.
    for query in ["realm=r&key=k", "realm=r&key=k&min_ttl_s=1"] {
        let tag = tag_of(&read(client, query, None).await.expect(200));
        let strong = tag.strip_prefix("W/").expect("a weak tag");
        for named in [
            tag.as_str(),
            strong,
            "*",
            &format!("\"other\", {tag}"),
            &format!("W/\"other\",{strong} , \"another\""),
        ] {
            let reply = read(client, query, Some(named)).await.expect(304);
            assert_eq!(reply.text, "");
            assert_eq!(reply.header("etag"), Some(tag.as_str()));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert_eq!(reply.header("content-type"), None);
            assert!(reply.header("x-request-id").is_some());
        }
        for named in ["\"other\"", "", &tag.replace('"', ""), &strong[1..], "W/*"] {
            let reply = read(client, query, Some(named)).await.expect(200);
            assert_eq!(tag_of(&reply), tag, "{named}");
        }
    }
    assert_eq!(provider.request_count(), 1);
}

async fn the_tag_is_the_same_on_every_way_and_on_every_replica(database: TestDatabase) {
    let provider = Provider::start().await;
    let one = Server::start(&database).await;
    // It remembers nothing.
    let directory = database
        .directory
        .path()
        .join("other")
        .display()
        .to_string();
    let other = Options::default().with(&[
        ("TOKEN_SERVER__DATA_DIR", &directory),
        ("TOKEN_SERVER__READ__MEMORY_MIB", "0"),
    ]);
    let other = Server::start_with(&database, other).await;
    one.client
        .register_realm("r", &provider.url("/token"))
        .await;
    provider.hold();
    one.client.save_secret("r", "k").await;
    provider.wait_for_requests(1).await;
    let waiting = tokio::spawn({
        let client = one.client.clone();
        async move { read(&client, "realm=r&key=k", None).await.expect(200) }
    });
    one.readers_waiting(1).await;
    provider.release();
    let fetched = waiting.await.expect("it is answered");
    let remembered = read(&one.client, "realm=r&key=k", None).await.expect(200);
    let stored = read(&other.client, "realm=r&key=k", None).await.expect(200);
    let of = |reply: &Reply| (reply.json()["source"].clone(), tag_of(reply));
    assert_eq!(of(&remembered).0, "cache");
    assert_eq!(of(&stored).0, "database");
    assert_ne!(of(&fetched).0, "cache");
    assert_eq!(of(&remembered).1, of(&stored).1);
    assert_eq!(of(&remembered).1, of(&fetched).1);
    read(&other.client, "realm=r&key=k", Some(&tag_of(&remembered)))
        .await
        .expect(304);
}

async fn the_tag_is_another_where_anything_of_the_token_is(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register(&provider.url("/token")).await;
    let query = "realm=r&key=k";
    let first = tag_of(&read(client, query, None).await.expect(200));
    let report = json!({"realm": "r", "key": "k", "generation": 1});
    client.post("/api/token/report", &report).await.expect(200);
    let second = read(client, query, Some(&first)).await.expect(200);
    assert_eq!(second.json()["generation"], 2);
    assert_ne!(tag_of(&second), first);
    // The same text, and another expiry.
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    let ends = SystemClock.now().0 + 3_600_000;
    let mut tags = Vec::new();
    for expires_at in [ends, ends + 1000, ends] {
        let body = json!({"realm": "fixed", "key": "k", "token": "t", "expires_at": expires_at});
        client.put("/api/token", &body).await.expect(200);
        tags.push(tag_of(&read(client, "realm=fixed&key=k", None).await));
    }
    // A secret that was made again, whatever its generation.
    client.delete("/api/secret/fixed/k").await.expect(200);
    let body = json!({"realm": "fixed", "key": "k", "token": "t", "expires_at": ends});
    client.put("/api/token", &body).await.expect(200);
    tags.push(tag_of(&read(client, "realm=fixed&key=k", None).await));
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "{tags:?}");
}

async fn what_is_more_than_the_token_has_no_tag_and_is_always_sent(database: TestDatabase) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let client = &server.client;
    provider.answer_next(Answer::token("one", 600));
    client.register(&provider.url("/token")).await;
    server.settled().await;
    let is_sent = async |query: &str, field: &str| {
        let reply = read(client, &format!("realm=r&key=k{query}"), Some("*")).await;
        let reply = reply.expect(200);
        assert_eq!(reply.header("etag"), None, "{}", reply.text);
        assert_ne!(reply.json()[field], Value::Null, "{}", reply.text);
    };
    // A flush that was made, one that is denied, and what is not understood.
    clock.advance(Ms::from_secs(120));
    is_sent("&flush=true", "flushed").await;
    is_sent("&flush=true", "flush_denied").await;
    is_sent("&flush=maybe", "flush_denied").await;
    // A token that is not as fresh as was asked for.
    provider.answer_with(Answer::status(500));
    is_sent("&min_ttl_s=30000000", "stale").await;
    // One that is rendered anew on each read.
    provider.answer_with(Answer::default());
    let config = json!({
        "url": provider.url("/token"), "method": "GET", "token_path": "access_token",
        "expires_in_path": "expires_in",
        "token_template": "t ${token}", "per_read": true,
    });
    client.save_realm("r2", config).await;
    client.save_secret("r2", "k").await;
    client.generation("r2", "k", 1).await;
    let reply = read(client, "realm=r2&key=k", Some("*")).await.expect(200);
    assert_eq!(reply.header("etag"), None);
}

async fn nobody_is_told_that_nothing_has_changed_where_something_else_is_due(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(EpochMs(1_700_000_000_000)));
    let options = Options {
        clock: Some(clock.clone()),
        ..Options::default()
    };
    let server = Server::start_with(&database, options).await;
    let client = &server.client;
    provider.answer_next(Answer::token("one", 600));
    client.register(&provider.url("/token")).await;
    server.settled().await;
    let tag = tag_of(&read(client, "realm=r&key=k", None).await.expect(200));
    let key = |name: &str, scope: &str, keys: &str| json!({"name": name, "scopes": [scope], "realms": ["*"], "keys": [keys]});
    let other = with_key(client, key("other", "token:read", "x*")).await;
    let without = with_key(client, key("without", "secret:read", "*")).await;
    let one = with_key(client, key("one", "token:read", "k")).await;
    let query = "realm=r&key=k";
    for named in ["*", &tag] {
        for query in [query, "realm=r&key=k&min_ttl_s=1"] {
            for (caller, status, code) in [
                (&other, 403, "forbidden"),
                (&without, 403, "forbidden"),
                (&client.without_key(), 401, "unauthorized"),
                (&client.with_key("nobody's"), 401, "unauthorized"),
            ] {
                let refused = read(caller, query, Some(named)).await;
                refused.expect_problem(status, code);
            }
            read(&one, query, Some(named)).await.expect(304);
        }
        let unknown = read(client, "realm=r&key=x", Some(named)).await;
        unknown.expect_problem(400, "unknown_secret");
    }
    // It has ended, and there is no other.
    provider.answer_with(Answer::status(500));
    clock.advance(Ms::from_secs(601));
    for named in ["*", &tag] {
        let gone = read(&one, query, Some(named)).await;
        gone.expect_problem(503, "token_unavailable");
    }
    client.delete("/api/secret/r/k").await.expect(200);
    let deleted = read(&one, query, Some("*")).await;
    deleted.expect_problem(400, "unknown_secret");
}

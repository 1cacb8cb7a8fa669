//! Providers that end the old access token when they issue the next: while a renewal is under
//! way readers wait for it, bounded.

use serde_json::{Value, json};
use token_server::foundation::clock::Ms;

use crate::kit::server::{Client, Options};
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    readers_wait_for_a_renewal_under_way_and_are_given_the_next_token,
    readers_of_another_replica_wait_too,
    readers_wait_no_longer_than_max_wait_and_are_told_that_the_token_is_stale,
    a_renewal_that_fails_ends_the_wait_with_the_old_token,
    a_realm_that_begins_to_revoke_is_no_longer_read_from_memory,
    what_is_derived_waits_for_a_parent_that_is_being_renewed,
    a_grace_beside_is_refused,
}

fn realm(provider: &Provider, policy: Value) -> Value {
    json!({
        "url": provider.url("/token"), "method": "GET",
        "token_path": "access_token", "expires_in_path": "expires_in", "policy": policy,
    })
}

async fn register(client: &Client, provider: &Provider) {
    let policy = json!({"revokes_previous": true, "min_flush_interval_s": 0});
    client.save_realm("r", realm(provider, policy)).await;
    let secret = json!({"realm": "r", "key": "k"});
    client.post("/api/secret", &secret).await.expect(200);
    client.generation("r", "k", 1).await;
}

async fn replica(database: &TestDatabase, name: &str, max_wait_s: u32) -> Server {
    let directory = database.directory.path().join(name).display().to_string();
    let env = vec![
        ("TOKEN_SERVER__DATA_DIR", directory),
        ("TOKEN_SERVER__READ__MAX_WAIT_S", max_wait_s.to_string()),
    ];
    let options = Options {
        env,
        ..Options::default()
    };
    Server::start_with(database, options).await
}

/// Makes a renewal whose request the provider holds; answers when it has come.
async fn begin_renewal(client: &Client, provider: &Provider) -> tokio::task::JoinHandle<()> {
    let requests = provider.request_count();
    provider.hold();
    let flushing = client.clone();
    let flush = tokio::spawn(async move {
        let flush = json!({"realm": "r", "key": "k"});
        flushing.post("/api/token/flush", &flush).await.expect(200);
    });
    provider.wait_for_requests(requests + 1).await;
    flush
}

async fn read(client: &Client) -> Value {
    client.token("r", "k").await.expect(200).json()
}

/// Readers that wait for the renewal under way, beside so many other callers of the server.
async fn waiting_readers(
    server: &Server,
    count: i64,
    others: i64,
) -> Vec<tokio::task::JoinHandle<Value>> {
    let readers = (0..count).map(|_| {
        let client = server.client.clone();
        tokio::spawn(async move { read(&client).await })
    });
    let readers: Vec<_> = readers.collect();
    server.readers_waiting(count + others).await;
    readers
}

async fn readers_wait_for_a_renewal_under_way_and_are_given_the_next_token(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, replica(&database, "a", 30).await);
    register(&server.client, &provider).await;
    let flush = begin_renewal(&server.client, &provider).await;
    let readers = waiting_readers(&server, 20, 1).await;
    provider.release();
    for reader in readers {
        let served = reader.await.expect("a reader");
        assert_eq!(
            (&served["generation"], &served["token"]),
            (&json!(2), &json!("token-2"))
        );
        assert_ne!(served["stale"], true);
    }
    flush.await.expect("a flush");
    assert_eq!(
        provider.request_count(),
        2,
        "readers ask for no renewal of their own"
    );
}

async fn readers_of_another_replica_wait_too(database: TestDatabase) {
    let provider = Provider::start().await;
    let one = replica(&database, "a", 30).await;
    let other = replica(&database, "b", 30).await;
    register(&one.client, &provider).await;
    assert_eq!(read(&other.client).await["generation"], 1);
    assert_eq!(
        read(&other.client).await["source"],
        "database",
        "it is not remembered"
    );
    let flush = begin_renewal(&one.client, &provider).await;
    let readers = waiting_readers(&other, 5, 0).await;
    provider.release();
    for reader in readers {
        assert_eq!(reader.await.expect("a reader")["generation"], 2);
    }
    flush.await.expect("a flush");
}

async fn readers_wait_no_longer_than_max_wait_and_are_told_that_the_token_is_stale(
    database: TestDatabase,
) {
    let (provider, server) = (Provider::start().await, replica(&database, "a", 1).await);
    register(&server.client, &provider).await;
    let flush = begin_renewal(&server.client, &provider).await;
    let served = read(&server.client).await;
    assert_eq!(
        (&served["generation"], &served["stale"]),
        (&json!(1), &json!(true))
    );
    provider.release();
    server.client.generation("r", "k", 2).await;
    flush.await.expect("a flush");
}

async fn a_renewal_that_fails_ends_the_wait_with_the_old_token(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, replica(&database, "a", 30).await);
    register(&server.client, &provider).await;
    provider.answer_next(Answer::status(503));
    let flush = begin_renewal(&server.client, &provider).await;
    let readers = waiting_readers(&server, 3, 1).await;
    provider.release();
    for reader in readers {
        let served = reader.await.expect("a reader");
        assert_eq!(
            (&served["generation"], &served["stale"]),
            (&json!(1), &Value::Null)
        );
    }
    flush.await.expect("a flush");
}

async fn a_realm_that_begins_to_revoke_is_no_longer_read_from_memory(database: TestDatabase) {
    let provider = Provider::start().await;
    let one = replica(&database, "a", 30).await;
    let other = replica(&database, "b", 30).await;
    one.client
        .save_realm("r", realm(&provider, json!({})))
        .await;
    let secret = json!({"realm": "r", "key": "k"});
    one.client.post("/api/secret", &secret).await.expect(200);
    one.client.generation("r", "k", 1).await;
    for server in [&one, &other] {
        eventually("it is remembered", async || {
            (read(&server.client).await["source"] == "cache").then_some(())
        })
        .await;
    }
    let policy = json!({"revokes_previous": true});
    one.client.save_realm("r", realm(&provider, policy)).await;
    assert_eq!(read(&one.client).await["source"], "database");
    eventually("the other has learned of it", async || {
        (read(&other.client).await["source"] == "database").then_some(())
    })
    .await;
    assert_eq!(read(&other.client).await["source"], "database");
}

async fn what_is_derived_waits_for_a_parent_that_is_being_renewed(database: TestDatabase) {
    let (server, clock) = Server::on_manual_clock(&database).await;
    let (parents, children) = (Provider::start().await, Provider::start().await);
    register(&server.client, &parents).await;
    let mut derived = realm(&children, json!({}));
    derived["parent"] = json!({"realm": "r", "key": "k"});
    derived["arguments"] = json!([{"name": "of", "place": "url", "value": "${parent.token}"}]);
    server.client.save_realm("derived", derived).await;
    let flush = begin_renewal(&server.client, &parents).await;
    let secret = json!({"realm": "derived", "key": "k"});
    server.client.post("/api/secret", &secret).await.expect(200);
    eventually("it waits for its parent", async || {
        let secret = server.client.secret("derived", "k").await;
        (secret["waiting"].is_string()).then_some(())
    })
    .await;
    parents.release();
    flush.await.expect("a flush");
    clock.advance(Ms(1));
    server.client.generation("derived", "k", 1).await;
    let sent = &children.requests()[0].query;
    assert_eq!(sent, &[("of".to_owned(), "token-2".to_owned())]);
}

async fn a_grace_beside_is_refused(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, replica(&database, "a", 30).await);
    let policy = json!({"revokes_previous": true, "grace_s": 300});
    let body = json!({"id": "r", "config": realm(&provider, policy)});
    let reply = server.client.post("/api/realm", &body).await;
    let problem = reply.expect_problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["pointer"], "/config/policy/grace_s");
}

//! A place in a quota that is given back is had by whoever was refused before.

use serde_json::json;
use token_server::foundation::clock::Ms;

use super::register;
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_place_that_another_server_gives_back_is_taken_before_the_window_ends,
}

async fn a_place_that_another_server_gives_back_is_taken_before_the_window_ends(
    database: TestDatabase,
) {
    let provider = Provider::start().await;
    let (server, clock) = Server::on_manual_clock(&database).await;
    let quota = json!([{"limit": 1, "window_s": 86_400, "scope": "realm"}]);
    register(&server, &provider, json!({"quota": quota})).await;
    let client = &server.client;
    client.save_secret("r", "first").await;
    client.generation("r", "first", 1).await;
    for key in ["read", "waits"] {
        client.save_secret("r", key).await;
        eventually("it waits for the quota", async || {
            let secret = client.secret("r", key).await;
            secret["waiting"].is_string().then_some(())
        })
        .await;
    }
    let refused = client.token("r", "read").await;
    refused.expect_problem(503, "token_unavailable");
    // As a server does that has reserved it, and stops before it is sent.
    let given_back = "UPDATE ts_quota SET reserved = '[]'";
    database.run(given_back).await;
    clock.advance(Ms::from_secs(10));
    client.token("r", "read").await.expect(200);
    let refused = client.token("r", "waits").await;
    refused.expect_problem(503, "token_unavailable");
    // Nobody reads it.
    database.run(given_back).await;
    clock.advance(Ms::from_secs(600));
    client.generation("r", "waits", 1).await;
    assert_eq!(provider.request_count(), 3);
    server.stop().await;
}

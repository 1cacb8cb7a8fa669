//! Nothing secret stands in the database, and nothing sealed opens where it does not
//! belong.

use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::kit::process::ServerProcess;
use crate::kit::{Answer, Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    the_database_holds_no_secret_and_no_token_in_the_clear,
    swapped_sealed_values_are_refused_and_parked_with_the_reason,
    nothing_secret_is_logged,
}

const CANARIES: [&str; 4] = [
    "canary-parameter-1-5d1c0",
    "canary-parameter-2-9b7e4",
    "canary-token-1-c0ffee",
    "canary-fixed-token-3ad2f",
];

/// Has every canary stored: parameters, an issued token, a fixed token.
async fn plant(client: &crate::kit::server::Client, provider: &Provider) {
    provider.answer_with(Answer::token(CANARIES[2], 7200));
    client.register_realm("r", &provider.url("/token")).await;
    let secret = json!({"realm": "r", "key": "k", "key_1": CANARIES[0], "key_2": CANARIES[1]});
    client.post("/api/secret", &secret).await.expect(200);
    client
        .post("/api/realm", &json!({"id": "fixed"}))
        .await
        .expect(200);
    let fixed = json!({"realm": "fixed", "key": "k", "token": CANARIES[3]});
    client.put("/api/token", &fixed).await.expect(200);
    client.generation("r", "k", 1).await;
    assert_eq!(
        client.token("r", "k").await.expect(200).json()["token"],
        CANARIES[2]
    );
    assert_eq!(
        client.token("fixed", "k").await.expect(200).json()["token"],
        CANARIES[3]
    );
}

async fn the_database_holds_no_secret_and_no_token_in_the_clear(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    plant(&server.client, &provider).await;
    // What is not secret can be found, so the search works.
    assert!(database.contains("/token").await && database.contains("access_token").await);
    for canary in CANARIES {
        assert!(
            !database.contains(canary).await,
            "{canary} stands in the clear"
        );
    }
}

async fn swapped_sealed_values_are_refused_and_parked_with_the_reason(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, Server::start(&database).await);
    let client = &server.client;
    client.register_realm("r", &provider.url("/token")).await;
    for key in ["a", "b"] {
        client.save_secret("r", key).await;
        client.generation("r", key, 1).await;
    }
    let connection = database.connect().await;
    for sql in [
        "CREATE TABLE swap AS SELECT id, params FROM ts_secret",
        "UPDATE ts_secret SET params = (SELECT params FROM swap WHERE swap.id <> ts_secret.id)",
        "UPDATE ts_token SET renew_at = 0",
    ] {
        connection
            .execute_unprepared(sql)
            .await
            .expect("the statement is good");
    }
    let parked = client.state("r", "a", "needs_attention").await;
    assert_eq!(parked["last_error"]["class"], "internal");
    assert_eq!(parked["params"], json!(null));
    // Refused before anything was sent; the stored token is still good, and served.
    assert_eq!(provider.request_count(), 2);
    client.token("r", "a").await.expect(200);
}

async fn nothing_secret_is_logged(database: TestDatabase) {
    let provider = Provider::start().await;
    let loud = ("TOKEN_SERVER__LOG__FILTER", "trace".to_owned());
    let server = ServerProcess::start(&database, &[loud]);
    plant(&server.client, &provider).await;
    // A provider that repeats what it was sent.
    let echo = json!({"error": "invalid_client", "error_description": CANARIES[1]});
    provider.answer_with(Answer::status(401).with_json(&echo));
    let flush = json!({"realm": "r", "key": "k"});
    let mut log = Vec::new();
    eventually("the refusal", async || {
        server
            .client
            .post("/api/token/flush", &flush)
            .await
            .expect(200);
        log.extend(server.logged());
        log.iter()
            .any(|line| line.contains("invalid_client"))
            .then_some(())
    })
    .await;
    log.extend(server.logged());
    assert!(
        log.iter().any(|line| line.contains("not renewed")),
        "{} lines",
        log.len()
    );
    for canary in CANARIES.iter().chain([&crate::kit::server::ADMIN_KEY]) {
        let told = log.iter().find(|line| line.contains(canary));
        assert!(told.is_none(), "{canary} was logged: {told:?}");
    }
    let shown = server.client.secret("r", "k").await.to_string();
    let history = server.client.get("/api/renewal").await.expect(200).text;
    for canary in CANARIES {
        assert!(!shown.contains(canary) && !history.contains(canary));
    }
}

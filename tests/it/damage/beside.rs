//! What an attempt needs beside its own secret: a damaged token of a parent, a damaged ticket.

use reqwest::Method;
use serde_json::{Value, json};

use super::{HARMS, Harm, Stored, make_due, renewed, run, server};
use crate::kit::push::PushingApp;
use crate::kit::{Provider, Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    a_damaged_parent_is_renewed_first_whoever_asks,
    a_damaged_ticket_is_waited_for_until_it_is_pushed_again,
}

/// A parent `p` and a child `k` in realms of their own.
async fn family(server: &Server, parent: &Provider, child: &Provider) {
    let client = &server.client;
    client
        .save_realm(
            "p",
            json!({
                "url": parent.url("/token"), "method": "GET",
                "token_path": "access_token", "expires_in_path": "expires_in",
                "extra": {"life": "body.expires_in"},
            }),
        )
        .await;
    client
        .save_realm(
            "r",
            json!({
                "url": child.url("/token"), "method": "GET",
                "parent": {"realm": "p", "key": "p"},
                "arguments": [
                    {"name": "parent", "place": "url", "value": "${parent.token}"},
                    {"name": "life", "place": "url", "value": "${parent.extra.life}"},
                ],
                "token_path": "access_token", "expires_in_path": "expires_in",
            }),
        )
        .await;
    for (realm, key) in [("p", "p"), ("p", "other"), ("r", "k")] {
        let secret = json!({"realm": realm, "key": key});
        client.post("/api/secret", &secret).await.expect(200);
        client.generation(realm, key, 1).await;
    }
    server.settled().await;
}

async fn a_damaged_parent_is_renewed_first_whoever_asks(database: TestDatabase) {
    let (parent, child) = (Provider::start().await, Provider::start().await);
    let server = server(&database).await;
    family(&server, &parent, &child).await;
    let client = &server.client;
    let mut generation = 1;
    for column in ["token", "extra"] {
        let of = |key: &str| Stored {
            table: "ts_token",
            column,
            row: format!("realm_id = 'p' AND key_name = '{key}'"),
        };
        for harm in HARMS {
            for asked in ["due", "read", "flush"] {
                of("p").harm(&database, harm, &of("other")).await;
                generation += 1;
                match asked {
                    "due" => make_due(&database, &server, "k").await,
                    "read" => {
                        run(
                            &database,
                            "UPDATE ts_token SET token = NULL WHERE key_name = 'k'",
                        )
                        .await;
                        client.token("r", "k").await.expect(200);
                    }
                    _ => {
                        let body = json!({"realm": "r", "key": "k"});
                        let flushed = client.post("/api/token/flush", &body).await.expect(200);
                        assert_eq!(flushed.json()["flushed"], true, "{}", flushed.text);
                    }
                }
                renewed(&server, "k", generation).await;
                server.settled().await;
                let of_parent = client.secret("p", "p").await;
                assert_eq!(of_parent["generation"], generation, "{harm:?}, {asked}");
                let sent = child.requests().pop().expect("a request").query;
                let token = client.token("p", "p").await.expect(200).json()["token"].take();
                assert_eq!(json!(sent[0].1), token, "{harm:?}, {asked}");
                assert_eq!(sent[1].1, "7200");
            }
        }
    }
    assert_eq!(client.secret("p", "other").await["generation"], 1);
}

async fn waits(server: &Server, key: &str) {
    let waiting = eventually("it waits", async || {
        let secret = server.client.secret("r", key).await;
        assert!(secret["last_error"].is_null(), "{secret}");
        secret["waiting"].as_str().map(str::to_owned)
    })
    .await;
    assert!(waiting.contains("ticket"), "{waiting}");
}

async fn a_damaged_ticket_is_waited_for_until_it_is_pushed_again(database: TestDatabase) {
    let (provider, server) = (Provider::start().await, server(&database).await);
    let client = &server.client;
    let config = json!({
        "params": {"app": {"secret": false}, "verification": {}},
        "url": provider.url("/token"), "method": "POST",
        "arguments": [{"name": "ticket", "place": "body", "value": "$ticket"}],
        "ticket": {
            "format": "feishu_json", "app_id": "$app", "token": "$verification",
            "valid_s": 1800,
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    client.save_realm("r", config).await;
    let app = |key: &str| PushingApp::new(key, "the-verification-token", None);
    for key in ["k", "other"] {
        let params = json!({"app": key, "verification": "the-verification-token"});
        let secret = json!({"realm": "r", "key": key, "params": params});
        client.post("/api/secret", &secret).await.expect(200);
    }
    for key in ["k", "other"] {
        waits(&server, key).await;
    }
    let now = this_second();
    let push = async |key: &str, ticket: &str, at: i64| {
        let push = app(key).feishu_ticket(ticket, at);
        let client = client.without_key();
        let request = client
            .request(Method::POST, "/api/ticket/r")
            .body(push.body);
        client.send(request).await.expect(200);
    };
    for key in ["k", "other"] {
        push(key, "first", now).await;
        client.generation("r", key, 1).await;
    }
    server.settled().await;
    let of = |app: &str| Stored {
        table: "ts_ticket",
        column: "value",
        row: format!("app_id = '{app}'"),
    };
    for (round, harm) in (1..).zip([Harm::Format, Harm::KeyId, Harm::Tag, Harm::Swapped]) {
        let asked = provider.request_count();
        of("k").harm(&database, harm, &of("other")).await;
        make_due(&database, &server, "k").await;
        waits(&server, "k").await;
        assert_eq!(provider.request_count(), asked, "{harm:?}");
        client.get("/api/realm/r/preview?key=k").await.expect(200);
        push("k", &format!("again-{round}"), now + round).await;
        renewed(&server, "k", round + 1).await;
        server.settled().await;
        let sent = provider.requests().pop().expect("a request").body;
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(sent["ticket"], format!("again-{round}"));
    }
    assert_eq!(client.secret("r", "other").await["generation"], 1);
    let counted = super::counted(&server, "ts_ticket", "value").await;
    assert_eq!(counted, Some(4));
}

/// Now, as providers write it.
fn this_second() -> i64 {
    use token_server::foundation::clock::{Clock, SystemClock};
    SystemClock.now().0 / 1000
}

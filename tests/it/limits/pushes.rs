//! Pushes show no key: whoever sends some that nobody signed is limited by address.

use reqwest::Method;
use serde_json::json;
use token_server::foundation::clock::Ms;

use super::{limited, refused};
use crate::kit::push::{PushRequest, PushingApp};
use crate::kit::server::Client;
use crate::kit::{Reply, TestDatabase, on_every_database};

on_every_database! {
    pushes_that_nobody_signed_are_limited_by_address_and_signed_ones_are_not_counted,
}

/// A realm that takes tickets, with the secret of an application.
pub async fn register(client: &Client) -> PushingApp {
    let config = json!({
        "params": {"app": {"title": "a"}, "verification": {"title": "t"}, "aes": {"title": "k"}},
        "url": "http://127.0.0.1:9/token", "method": "POST",
        "arguments": [{"name": "ticket", "place": "body", "value": "$ticket"}],
        "ticket": {
            "format": "wechat_xml", "app_id": "$app", "token": "$verification", "aes_key": "$aes",
            "valid_s": 1800,
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
    });
    client.save_realm("t", config).await;
    let app = PushingApp::new(
        "the-app",
        "the-token",
        Some("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"),
    );
    let secret = json!({"realm": "t", "key": "k", "params": {
        "app": app.app_id, "verification": app.token, "aes": app.aes_key,
    }});
    client.post("/api/secret", &secret).await.expect(200);
    app
}

async fn push(client: &Client, realm: &str, push: PushRequest) -> Reply {
    let url = push.url("http://x/");
    let path = format!("/api/ticket/{realm}?{}", url.query().unwrap_or_default());
    let request = client.without_key().request(Method::GET, &path);
    client.send(request).await
}

async fn pushes_that_nobody_signed_are_limited_by_address_and_signed_ones_are_not_counted(
    database: TestDatabase,
) {
    let (server, clock) = limited(&database).await;
    let client = &server.client;
    let app = register(client).await;
    let now_s = 1_700_000_000;
    let good = || app.wechat_url_check("the-echo", now_s);
    for _ in 0..10 {
        push(client, "t", good()).await.expect(200);
    }
    let other = PushingApp::new("the-app", "guessed", None);
    let forged = || other.wechat_url_check("the-echo", now_s);
    push(client, "t", forged()).await.expect(400);
    push(client, "t", forged()).await.expect(400);
    push(client, "nowhere", forged()).await.expect(404);
    for realm in ["t", "nowhere"] {
        refused(push(client, realm, forged()).await);
    }
    // Nothing is verified any more, so nobody knows that this one is signed.
    refused(push(client, "t", good()).await);
    clock.advance(Ms(100));
    push(client, "t", good()).await.expect(200);
}

//! A real OAuth server: client credentials, authentication by Basic and in the body.

use serde_json::{Value, json};

use crate::kit::oidc::OauthServer;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    tokens_of_a_real_oauth_server_are_renewed_and_stay_accepted,
    a_wrong_client_secret_needs_attention,
    the_wrong_way_of_client_authentication_needs_attention,
}

fn realm(oauth: &OauthServer, method: &str) -> Value {
    json!({
        "url": oauth.token_endpoint(), "method": "POST", "content_type": "form",
        "params": {
            "client_id": {"title": "Client ID", "secret": false},
            "client_secret": {"title": "Client secret"},
        },
        "arguments": [{"name": "grant_type", "place": "body", "value": "client_credentials"}],
        "client_auth": {
            "method": method, "client_id": "$client_id", "client_secret": "$client_secret",
        },
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

fn secret(realm: &str, client: usize, client_secret: &str) -> Value {
    json!({
        "realm": realm, "key": "k",
        "params": {"client_id": format!("client-{client}"), "client_secret": client_secret},
    })
}

async fn tokens_of_a_real_oauth_server_are_renewed_and_stay_accepted(database: TestDatabase) {
    let oauth = OauthServer::start(2, 6);
    let server = Server::start(&database).await;
    let client = &server.client;
    for (number, method) in [(1, "client_secret_basic"), (2, "client_secret_post")] {
        client.save_realm(method, realm(&oauth, method)).await;
        let secret = secret(method, number, &OauthServer::secret_of(number));
        client.post("/api/secret", &secret).await.expect(200);
    }
    for generation in 1..=3 {
        for method in ["client_secret_basic", "client_secret_post"] {
            client.generation(method, "k", generation).await;
            let token = client.token(method, "k").await.expect(200).json();
            assert_eq!(token["token_type"], "Bearer");
            assert!(
                oauth
                    .accepts(token["token"].as_str().expect("a token"))
                    .await
            );
        }
    }
}

async fn a_wrong_client_secret_needs_attention(database: TestDatabase) {
    let oauth = OauthServer::start(2, 60);
    let server = Server::start(&database).await;
    let client = &server.client;
    client
        .save_realm("r", realm(&oauth, "client_secret_basic"))
        .await;
    let wrong = "a-wrong-secret-that-must-not-be-shown";
    client
        .post("/api/secret", &secret("r", 1, wrong))
        .await
        .expect(200);
    let parked = client.state("r", "k", "needs_attention").await;
    assert_eq!(parked["last_error"]["class"], "permanent");
    let detail = parked["last_error"]["detail"].as_str().expect("a text");
    assert!(
        detail.contains("401") && detail.contains("invalid_client"),
        "{detail}"
    );
    assert_eq!(oauth.issued().await, 0);
    let right = secret("r", 1, &OauthServer::secret_of(1));
    client.post("/api/secret", &right).await.expect(200);
    client.state("r", "k", "active").await;
}

async fn the_wrong_way_of_client_authentication_needs_attention(database: TestDatabase) {
    let oauth = OauthServer::start(2, 60);
    let server = Server::start(&database).await;
    let client = &server.client;
    client
        .save_realm("r", realm(&oauth, "client_secret_post"))
        .await;
    // Client 1 is registered for Basic.
    client
        .post("/api/secret", &secret("r", 1, &OauthServer::secret_of(1)))
        .await
        .expect(200);
    client.state("r", "k", "needs_attention").await;
    client
        .save_realm("r", realm(&oauth, "client_secret_basic"))
        .await;
    client.state("r", "k", "active").await;
}

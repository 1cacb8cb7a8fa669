//! `kill -9`, and what is left.

use crate::kit::oidc::OauthServer;
use crate::kit::process::ServerProcess;
use crate::kit::server::Client;
use crate::kit::{Provider, TestDatabase, eventually, on_every_database};
use serde_json::json;
use token_server::foundation::clock::{Clock, Ms, SystemClock};

on_every_database! {
    a_server_killed_during_renewals_loses_nothing_and_serves_nothing_expired,
    a_restarted_server_renews_at_once_what_it_was_renewing,
}

const SECRETS: usize = 10;
/// The OAuth server counts lives in whole seconds, from the one a token was issued in.
const WHOLE_SECOND: Ms = Ms::from_secs(1);

/// A realm of the real OAuth server, and its clients as secrets `c1`, `c2`, ….
async fn register(client: &Client, oauth: &OauthServer) {
    client
        .save_realm(
            "oauth",
            json!({
                "url": oauth.token_endpoint(), "method": "POST", "content_type": "form",
                "arguments": [
                    {"name": "grant_type", "place": "body", "value": "client_credentials"},
                ],
                "client_auth": {
                    "method": "client_secret_post",
                    "client_id": "$key_1", "client_secret": "$key_2",
                },
                "token_path": "access_token", "expires_in_path": "expires_in",
            }),
        )
        .await;
    // Even clients authenticate in the body.
    for number in (2..=2 * SECRETS).step_by(2) {
        let secret = json!({
            "realm": "oauth", "key": format!("c{number}"),
            "key_1": format!("client-{number}"), "key_2": OauthServer::secret_of(number),
        });
        client.post("/api/secret", &secret).await.expect(200);
    }
}

async fn a_server_killed_during_renewals_loses_nothing_and_serves_nothing_expired(
    database: TestDatabase,
) {
    let oauth = OauthServer::start(2 * SECRETS, 8);
    let mut server = ServerProcess::start(&database, &[]);
    register(&server.client, &oauth).await;
    let mut generations = [0; SECRETS];
    for kill in 0..4 {
        let issued = oauth.issued().await;
        // Killed while tokens are being renewed: some were issued since, some are under way.
        eventually("renewals are under way", async || {
            (oauth.issued().await >= issued + 3 + kill).then_some(())
        })
        .await;
        server.kill();
        server = ServerProcess::start(&database, &[]);
        for (index, known) in generations.iter_mut().enumerate() {
            let key = format!("c{}", 2 * (index + 1));
            let asked = SystemClock.boot();
            let token = server.client.token("oauth", &key).await.expect(200).json();
            let text = token["token"].as_str().expect("a token");
            let accepted = oauth.accepts(text).await;
            let life = Ms(token["expires_in"].as_i64().expect("a number"));
            assert!(life > Ms::ZERO, "{key} was served a token that has expired");
            let left = Ms(life.0 - SystemClock.boot().since(asked).0);
            assert!(
                accepted || left < WHOLE_SECOND,
                "{key} was served a token that is not accepted, with {} ms of {} left",
                left.0,
                life.0
            );
            let generation = token["generation"].as_i64().expect("a generation");
            assert!(
                generation >= *known,
                "{key} fell from {known} to {generation}"
            );
            *known = generation;
        }
    }
}

async fn a_restarted_server_renews_at_once_what_it_was_renewing(database: TestDatabase) {
    let provider = Provider::start().await;
    let server = ServerProcess::start(&database, &[]);
    server
        .client
        .register_realm("r", &provider.url("/token"))
        .await;
    server.client.held_attempt(&provider, "r", "k").await;
    server.kill();
    provider.release();
    let held = "SELECT COUNT(*) FROM ts_token WHERE lease_owner IS NOT NULL";
    assert_eq!(database.number(held).await, 1);
    // Its own lease is given back at the start, not waited for.
    let server = ServerProcess::start(&database, &[]);
    let token = server.client.token("r", "k").await.expect(200).json();
    assert_eq!(token["generation"], 1);
    assert_eq!(provider.request_count(), 2);
}

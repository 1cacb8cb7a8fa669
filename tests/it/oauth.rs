//! A real OAuth server: client credentials, authentication by Basic and in the body.

use serde_json::{Value, json};

use crate::kit::documented::{other_private_key, with_keys};
use crate::kit::oidc::{Certificates, OauthServer, Registered};
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    tokens_of_a_real_oauth_server_are_renewed_and_stay_accepted,
    a_wrong_client_secret_needs_attention,
    the_wrong_way_of_client_authentication_needs_attention,
    assertions_signed_with_a_shared_secret_are_accepted_through_five_generations,
    assertions_signed_with_a_private_key_of_every_kind_are_accepted_through_five_generations,
    a_client_certificate_is_shown_through_five_generations,
    refresh_tokens_rotate_through_five_generations_and_none_is_sent_twice,
    tokens_that_are_jwts_end_when_they_say_so_themselves,
}

/// As many as show that the way holds.
const GENERATIONS: i64 = 5;

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
    let oauth = OauthServer::start(2, 4);
    let server = Server::start(&database).await;
    let client = &server.client;
    for (number, method) in [(1, "client_secret_basic"), (2, "client_secret_post")] {
        client.save_realm(method, realm(&oauth, method)).await;
        let secret = secret(method, number, &OauthServer::secret_of(number));
        client.post("/api/secret", &secret).await.expect(200);
    }
    for generation in 1..=GENERATIONS {
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

/// Renews a secret of a realm through the generations, and has the server judge each token.
async fn renewed(client: &Client, oauth: &OauthServer, realm: &str) {
    for generation in 1..=GENERATIONS {
        client.generation(realm, "k", generation).await;
        let served = client.token(realm, "k").await.expect(200).json();
        let token = served["token"].as_str().expect("a token");
        assert!(oauth.accepts(token).await, "{realm}: {generation}");
    }
    let secret = client.secret(realm, "k").await;
    assert_eq!(secret["state"], "active", "{secret}");
}

fn grant(config: &mut Value) {
    config["method"] = json!("POST");
    config["content_type"] = json!("form");
    config["token_path"] = json!("access_token");
    config["expires_in_path"] = json!("expires_in");
    config["arguments"] = json!([
        {"name": "grant_type", "place": "body", "value": "client_credentials"},
    ]);
}

async fn save(client: &Client, realm: &str, config: Value, params: Value) {
    client.save_realm(realm, config).await;
    let secret = json!({"realm": realm, "key": "k", "params": params});
    client.post("/api/secret", &secret).await.expect(200);
}

async fn assertions_signed_with_a_shared_secret_are_accepted_through_five_generations(
    database: TestDatabase,
) {
    let oauth = OauthServer::start(0, 4);
    let server = Server::start(&database).await;
    let mut config = json!({
        "params": {"client_secret": {"title": "Client secret"}},
        "url": oauth.token_endpoint(),
        "client_auth": {
            "method": "client_secret_jwt",
            "client_id": "jwt-secret", "client_secret": "$client_secret",
        },
    });
    grant(&mut config);
    let params = json!({"client_secret": "secret-of-jwt-secret-0123456789abcdef"});
    save(&server.client, "r", config, params).await;
    renewed(&server.client, &oauth, "r").await;
}

/// The public half of a JSON Web Key.
fn public(jwk: &str) -> Value {
    let mut key: Value = serde_json::from_str(jwk).expect("it is JSON");
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        key.as_object_mut().expect("an object").remove(private);
    }
    key
}

async fn assertions_signed_with_a_private_key_of_every_kind_are_accepted_through_five_generations(
    database: TestDatabase,
) {
    let jwk = include_str!("../keys/ec.jwk.json");
    let keys = [
        include_str!("../keys/rsa.jwk.json"),
        jwk,
        include_str!("../keys/ed.jwk.json"),
    ];
    let oauth = OauthServer::start_with(
        0,
        4,
        &Registered {
            keys: Some(json!({"keys": keys.map(public)})),
            ..Registered::default()
        },
    );
    let server = Server::start(&database).await;
    let kinds = [
        ("rs256", "RS256", "pem", with_keys("{{rsa_private_key}}")),
        ("ps256", "PS256", "pem", with_keys("{{rsa_private_key}}")),
        ("es256", "ES256", "jwk", jwk.to_owned()),
        ("eddsa", "EdDSA", "pem", with_keys("{{ed_private_key}}")),
    ];
    for (realm, algorithm, encoding, key) in &kinds {
        let mut config = json!({
            "params": {"key": {"title": "Private key"}},
            "url": oauth.token_endpoint(),
            "client_auth": {"method": "private_key_jwt", "client_id": "jwt-key"},
            "assertion": {
                "alg": algorithm, "key": "$key", "key_encoding": encoding,
                "claims": {"aud": oauth.issuer},
            },
        });
        grant(&mut config);
        save(&server.client, realm, config, json!({"key": key})).await;
    }
    for (realm, ..) in &kinds {
        renewed(&server.client, &oauth, realm).await;
    }
    // A key that is not registered is refused, whatever it claims.
    let mut config = json!({
        "params": {"key": {"title": "Private key"}},
        "url": oauth.token_endpoint(),
        "client_auth": {"method": "private_key_jwt", "client_id": "jwt-key"},
        "assertion": {"alg": "RS256", "key": "$key"},
    });
    grant(&mut config);
    let other = other_private_key();
    save(&server.client, "other", config, json!({"key": other})).await;
    let parked = server.client.state("other", "k", "needs_attention").await;
    let detail = parked["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.contains("invalid_client"), "{detail}");
}

async fn a_client_certificate_is_shown_through_five_generations(database: TestDatabase) {
    let certificates = Certificates::make();
    let oauth = OauthServer::start_with(
        0,
        4,
        &Registered {
            certificates: Some(&certificates),
            ..Registered::default()
        },
    );
    let server = Server::start(&database).await;
    let tls_issuer = oauth.tls_issuer.as_deref().expect("it listens with TLS");
    let mut config = json!({
        "params": {
            "ca": {"title": "Authority"}, "cert": {"title": "Certificate", "optional": true},
            "key": {"title": "Private key", "optional": true},
        },
        "url": format!("{tls_issuer}/token"),
        "tls": {"ca": "$ca", "client_cert": "$cert", "client_key": "$key"},
        "client_auth": {"method": "tls_client_auth", "client_id": "mtls"},
    });
    grant(&mut config);
    let client = &server.client;
    let with = json!({
        "ca": certificates.authority, "cert": certificates.client_certificate,
        "key": certificates.client_key,
    });
    save(client, "r", config.clone(), with).await;
    renewed(client, &oauth, "r").await;
    let without = json!({"ca": certificates.authority});
    save(client, "without", config.clone(), without).await;
    let parked = client.state("without", "k", "needs_attention").await;
    let detail = parked["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.contains("invalid_client"), "{detail}");
    // Whom the realm does not trust is not talked to.
    let stranger = Certificates::make();
    let untrusted = json!({
        "ca": stranger.authority, "cert": certificates.client_certificate,
        "key": certificates.client_key,
    });
    save(client, "untrusted", config, untrusted).await;
    let secret = crate::kit::eventually("a failure", async || {
        let secret = client.secret("untrusted", "k").await;
        secret["last_error"].is_object().then_some(secret)
    })
    .await;
    assert_eq!(
        secret["last_error"]["detail"],
        "the server's certificate is not signed by the trusted authority that it names"
    );
}

async fn refresh_tokens_rotate_through_five_generations_and_none_is_sent_twice(
    database: TestDatabase,
) {
    let oauth = OauthServer::start(0, 4);
    let server = Server::start(&database).await;
    let config = json!({
        "params": {
            "client_secret": {"title": "Client secret"},
            "refresh_token": {"title": "The first refresh token"},
        },
        "url": oauth.token_endpoint(), "method": "POST", "content_type": "form",
        "client_auth": {
            "method": "client_secret_basic",
            "client_id": "refresher", "client_secret": "$client_secret",
        },
        "arguments": [
            {"name": "grant_type", "place": "body", "value": "refresh_token"},
            {"name": "refresh_token", "place": "body", "value": "$refresh_token"},
        ],
        "token_path": "access_token", "expires_in_path": "expires_in",
        "refresh_token_path": "refresh_token",
    });
    let first = oauth.first_refresh_token().await;
    let params = json!({
        "client_secret": "secret-of-refresher-0123456789abcdef", "refresh_token": first,
    });
    save(&server.client, "r", config.clone(), params.clone()).await;
    renewed(&server.client, &oauth, "r").await;
    let (rotations, reuse) = oauth.rotations().await;
    assert!(rotations >= 5, "{rotations}");
    assert_eq!(reuse, 0);
    // The server does detect reuse: a second secret with the spent token ends the grant.
    save(&server.client, "thief", config, params).await;
    let parked = server.client.state("thief", "k", "needs_attention").await;
    let detail = parked["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("refresh_token_refused"), "{detail}");
    let robbed = server.client.state("r", "k", "needs_attention").await;
    let detail = robbed["last_error"]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("refresh_token_refused"), "{detail}");
}

async fn tokens_that_are_jwts_end_when_they_say_so_themselves(database: TestDatabase) {
    let oauth = OauthServer::start(0, 4);
    let server = Server::start(&database).await;
    let mut config = json!({
        "params": {"client_secret": {"title": "Client secret"}},
        "url": oauth.token_endpoint(),
        "client_auth": {
            "method": "client_secret_basic",
            "client_id": "jwt-tokens", "client_secret": "$client_secret",
        },
    });
    grant(&mut config);
    // Nothing but the token says when it ends.
    config
        .as_object_mut()
        .expect("fields")
        .remove("expires_in_path");
    let params = json!({"client_secret": "secret-of-jwt-tokens-0123456789abcdef"});
    save(&server.client, "r", config, params).await;
    let client = &server.client;
    client.generation("r", "k", 1).await;
    let served = client.token("r", "k").await.expect(200).json();
    assert_eq!(
        served["token"]
            .as_str()
            .map(|token| token.split('.').count()),
        Some(3)
    );
    let left_ms = served["expires_in"].as_i64().expect("a number");
    assert!((1..=4000).contains(&left_ms), "{left_ms}");
    renewed(client, &oauth, "r").await;
}

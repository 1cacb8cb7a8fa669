//! Two more real OAuth servers, made with Authlib and with django-oauth-toolkit: how clients
//! authenticate, and refresh tokens that rotate.

mod outages;
mod refused;

use serde_json::{Value, json};

use crate::kit::documented::with_keys;
use crate::kit::python::{Library, PythonServer};
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, eventually, on_every_database};

on_every_database! {
    credentials_of_every_character_are_accepted_in_the_header_and_in_the_body,
    a_private_key_is_accepted_and_each_assertion_is_sent_once,
    refresh_tokens_rotate_and_the_spent_one_is_refused,
}

const CLIENT_SECRET: &str = "a client's secret: 100% + é";

/// What every realm here has; `grant_type` and client authentication come beside.
fn realm(oauth: &PythonServer, grant_type: &str, client_auth: Value) -> Value {
    json!({
        "url": oauth.token_endpoint(), "method": "POST", "content_type": "form",
        "arguments": [{"name": "grant_type", "place": "body", "value": grant_type}],
        "client_auth": client_auth,
        "token_path": "access_token", "expires_in_path": "expires_in",
    })
}

fn by_secret(method: &str) -> Value {
    json!({"method": method, "client_id": "$client_id", "client_secret": "$client_secret"})
}

/// A realm of clients that authenticate with a secret.
fn credentials_realm(oauth: &PythonServer, method: &str) -> Value {
    let mut config = realm(oauth, "client_credentials", by_secret(method));
    // Any character is meant here, blanks at the ends included.
    config["params"] = json!({
        "client_id": {"title": "Client ID", "secret": false, "pattern": ".*"},
        "client_secret": {"title": "Client secret", "pattern": ".*"},
    });
    config
}

/// A realm of refresh tokens that rotate.
fn refreshing_realm(library: Library, oauth: &PythonServer) -> Value {
    let mut config = realm(oauth, "refresh_token", by_secret("client_secret_basic"));
    config["params"] = json!({
        "client_id": {"title": "Client ID", "secret": false},
        "client_secret": {"title": "Client secret"},
        "refresh_token": {"title": "The first refresh token"},
    });
    let send = json!({"name": "refresh_token", "place": "body", "value": "$refresh_token"});
    let arguments = config["arguments"].as_array_mut().expect("a list");
    arguments.push(send);
    config["refresh_token_path"] = json!("refresh_token");
    if library == Library::Django {
        config["policy"] = json!({"revokes_previous": true});
    }
    config
}

/// A realm of the client `jwt`, which has the private key of the tests.
fn key_realm(oauth: &PythonServer, assertion: &Value) -> Value {
    let client_auth = json!({"method": "private_key_jwt", "client_id": "jwt"});
    let mut config = realm(oauth, "client_credentials", client_auth);
    config["params"] = json!({"key": {"title": "Private key"}});
    config["assertion"] = json!({"alg": "RS256", "key": "$key"});
    for (field, value) in assertion.as_object().expect("fields") {
        config["assertion"][field] = value.clone();
    }
    config
}

fn private_key() -> String {
    with_keys("{{rsa_private_key}}")
}

async fn register(oauth: &PythonServer, client_id: &str, secret: &str, method: &str, grant: &str) {
    let client = json!({
        "client_id": client_id, "client_secret": secret,
        "auth_method": method, "grant_type": grant,
    });
    oauth.register(&client).await;
}

/// A client whose refresh tokens rotate; answers the parameters of its secret.
async fn register_refresher(oauth: &PythonServer, client_id: &str) -> Value {
    register(
        oauth,
        client_id,
        CLIENT_SECRET,
        "client_secret_basic",
        "refresh_token",
    )
    .await;
    json!({
        "client_id": client_id, "client_secret": CLIENT_SECRET,
        "refresh_token": oauth.first_refresh_token(client_id).await,
    })
}

/// The client `jwt`.
async fn register_key(oauth: &PythonServer) {
    let key: Value = serde_json::from_str(include_str!("../keys/rsa.jwk.json")).expect("JSON");
    let public = json!({"kty": "RSA", "n": key["n"], "e": key["e"]});
    let client = json!({
        "client_id": "jwt", "jwks": {"keys": [public]},
        "auth_method": "private_key_jwt", "grant_type": "client_credentials",
    });
    oauth.register(&client).await;
}

async fn save_secret(client: &Client, realm: &str, key: &str, params: Value) {
    let secret = json!({"realm": realm, "key": key, "params": params});
    client.post("/api/secret", &secret).await.expect(200);
}

/// Waits for a generation, and has the server judge its token.
async fn accepted(client: &Client, oauth: &PythonServer, realm: &str, key: &str, generation: i64) {
    client.generation(realm, key, generation).await;
    let served = client.token(realm, key).await.expect(200).json();
    let token = served["token"].as_str().expect("a token");
    let accepted = oauth.accepts(token).await.expect("it answers");
    assert!(accepted, "{realm}/{key}: {served}");
}

/// Printable ASCII by its kinds, and what is beyond it. Authlib decodes percents only, and
/// django-oauth-toolkit forms: both decode, so neither wants `encoding: raw`.
fn awkward_texts() -> Vec<String> {
    let punctuation = (' '..='~').filter(|c| !c.is_ascii_alphanumeric());
    let mut texts: Vec<String> = punctuation
        .clone()
        .map(|c| format!("a{c}b{c}{c}c"))
        .collect();
    texts.push(punctuation.collect());
    texts.extend(
        [
            "é",
            "中文",
            "😀",
            "100%2B",
            "%41+%20",
            "a:b:c",
            "::",
            "ü:%: +&=",
            "Zażółć gęślą",
        ]
        .map(str::to_owned),
    );
    texts
}

async fn credentials_of_every_character_are_accepted_in_the_header_and_in_the_body(
    database: TestDatabase,
) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for library in Library::ALL {
        let oauth = PythonServer::start(library, 3600).await;
        for method in ["client_secret_basic", "client_secret_post"] {
            let name = format!("{library:?}-{method}").to_lowercase();
            client
                .save_realm(&name, credentials_realm(&oauth, method))
                .await;
            for (number, text) in awkward_texts().iter().enumerate() {
                let (id, secret) = (format!("{method}{text}"), format!("{text}secret"));
                register(&oauth, &id, &secret, method, "client_credentials").await;
                let params = json!({"client_id": id, "client_secret": secret});
                save_secret(client, &name, &format!("k{number}"), params).await;
            }
            for number in 0..awkward_texts().len() {
                accepted(client, &oauth, &name, &format!("k{number}"), 1).await;
            }
        }
    }
}

async fn a_private_key_is_accepted_and_each_assertion_is_sent_once(database: TestDatabase) {
    let oauth = PythonServer::start(Library::Authlib, 4).await;
    register_key(&oauth).await;
    let server = Server::start(&database).await;
    let client = &server.client;
    client.save_realm("r", key_realm(&oauth, &json!({}))).await;
    save_secret(client, "r", "k", json!({"key": private_key()})).await;
    // The server takes no assertion twice.
    for generation in 1..=4 {
        accepted(client, &oauth, "r", "k", generation).await;
    }
    let failed = client.list("/api/renewal?outcome=failed").await;
    assert_eq!(failed, Vec::<Value>::new());
}

async fn refresh_tokens_rotate_and_the_spent_one_is_refused(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for library in Library::ALL {
        let oauth = PythonServer::start(library, 4).await;
        let params = register_refresher(&oauth, "refresher").await;
        let realm = format!("{library:?}").to_lowercase();
        client
            .save_realm(&realm, refreshing_realm(library, &oauth))
            .await;
        save_secret(client, &realm, "k", params.clone()).await;
        for generation in 1..=4 {
            accepted(client, &oauth, &realm, "k", generation).await;
        }
        let failed = format!("/api/renewal?outcome=failed&realm={realm}");
        assert_eq!(client.list(&failed).await, Vec::<Value>::new());
        // Of a second secret with the first refresh token.
        save_secret(client, &realm, "thief", params).await;
        refused_grant(client, &realm, "thief").await;
        let reuse_protection = library == Library::Django;
        if reuse_protection {
            // The spent token came again: all that came of it has ended.
            refused_grant(client, &realm, "k").await;
        }
        client
            .delete(&format!("/api/secret/{realm}/k"))
            .await
            .expect(200);
        client
            .delete(&format!("/api/secret/{realm}/thief"))
            .await
            .expect(200);
    }
}

/// Waits for a failure; whether it is tried again soon is another test's matter.
async fn refused_grant(client: &Client, realm: &str, key: &str) {
    let error = eventually(&format!("a failure of {realm}/{key}"), async || {
        let error = client.secret(realm, key).await["last_error"].take();
        error.is_object().then_some(error)
    })
    .await;
    assert_eq!(error["class"], "permanent", "{error}");
    let detail = error["detail"].as_str().expect("a text");
    assert!(
        detail.starts_with("refresh_token_refused") && detail.contains("400, code invalid_grant"),
        "{detail}"
    );
}

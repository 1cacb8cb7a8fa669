//! Each refusal that the two servers can make is classified right.

use serde_json::{Value, json};

use super::{
    CLIENT_SECRET, credentials_realm, key_realm, private_key, refreshing_realm, register,
    register_key, register_refresher,
};
use crate::kit::documented::other_private_key;
use crate::kit::python::{Library, PythonServer};
use crate::kit::server::Client;
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    each_refusal_of_both_servers_is_permanent_and_named,
    each_refusal_of_an_assertion_is_permanent_and_named,
}

/// What a dry run reads in the provider's answer.
async fn tried(client: &Client, config: &Value, params: &Value) -> Value {
    let trial = json!({
        "config": config, "params": params, "send": true, "confirm": "consumes_refresh_token",
    });
    let reply = client.dry_run(&trial).await.expect(200);
    let exchange = reply.json()["data"]["exchanges"][0].clone();
    exchange["reading"]["failure"].clone()
}

#[track_caller]
fn expect(what: &str, failure: &Value, status: u16, code: &str) {
    assert_eq!(failure["class"], "permanent", "{what}: {failure}");
    assert_eq!(failure["code"], code, "{what}: {failure}");
    let detail = failure["detail"].as_str().expect("a text");
    let answered = format!("the provider answered {status}, code {code}");
    assert!(detail.starts_with(&answered), "{what}: {detail}");
}

/// The same realm with other arguments in its body.
fn sending(config: &Value, arguments: &[(&str, &str)]) -> Value {
    let argument =
        |(name, value): &(&str, &str)| json!({"name": name, "place": "body", "value": value});
    let mut config = config.clone();
    config["arguments"] = arguments.iter().map(argument).collect();
    config
}

async fn each_refusal_of_both_servers_is_permanent_and_named(database: TestDatabase) {
    let server = Server::start(&database).await;
    let client = &server.client;
    for library in Library::ALL {
        let oauth = PythonServer::start(library, 3600).await;
        // The toolkit refuses a client in the body as it does one in the header.
        let django = library == Library::Django;
        let in_the_body = if django { 401 } else { 400 };
        for (method, status) in [
            ("client_secret_basic", 401),
            ("client_secret_post", in_the_body),
        ] {
            let config = credentials_realm(&oauth, method);
            register(&oauth, method, CLIENT_SECRET, method, "client_credentials").await;
            let params = json!({"client_id": method, "client_secret": "wrong"});
            expect(
                "wrong secret",
                &tried(client, &config, &params).await,
                401,
                "invalid_client",
            );
            let params = json!({"client_id": "nobody", "client_secret": CLIENT_SECRET});
            let failure = tried(client, &config, &params).await;
            expect("unknown client", &failure, status, "invalid_client");
        }
        let config = credentials_realm(&oauth, "client_secret_basic");
        let known = json!({"client_id": "client_secret_basic", "client_secret": CLIENT_SECRET});
        let unknown_grant = sending(&config, &[("grant_type", "a-wish")]);
        let failure = tried(client, &unknown_grant, &known).await;
        expect("unknown grant", &failure, 400, "unsupported_grant_type");
        let scope = [
            ("grant_type", "client_credentials"),
            ("scope", "everything"),
        ];
        let failure = tried(client, &sending(&config, &scope), &known).await;
        expect("unknown scope", &failure, 400, "invalid_scope");
        let no_token = sending(&config, &[("grant_type", "refresh_token")]);
        register_refresher(&oauth, "refresher").await;
        let of_refresher = json!({"client_id": "refresher", "client_secret": CLIENT_SECRET});
        let failure = tried(client, &no_token, &of_refresher).await;
        expect("no refresh token", &failure, 400, "invalid_request");
        let failure = tried(client, &config, &of_refresher).await;
        expect("a grant of others", &failure, 400, "unauthorized_client");
        if !django {
            let by_body = credentials_realm(&oauth, "client_secret_post");
            let failure = tried(client, &by_body, &known).await;
            expect("the wrong method", &failure, 401, "invalid_client");
        }
        refresh_tokens_are_refused(client, library, &oauth).await;
    }
}

async fn refresh_tokens_are_refused(client: &Client, library: Library, oauth: &PythonServer) {
    let config = refreshing_realm(library, oauth);
    let with = |params: &Value, token: &str| {
        let mut params = params.clone();
        params["refresh_token"] = json!(token);
        params
    };
    let refresher = register_refresher(oauth, "refresher").await;
    let failure = tried(client, &config, &with(&refresher, "never-given")).await;
    expect("never given", &failure, 400, "invalid_grant");
    let other = register_refresher(oauth, "another-refresher").await;
    let stolen = other["refresh_token"].as_str().expect("one");
    let failure = tried(client, &config, &with(&refresher, stolen)).await;
    expect("of another client", &failure, 400, "invalid_grant");
    // A good one is used up.
    assert_eq!(tried(client, &config, &refresher).await, Value::Null);
    let failure = tried(client, &config, &refresher).await;
    expect("spent", &failure, 400, "invalid_grant");
    register(
        oauth,
        "plain",
        "secret",
        "client_secret_basic",
        "refresh_token",
    )
    .await;
    let revoked = oauth.first_refresh_token("plain").await;
    oauth.revoke("plain", "secret", &revoked).await;
    let plain = json!({"client_id": "plain", "client_secret": "secret"});
    let failure = tried(client, &config, &with(&plain, &revoked)).await;
    expect("revoked", &failure, 400, "invalid_grant");
}

async fn each_refusal_of_an_assertion_is_permanent_and_named(database: TestDatabase) {
    let oauth = PythonServer::start(Library::Authlib, 3600).await;
    register_key(&oauth).await;
    let server = Server::start(&database).await;
    let client = &server.client;
    let claims = |claims: Value| key_realm(&oauth, &json!({"claims": claims}));
    let params = json!({"key": private_key()});
    // The first of two with the same name is good.
    let named = claims(json!({"jti": "the-only-one"}));
    assert_eq!(tried(client, &named, &params).await, Value::Null);
    let refused = [
        ("used before", named),
        ("without a name", claims(json!({"jti": null}))),
        ("expired", claims(json!({"exp": "${now('s') - 10}"}))),
        (
            "for another audience",
            claims(json!({"aud": "https://elsewhere.example"})),
        ),
        ("of another issuer", claims(json!({"iss": "somebody"}))),
        (
            "of nobody",
            claims(json!({"iss": "nobody", "sub": "nobody"})),
        ),
        ("without an end", claims(json!({"exp": null}))),
    ];
    for (what, config) in refused {
        expect(
            what,
            &tried(client, &config, &params).await,
            400,
            "invalid_client",
        );
    }
    let other = json!({"key": other_private_key()});
    let failure = tried(client, &claims(json!({})), &other).await;
    expect("of another key", &failure, 400, "invalid_client");
}

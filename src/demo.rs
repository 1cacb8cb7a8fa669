//! What a newcomer sees: a simulated provider on loopback with short-lived tokens, and a
//! realm and a secret registered for it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Form, Json};
use poem::{EndpointExt, Route, Server, handler, post};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Rights;
use crate::app::App;
use crate::foundation::ids::{KeyName, NameError, RealmId};
use crate::foundation::randomness::Randomness;
use crate::registry::{Actor, FieldChange, RealmPatch, RegistryError, SecretPatch, SentParam};
use crate::secret::params::ParamChange;

pub const REALM: &str = "demo";
pub const KEY: &str = "app";
/// How long a demo token lives, in seconds: long enough to be seen, short enough to be
/// seen changing.
const LIFETIME_S: u32 = 20;
const CLIENT_ID: &str = "demo-client";

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the simulated provider cannot listen on loopback: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the demo realm cannot be registered: {0}")]
    Registry(#[from] RegistryError),
    #[error("the demo's name is refused: {0}")]
    Name(#[from] NameError),
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    client_id: String,
    client_secret: String,
}

struct Provider {
    client_secret: String,
    randomness: Randomness,
}

/// RFC 6749, section 4.4.
#[handler]
fn token(provider: Data<&Arc<Provider>>, request: Form<TokenRequest>) -> (StatusCode, Json<Value>) {
    let known = request.client_id == CLIENT_ID && request.client_secret == provider.client_secret;
    if !known {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({"error": "invalid_client"})),
        );
    }
    if request.grant_type != "client_credentials" {
        let refused = json!({"error": "unsupported_grant_type"});
        return (StatusCode::BAD_REQUEST, Json(refused));
    }
    let issued = json!({
        "access_token": format!("demo-{}", provider.randomness.id()),
        "token_type": "Bearer",
        "expires_in": LIFETIME_S,
    });
    (StatusCode::OK, Json(issued))
}

/// Starts the provider and registers it. It lives as long as the process.
pub async fn start(app: &App) -> Result<(), DemoError> {
    let client_secret = app.randomness.id();
    let provider = Arc::new(Provider {
        client_secret: client_secret.clone(),
        randomness: app.randomness.clone(),
    });
    let acceptor = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .into_acceptor()
        .await?;
    let bound = acceptor.local_addr();
    let port = bound
        .first()
        .and_then(|bound| bound.0.as_socket_addr().map(|address| address.port()))
        .ok_or_else(|| std::io::Error::other("no address"))?;
    let routes = Route::new().at("/token", post(token)).data(provider);
    tokio::spawn(Server::new_with_acceptor(acceptor).run(routes));
    register(app, port, client_secret).await
}

async fn register(app: &App, port: u16, client_secret: String) -> Result<(), DemoError> {
    let by = Actor {
        name: "demo".to_owned(),
        request_id: None,
        rights: Rights::All,
        via: None,
    };
    let realm = RealmId::new(REALM)?;
    let config = json!({
        "url": format!("http://127.0.0.1:{port}/token"),
        "method": "POST",
        "content_type": "form",
        "arguments": [{"name": "grant_type", "place": "body", "value": "client_credentials"}],
        "client_auth": {
            "method": "client_secret_post", "client_id": "$key_1", "client_secret": "$key_2",
        },
        "token_path": "access_token",
        "expires_in_path": "expires_in",
    });
    let patch = RealmPatch {
        id: realm.clone(),
        comment: FieldChange::Set("a simulated provider; its tokens live 20 seconds".to_owned()),
        config: FieldChange::Set(config),
        logic_code: FieldChange::Keep,
    };
    app.registry.save_realm(patch, None, &by).await?;
    let set = |value: String| ParamChange::Set(SecretString::from(value));
    let patch = SecretPatch {
        realm,
        key: KeyName::new(KEY)?,
        params: vec![
            SentParam::named("key_1", set(CLIENT_ID.to_owned())),
            SentParam::named("key_2", set(client_secret)),
        ],
        token: None,
    };
    app.registry.save_secret(patch, &by).await?;
    Ok(())
}

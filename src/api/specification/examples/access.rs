//! Examples of who may do what: API keys, issuers of JWTs, the audit.

use serde_json::{Value, json};

use super::shared::{DATE, data, demo, page};

pub fn sign_in() -> Value {
    data(json!({"oidc": {
        "name": "Example ID", "url": "https://tokens.example/console/sign-in/oidc",
    }}))
}

pub fn session() -> Value {
    data(json!({
        "caller": "operator",
        "rule": null,
        "scopes": ["realm:read", "secret:read"],
        "realms": [demo()],
        "keys": null,
        "csrf": "0b9c7a1e52d84f3f0b9c7a1e52d84f3f",
        "idle_expires_at": DATE,
        "expires_at": DATE,
    }))
}

pub fn key_id() -> Value {
    json!(2)
}

pub fn new_key() -> Value {
    json!({"name": "reader", "scopes": ["token:read"], "realms": [demo()]})
}

pub fn made_key() -> Value {
    data(json!({"id": key_id(), "name": "reader", "key": "shown-this-once"}))
}

pub fn api_keys() -> Value {
    page(json!({
        "id": key_id(),
        "name": "reader",
        "hint": "shown-",
        "scopes": ["token:read"],
        "realms": [demo()],
        "keys": null,
        "created_at": DATE,
        "expires_at": null,
        "revoked_at": null, "rate": 100, "authentic": true,
    }))
}

pub fn issuer_name() -> Value {
    json!("github-actions")
}

pub fn new_issuer() -> Value {
    json!({
        "issuer": "https://token.actions.githubusercontent.com",
        "audiences": ["token-server"],
        "rules": [{
            "when": "claims.repository == 'acme/site' and claims.ref == 'refs/heads/main'",
            "scopes": ["token:read"],
            "realms": [demo()],
        }],
    })
}

fn issuer() -> Value {
    json!({
        "name": issuer_name(),
        "issuer": "https://token.actions.githubusercontent.com",
        "audiences": ["token-server"],
        "algorithms": ["RS256"],
        "jwks_url": null,
        "jwks": null,
        "ca": null,
        "proxy": null,
        "rules": [{
            "when": "claims.repository == 'acme/site' and claims.ref == 'refs/heads/main'",
            "scopes": ["token:read"],
            "realms": [demo()],
            "keys": null,
        }],
        "version": 1,
        "created_at": DATE,
        "updated_at": DATE,
    })
}

pub fn one_issuer() -> Value {
    data(issuer())
}

pub fn issuers() -> Value {
    page(issuer())
}

pub fn audit() -> Value {
    page(json!({
        "id": 1,
        "at": DATE,
        "actor": "reader",
        "action": "secret.save",
        "target": "demo/second",
        "outcome": "done",
        "detail": null,
        "request_id": "0b9c7a1e52d84f3f",
        "count": 1,
        "before": {"params": {"key_2": "***"}},
        "after": {"params": {"key_2": "***"}},
        "chain": "5d0cdb0f5b1c4bd6a3a8a4f1c6a7e9b2",
        "seq": 7,
    }))
}

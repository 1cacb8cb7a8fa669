//! Of tokens: what is read, reported and typed in.

use serde_json::{Value, json};

use super::shared::{DATE, app, demo};

pub fn token() -> Value {
    json!({
        "token": "demo-0b9c7a1e52d84f3f",
        "expires_in": 18250,
        "expires_in_s": 18,
        "source": "cache",
        "expires_at": DATE,
        "generation": 3,
    })
}

/// What a caller reads who waits for a while.
pub fn token_events() -> Value {
    let token = json!({
        "realm": demo(),
        "key": app(),
        "generation": 3,
        "expires_at": DATE,
        "expires_in": 18250,
        "expires_in_s": 18,
    });
    json!(format!("event: token\ndata: {token}\n\n:\n\n"))
}

pub fn flushed() -> Value {
    let mut token = token();
    token["source"] = json!("upstream");
    token["flushed"] = json!(true);
    token
}

pub fn report() -> Value {
    json!({"realm": demo(), "key": app(), "generation": 1, "code": "token_expired"})
}

pub fn fixed_token() -> Value {
    json!({"realm": "fixed", "key": "partner", "token": "what-the-partner-sent"})
}

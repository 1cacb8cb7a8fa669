//! An example of what a human looks at first.

use serde_json::{Value, json};

use super::shared::{DATE, data, demo};

pub fn overview() -> Value {
    data(json!({
        "read_at": DATE,
        "states": [{"state": "active", "secrets": 41}, {"state": "retrying", "secrets": 1}],
        "failing": [{
            "realm": demo(),
            "key": "second",
            "state": "retrying",
            "renew_at": DATE,
            "last_error": {
                "class": "transient",
                "detail": "the provider answered 503",
                "since": DATE,
                "failures": 2,
            },
        }],
        "due": [{"realm": demo(), "key": "app", "renew_at": DATE}],
        "hours": [{"begun_at": DATE, "stored": 40, "failed": 2, "discarded": 0}],
        "replica": {
            "name": "replica-1",
            "version": "0.1.0",
            "lag_ms": 120,
            "clock_offset_ms": 3,
        },
    }))
}

pub fn settings() -> Value {
    data(json!({
        "version": "0.1.0",
        "replica": "replica-1",
        "database": "mysql://db.example:3306/token_server",
        "configuration": {"admin_key": "***", "http": {"listen": "127.0.0.1:8080"}},
        "sealing_keys": [{"id": "2026", "seals": true, "values": 42}],
    }))
}

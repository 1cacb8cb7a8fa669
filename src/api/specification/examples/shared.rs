//! What several examples hold.

use serde_json::{Value, json};

pub const DATE: &str = "2026-01-02T03:04:05.678Z";

pub fn demo() -> Value {
    json!("demo")
}

pub fn success() -> Value {
    json!({"success": "ok"})
}

pub fn data(data: Value) -> Value {
    json!({"data": data, "success": "ok"})
}

pub fn page(row: Value) -> Value {
    data(json!({"list": [row], "total": 1}))
}

pub fn app() -> Value {
    json!("app")
}

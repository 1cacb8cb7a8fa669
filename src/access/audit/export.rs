//! An entry as a line of JSON, for whoever keeps it elsewhere.

use serde_json::{Value, json};
use token_server_entity::audit;

use crate::foundation::clock::Timeline;
use crate::foundation::hex;

/// All of an entry. `mac` is in hexadecimal digits.
pub fn line(row: &audit::Model) -> Value {
    let parsed = |text: &Option<String>| match text {
        // What was changed in the database need not be JSON any more.
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        None => Value::Null,
    };
    json!({
        "id": row.id,
        "at": row.at.to_rfc3339(),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "outcome": row.outcome,
        "detail": row.detail,
        "request_id": row.request_id,
        "count": row.count.unwrap_or(1),
        "before": parsed(&row.before_value),
        "after": parsed(&row.after_value),
        "chain": row.chain,
        "seq": row.seq,
        "mac": row.mac.as_deref().map(hex),
    })
}

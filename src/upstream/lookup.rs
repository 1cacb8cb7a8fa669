//! What stands at a path of an answer.

use serde_json::Value;

use super::absence::step_into;
use super::parsed::is_harmed;

/// A literal key wins over the dotted path; numbers step into lists.
pub(super) fn look_up<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(literal) = body.get(path) {
        return Some(literal).filter(|value| !value.is_null());
    }
    path.split('.')
        .try_fold(body, |value, step| step_into(value, step))
        .filter(|value| !value.is_null())
}

/// A text that is not empty; some providers write it as a number.
pub(super) fn credential(value: &Value) -> Option<String> {
    match value {
        // What has lost a character can never be sent.
        Value::String(text) if !text.is_empty() && !is_harmed(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text; none where something else stands there.
pub(super) fn text_at(body: &Value, path: &str) -> Option<String> {
    look_up(body, path)?.as_str().map(str::to_owned)
}

/// A WeChat-style error code other than zero.
pub(super) fn errcode(body: &Value) -> Option<String> {
    let code = match body.get("errcode")? {
        Value::Number(code) => code.to_string(),
        Value::String(code) => code.clone(),
        _ => return None,
    };
    (code != "0").then_some(code)
}

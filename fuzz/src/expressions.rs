//! Templates and conditions of any source, over a fixed scope. The first byte says which.

use std::sync::LazyLock;

use minijinja::Value;
use serde_json::json;
use token_server::foundation::randomness::Randomness;
use token_server::realm::expression::{AttemptValues, Piece, without_nulls};

use super::{EXPRESSIONS, NOW, held};

static SCOPE: LazyLock<Value> = LazyLock::new(|| {
    let plain = json!({
        "a": "text", "b": 7, "c": -1.5, "d": true, "e": "",
        "long": "0123456789abcdef".repeat(64),
        "list": [3, 1, 2], "nested": [[1, [2]], {"x": [{"y": "z"}]}],
        "body": {"access_token": "t", "expires_in": 7200, "data": {"list": [{"id": 1}, {"id": 2}]}},
        "headers": {"content-type": "application/json"}, "cookies": {"session": "s"},
        "status": 200, "text": "{\"a\":[1,2]}",
    });
    let plain = plain.as_object().into_iter().flatten();
    let plain = plain.map(|(name, value)| (name.clone(), without_nulls(value)));
    let moment = AttemptValues::draw(NOW, &Randomness::seeded(1)).scope();
    let moment = moment.map(|(name, value)| (name.to_owned(), value));
    Value::from_pairs(plain.chain(moment))
});

/// Compiles and evaluates an input.
pub fn fuzz(input: &[u8]) {
    let [kind, source @ ..] = input else {
        return;
    };
    let Ok(source) = std::str::from_utf8(source) else {
        return;
    };
    if kind % 2 == 0 {
        if let Ok(condition) = EXPRESSIONS.condition(source)
            && let Ok(value) = EXPRESSIONS.evaluate(&condition, &SCOPE)
        {
            held::value(&value);
        }
        return;
    }
    if let Ok(template) = EXPRESSIONS.template(source)
        && let Ok(value) = EXPRESSIONS.render(&template, &SCOPE)
    {
        held::value(&value);
    }
    for piece in EXPRESSIONS.pieces(source).unwrap_or_default() {
        if let Piece::Expression(template) = piece
            && let Ok(value) = EXPRESSIONS.render(&template, &SCOPE)
        {
            held::value(&value);
        }
    }
}

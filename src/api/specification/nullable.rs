//! What may be null, from the keyword of OpenAPI 3.0, which the framework writes, to the types of
//! 3.1: `nullable` says nothing beside a reference, and generators do not agree on it.

use serde_json::{Value, json};

pub fn modernise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                if name != "example" {
                    modernise(value);
                }
            }
            if map.shift_remove("nullable") != Some(json!(true)) {
                return;
            }
            let null = json!({"type": "null"});
            if let Some(of_type) = map.get_mut("type") {
                *of_type = json!([of_type.take(), "null"]);
            } else if let Some(choices) = map.get_mut("anyOf").and_then(Value::as_array_mut) {
                choices.push(null);
            } else if let Some(Value::Array(mut choices)) = map.remove("allOf") {
                choices.push(null);
                map.insert("anyOf".to_owned(), Value::Array(choices));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(modernise),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_becomes_one_of_the_types() {
        let reference = json!({"$ref": "#/components/schemas/Params"});
        for (old, new) in [
            (json!({"type": "string"}), json!({"type": "string"})),
            (
                json!({"type": "string", "nullable": true, "format": "date-time"}),
                json!({"type": ["string", "null"], "format": "date-time"}),
            ),
            (
                json!({"nullable": true, "allOf": [reference]}),
                json!({"anyOf": [reference, {"type": "null"}]}),
            ),
            (
                json!({"anyOf": [{"type": "integer"}], "nullable": true}),
                json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
            ),
            (
                json!({"items": [{"description": "any", "nullable": true}]}),
                json!({"items": [{"description": "any"}]}),
            ),
        ] {
            let mut value = old.clone();
            modernise(&mut value);
            assert_eq!(value, new, "{old}");
        }
    }
}

//! A realm as the file that `realm apply` takes.

use serde_json::{Map, Value, json};

use crate::realm::store::RealmContent;

/// A file that `realm apply` takes.
pub(super) fn file_of(id: &str, content: &RealmContent, config: Option<Value>) -> Value {
    let mut file = Map::new();
    file.insert("id".to_owned(), json!(id));
    if let Some(comment) = &content.comment {
        file.insert("comment".to_owned(), json!(comment));
    }
    if let Some(config) = config {
        file.insert("config".to_owned(), config);
    }
    if let Some(logic_code) = &content.logic_code {
        file.insert("logic_code".to_owned(), json!(logic_code));
    }
    Value::Object(file)
}

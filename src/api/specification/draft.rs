//! The specification while it is completed, and what was named that is not there.

use serde_json::{Map, Value};

pub struct Draft {
    pub document: Value,
    /// What the tables name and the document lacks, or the other way round.
    pub missing: Vec<String>,
}

impl Draft {
    pub fn new(generated: &str) -> Self {
        Self {
            document: serde_json::from_str(generated).unwrap_or_default(),
            missing: Vec::new(),
        }
    }

    pub fn note(&mut self, is_missing: bool, what: impl FnOnce() -> String) {
        if is_missing {
            self.missing.push(what());
        }
    }

    /// An object of the document by its path, made where it is not there.
    pub fn object(&mut self, path: &[&str]) -> &mut Map<String, Value> {
        let mut place = &mut self.document;
        for name in path {
            place = &mut place[*name];
        }
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place.as_object_mut().expect("it was made an object")
    }

    pub fn models(&mut self) -> &mut Map<String, Value> {
        self.object(&["components", "schemas"])
    }

    pub fn field(&mut self, model: &str, field: &str) -> Option<&mut Value> {
        let model = self.models().get_mut(model)?;
        model.get_mut("properties")?.get_mut(field)
    }

    /// The models that requests have as their bodies.
    pub fn models_of_bodies(&mut self) -> Vec<String> {
        let paths = self.object(&["paths"]).values();
        let operations = paths.filter_map(Value::as_object).flat_map(Map::values);
        let contents =
            operations.filter_map(|operation| operation.get("requestBody")?.get("content"));
        let contents = contents.filter_map(Value::as_object).flat_map(Map::values);
        let models = contents.filter_map(|content| content.get("schema")?.get("$ref")?.as_str());
        let names = models.filter_map(|model| model.rsplit('/').next());
        names.map(str::to_owned).collect()
    }

    /// Path, method and id of each operation.
    pub fn operations(&mut self) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for (path, methods) in self.object(&["paths"]) {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                let id = operation["operationId"].as_str().unwrap_or_default();
                all.push((path.clone(), method.clone(), id.to_owned()));
            }
        }
        all
    }
}

/// The model that a field is one of.
pub fn reference(field: &Value) -> Option<String> {
    let reference = field
        .get("$ref")
        .or_else(|| field.pointer("/allOf/0/$ref"))?;
    let (_, name) = reference.as_str()?.rsplit_once('/')?;
    Some(name.to_owned())
}

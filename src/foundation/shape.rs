//! The shape of a document, noted while its reading is run with nothing there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Map, Value, json};

/// One object of a document.
#[derive(Default)]
pub struct Shape {
    fields: RefCell<Vec<(&'static str, Kind)>>,
    required: RefCell<Vec<&'static str>>,
    closed: Cell<bool>,
}

enum Kind {
    Plain(Value),
    Object(Rc<Shape>),
    ListOf(Rc<Shape>, usize),
    MapOf(Rc<Shape>),
}

impl Shape {
    /// A field; the first description of it counts.
    pub fn note(&self, field: &'static str, schema: Value) {
        self.add(field, Kind::Plain(schema));
    }

    pub fn require(&self, field: &'static str) {
        self.required.borrow_mut().push(field);
    }

    pub fn object(&self, field: &'static str) -> Rc<Shape> {
        let below = Rc::<Shape>::default();
        self.add(field, Kind::Object(below.clone()));
        below
    }

    pub fn list_of(&self, field: &'static str, max: usize) -> Rc<Shape> {
        let below = Rc::<Shape>::default();
        self.add(field, Kind::ListOf(below.clone(), max));
        below
    }

    pub fn map_of(&self, field: &'static str) -> Rc<Shape> {
        let below = Rc::<Shape>::default();
        self.add(field, Kind::MapOf(below.clone()));
        below
    }

    /// No other fields are known.
    pub fn close(&self) {
        self.closed.set(true);
    }

    fn add(&self, field: &'static str, kind: Kind) {
        let mut fields = self.fields.borrow_mut();
        if !fields.iter().any(|(name, _)| *name == field) {
            fields.push((field, kind));
        }
    }

    pub fn schema(&self) -> Value {
        let fields = self.fields.borrow();
        let properties: Map<String, Value> = fields
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), kind.schema()))
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        let required = self.required.borrow();
        if !required.is_empty() {
            schema["required"] = json!(*required);
        }
        if self.closed.get() {
            schema["additionalProperties"] = json!(false);
        }
        schema
    }
}

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Self::Plain(schema) => schema.clone(),
            Self::Object(shape) => shape.schema(),
            Self::ListOf(shape, max) => {
                json!({"type": "array", "maxItems": max, "items": shape.schema()})
            }
            Self::MapOf(shape) => {
                json!({"type": "object", "additionalProperties": shape.schema()})
            }
        }
    }
}

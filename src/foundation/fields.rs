//! Reads a JSON document field by field and collects every fault with its pointer,
//! so that an admin sees all of them at once, and every warning: what is allowed, and most
//! likely not meant. Neither ever repeats a value.
//!
//! The same reading describes itself: read with nothing there, it notes which fields it
//! asks for and of which kind, and that is the document's JSON Schema ([`describe`]).

mod faults;

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::alike::nearest;
use super::shape::Shape;
pub use faults::{Fault, Faults, Warning};

/// What a field may be that is a number, or says how to come by one.
#[derive(Clone, Copy, Debug)]
pub enum NumberOrText<'a> {
    Number(i64),
    Text(&'a str),
}

/// The JSON Schema of what `read` reads.
pub fn describe(read: impl FnOnce(Fields<'_>)) -> Value {
    let (nothing, faults) = (Map::new(), Faults::default());
    let shape = Rc::new(Shape::default());
    read(Fields {
        pointer: String::new(),
        map: &nothing,
        asked: RefCell::default(),
        faults: &faults,
        shape: Some(shape.clone()),
    });
    shape.schema()
}

/// An object being read. Fields nobody asked for are faults.
pub struct Fields<'a> {
    pointer: String,
    map: &'a Map<String, Value>,
    asked: RefCell<Vec<&'static str>>,
    faults: &'a Faults,
    /// Where the reading describes itself.
    shape: Option<Rc<Shape>>,
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value, pointer: &str, faults: &'a Faults) -> Option<Self> {
        let Some(map) = value.as_object() else {
            faults.add(pointer, format!("must be an object, not {}", kind(value)));
            return None;
        };
        Some(Self {
            pointer: pointer.to_owned(),
            map,
            asked: RefCell::default(),
            faults,
            shape: None,
        })
    }

    pub fn pointer(&self, field: &str) -> String {
        format!("{}/{}", self.pointer, escape(field))
    }

    /// The pointer to this object.
    pub fn pointer_here(&self) -> &str {
        &self.pointer
    }

    /// Where what is wrong is noted.
    pub fn faults(&self) -> &'a Faults {
        self.faults
    }

    pub fn fault(&self, field: &str, detail: impl Into<String>) {
        self.faults.add(self.pointer(field), detail);
    }

    /// A fault at a path below this object; its parts are already separated by `/`.
    pub fn fault_at(&self, path: &str, detail: impl Into<String>) {
        self.faults.add(format!("{}/{path}", self.pointer), detail);
    }

    /// A warning at a path below this object; its parts are already separated by `/`.
    pub fn warn_at(&self, path: &str, detail: impl Into<String>) {
        self.faults.warn(format!("{}/{path}", self.pointer), detail);
    }

    /// Whether a field is there, without asking for it.
    pub fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// A field's value of any kind; null counts as absent.
    pub fn get(&self, field: &'static str) -> Option<&'a Value> {
        self.take(field, || json!({}))
    }

    /// Asks for a field, and describes it where that is what the reading is for.
    fn take(&self, field: &'static str, schema: impl FnOnce() -> Value) -> Option<&'a Value> {
        self.ask(field);
        if let Some(shape) = &self.shape {
            shape.note(field, schema());
        }
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Describes a field more closely than the function that reads it can. Call it first.
    pub fn describe(&self, field: &'static str, schema: impl FnOnce() -> Value) {
        if let Some(shape) = &self.shape {
            shape.note(field, schema());
        }
    }

    fn ask(&self, field: &'static str) {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&field) {
            asked.push(field);
        }
    }

    /// What a merge does to a field: none where it is absent, some none where it is null.
    pub fn change<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.shape.is_none() && !self.map.contains_key(field) {
            self.ask(field);
            return None;
        }
        Some(read(self, field))
    }

    pub fn required<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if let Some(shape) = &self.shape {
            shape.require(field);
        } else if !self.has(field) {
            self.ask(field);
            self.fault(field, "is required");
            return None;
        }
        read(self, field)
    }

    pub fn text(&self, field: &'static str) -> Option<&'a str> {
        let value = self.take(field, || json!({"type": "string"}))?;
        self.text_of(field, value)
    }

    fn text_of(&self, field: &'static str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.fault(field, format!("must be a string, not {}", kind(value)));
        }
        text
    }

    pub fn flag(&self, field: &'static str) -> Option<bool> {
        let value = self.take(field, || json!({"type": "boolean"}))?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.fault(field, format!("must be true or false, not {}", kind(value)));
        }
        flag
    }

    /// A whole number within the limits, or a text.
    pub fn number_or_text(
        &self,
        field: &'static str,
        low: i64,
        high: i64,
    ) -> Option<NumberOrText<'a>> {
        let number = json!({"type": "integer", "minimum": low, "maximum": high});
        let value = self.take(field, || json!({"anyOf": [number, {"type": "string"}]}))?;
        match value.as_str() {
            Some(text) => Some(NumberOrText::Text(text)),
            None => self
                .number_of(field, value, low, high)
                .map(NumberOrText::Number),
        }
    }

    /// A whole number within the limits, both included.
    pub fn number(&self, field: &'static str, low: i64, high: i64) -> Option<i64> {
        let value = self.take(
            field,
            || json!({"type": "integer", "minimum": low, "maximum": high}),
        )?;
        self.number_of(field, value, low, high)
    }

    fn number_of(&self, field: &'static str, value: &Value, low: i64, high: i64) -> Option<i64> {
        let number = value.as_i64().filter(|n| (low..=high).contains(n));
        if number.is_none() {
            self.fault(
                field,
                format!("must be a whole number from {low} to {high}"),
            );
        }
        number
    }

    pub fn one_of<T: Copy>(&self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let value = self.take(field, || json!({"enum": names()}))?;
        let text = self.text_of(field, value)?;
        let chosen = choices.iter().find(|(name, _)| *name == text);
        if chosen.is_none() {
            self.fault(field, format!("must be one of {}", names().join(", ")));
        }
        chosen.map(|(_, choice)| *choice)
    }

    pub fn list(&self, field: &'static str) -> Option<&'a [Value]> {
        let value = self.take(field, || json!({"type": "array"}))?;
        let list = value.as_array();
        if list.is_none() {
            self.fault(field, format!("must be a list, not {}", kind(value)));
        }
        list.map(Vec::as_slice)
    }

    /// A list of objects, at most `max`, each read by `read`.
    pub fn each<T>(
        &self,
        field: &'static str,
        max: usize,
        mut read: impl FnMut(Fields<'a>) -> Option<T>,
    ) -> Vec<T> {
        if let Some(shape) = &self.shape {
            read(self.described(field, shape.list_of(field, max)));
        }
        let list = self.list_quietly(field);
        if list.len() > max {
            self.fault(field, format!("must not hold more than {max}"));
        }
        let below = |index: usize| format!("{}/{index}", self.pointer(field));
        let items = list.iter().enumerate();
        items
            .filter_map(|(index, value)| Fields::of(value, &below(index), self.faults))
            .filter_map(read)
            .collect()
    }

    fn list_quietly(&self, field: &'static str) -> &'a [Value] {
        self.ask(field);
        if !self.has(field) {
            return &[];
        }
        self.list(field).unwrap_or_default()
    }

    pub fn object(&self, field: &'static str) -> Option<Fields<'a>> {
        if let Some(shape) = &self.shape {
            self.ask(field);
            return Some(self.described(field, shape.object(field)));
        }
        let value = self.get(field)?;
        Fields::of(value, &self.pointer(field), self.faults)
    }

    /// An object whose keys are names of the author's choosing, each with an object.
    /// None where the field is absent.
    pub fn named<T>(
        &self,
        field: &'static str,
        mut read: impl FnMut(&'a str, Fields<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if let Some(shape) = &self.shape {
            self.ask(field);
            read("", self.described(field, shape.map_of(field)));
            return None;
        }
        let entries = self.entries(field)?;
        let read_all = entries.iter().filter_map(|(name, value)| {
            let pointer = format!("{}/{}", self.pointer(field), escape(name));
            read(name, Fields::of(value, &pointer, self.faults)?)
        });
        Some(read_all.collect())
    }

    fn described(&self, field: &str, shape: Rc<Shape>) -> Fields<'a> {
        Fields {
            pointer: self.pointer(field),
            map: self.map,
            asked: RefCell::default(),
            faults: self.faults,
            shape: Some(shape),
        }
    }

    /// An object whose keys are names of the author's choosing, with values of any kind.
    pub fn entries(&self, field: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.take(field, || json!({"type": "object"}))?;
        let map = value.as_object();
        if map.is_none() {
            self.fault(field, format!("must be an object, not {}", kind(value)));
        }
        map
    }

    /// Says which fields nobody knows. Call it last.
    pub fn finish(self) {
        if let Some(shape) = &self.shape {
            shape.close();
            return;
        }
        let asked = self.asked.borrow();
        for field in self.map.keys() {
            if !asked.contains(&field.as_str()) {
                self.fault(
                    field,
                    format!("is not a field here; known are {}", asked.join(", ")),
                );
            }
        }
    }

    /// Says which fields are most likely others, misspelled, that are absent; passes over all else
    /// that nobody knows. Call it last.
    pub fn finish_leniently(self) {
        let asked = self.asked.borrow();
        let unknown = self
            .map
            .keys()
            .filter(|field| !asked.contains(&field.as_str()));
        for field in unknown {
            // One of another number is no misspelling.
            let stem = |name: &str| {
                name.trim_end_matches(|c: char| c.is_ascii_digit())
                    .to_owned()
            };
            let numbered = |known: &str| stem(known) != known && stem(known) == stem(field);
            let absent = asked.iter().filter(|known| !self.map.contains_key(**known));
            let absent = absent.copied().filter(|known| !numbered(known));
            if let Some(meant) = nearest(&field.to_lowercase(), absent) {
                self.fault(field, format!("is not a field here; did you mean {meant}?"));
            }
        }
    }
}

/// Escapes a reference token of a JSON pointer (RFC 6901, section 3).
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

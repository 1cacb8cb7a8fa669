//! The events of the log, from the source: it is the one place where they are.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown::{code, codes, table};
use crate::kit::source::{read, root, sources};

const LEVELS: [&str; 3] = ["error", "warn", "info"];

struct Event {
    level: usize,
    name: String,
    message: String,
    fields: Vec<String>,
    target: String,
}

pub fn table_of_events() -> String {
    let mut events = all();
    events.sort_by(|one, other| (one.level, &one.name).cmp(&(other.level, &other.name)));
    let mut seen = BTreeSet::new();
    events.retain(|event| seen.insert((event.level, event.name.clone(), event.target.clone())));
    let rows = events.into_iter().map(|event| {
        let level = LEVELS[event.level].to_uppercase();
        [
            code(event.name),
            level,
            event.message,
            codes(event.fields),
            code(event.target),
        ]
    });
    table(["event", "level", "message", "fields", "target"], rows)
}

/// Every event of the source at these levels.
fn all() -> Vec<Event> {
    let mut events = Vec::new();
    let source = root().join("src");
    for file in sources(&source) {
        let text = read(&file);
        let path = file.strip_prefix(&source).expect("a file of src");
        let path = path.with_extension("").to_string_lossy().replace('/', "::");
        let target = format!("token_server::{}", path.trim_end_matches("::mod"));
        for (level, name) in LEVELS.iter().enumerate() {
            for call in text.split(&format!("tracing::{name}!(")).skip(1) {
                let arguments = arguments(call);
                let message = arguments
                    .iter()
                    .find_map(|argument| argument.strip_prefix('"'));
                let message = message.and_then(|text| text.strip_suffix('"'));
                let message = message.unwrap_or_else(|| panic!("{target}: no message: {call:.80}"));
                let name = arguments
                    .iter()
                    .find_map(|argument| argument.strip_prefix("name: \"")?.strip_suffix('"'));
                let name = name.unwrap_or_else(|| panic!("{target}: no name: {message:?}"));
                let fields = arguments
                    .iter()
                    .filter(|argument| !argument.starts_with('"'))
                    .filter(|argument| !argument.starts_with("name: "));
                events.push(Event {
                    level,
                    name: name.to_owned(),
                    message: message.to_owned(),
                    fields: fields.map(|argument| field(argument)).collect(),
                    target: target.clone(),
                });
            }
        }
    }
    assert!(events.len() > 50, "the events are found: {}", events.len());
    events
}

#[test]
fn each_event_has_a_name_of_its_own_that_tells_its_area() {
    let mut messages: BTreeMap<String, String> = BTreeMap::new();
    for Event { name, message, .. } in all() {
        let (area, rest) = name.split_once('.').unwrap_or_default();
        let is_word = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        assert!(is_word(area) && is_word(rest), "{name}");
        if let Some(other) = messages.insert(name.clone(), message.clone()) {
            assert_eq!(other, message, "{name} means two things");
        }
    }
}

/// The arguments of a call whose opening parenthesis comes before this text.
fn arguments(call: &str) -> Vec<String> {
    let (mut depth, mut in_string, mut is_escaped) = (0, false, false);
    let mut arguments = vec![String::new()];
    for c in call.chars() {
        if in_string {
            in_string = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        } else {
            match c {
                '"' => in_string = true,
                '(' | '[' | '{' => depth += 1,
                ')' if depth == 0 => break,
                ')' | ']' | '}' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        if let Some(last) = arguments.last_mut() {
            last.push(c);
        }
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

/// `name = value`, or a variable that gives both.
fn field(argument: &str) -> String {
    let name = argument
        .split_once(" = ")
        .map_or(argument, |(name, _)| name);
    name.trim_start_matches(['%', '?']).to_owned()
}

#[test]
fn an_event_is_read_with_its_fields() {
    let call = "%error, path = %path(a, b), \"it failed, \\\"again\\\" (see x)\");\n other(\"y\")";
    let arguments = arguments(call);
    assert_eq!(
        arguments,
        [
            "%error",
            "path = %path(a, b)",
            "\"it failed, \\\"again\\\" (see x)\""
        ]
    );
    assert_eq!(
        arguments[..2]
            .iter()
            .map(|it| field(it))
            .collect::<Vec<_>>(),
        ["error", "path"]
    );
}

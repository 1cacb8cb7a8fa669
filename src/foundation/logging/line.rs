//! A log event as one line: JSON for programs, or text for people. No key stands in a line
//! twice, and whatever a value holds, it ends no line and moves no cursor.

use std::fmt::{Debug, Write as _};
use std::io::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Longer values are cut: a line is to be read.
const VALUE_MAX_CHARS: usize = 4000;
const MESSAGE: &str = "message";
/// What begins so is for traces.
const OF_TRACES: &str = "otel.";
/// Keys of every line of JSON, before the fields.
const RESERVED: [&str; 5] = ["timestamp", "level", EVENT, MESSAGE, "target"];
/// The name of an event, which stays when its message is worded anew.
const EVENT: &str = "event";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineStyle {
    Json,
    Plain,
    Coloured,
}

/// The fields of an event or a span, each name once.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) {
        if name.starts_with(OF_TRACES) {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// What is nearer to the event is already there, and counts.
    fn add_absent(&mut self, farther: &Self) {
        for (name, value) in &farther.0 {
            if !self.0.iter().any(|(known, _)| known == name) {
                self.0.push((name, value.clone()));
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }
}

fn cut(text: &str) -> Value {
    match text.char_indices().nth(VALUE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), cut(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), cut(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), cut(&value.to_string()));
    }
}

/// Writes each event to standard error, with the fields of the spans it happened in.
pub struct Lines(pub LineStyle);

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // From the innermost span outwards.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add_absent(of_span);
            }
        }
        let mut timestamp = String::new();
        // The machine's own time, whatever the server believes: that is what a log is read by.
        if SystemTime
            .format_time(&mut Writer::new(&mut timestamp))
            .is_err()
        {
            timestamp.clear();
        }
        let mut line = line(self.0, &timestamp, event.metadata(), fields);
        line.push('\n');
        // In one piece, so that lines of several threads do not mix. There is nobody to tell
        // where it fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn line(look: LineStyle, timestamp: &str, metadata: &Metadata<'_>, mut fields: Fields) -> String {
    let message = fields.take(MESSAGE);
    let (level, target) = (metadata.level(), metadata.target());
    if look == LineStyle::Json {
        let mut map = Map::new();
        map.insert("timestamp".to_owned(), timestamp.into());
        map.insert("level".to_owned(), level.as_str().into());
        if let Some(name) = event_name(metadata) {
            map.insert(EVENT.to_owned(), name.into());
        }
        if let Some(message) = message {
            map.insert(MESSAGE.to_owned(), message);
        }
        map.insert("target".to_owned(), target.into());
        for (name, value) in fields.0 {
            let name = match RESERVED.contains(&name) {
                true => format!("{name}_"),
                false => name.to_owned(),
            };
            map.insert(name, value);
        }
        return escaped_in_json(&Value::Object(map).to_string());
    }
    let (dim, colour, end) = match look {
        LineStyle::Coloured => ("\u{1b}[2m", colour_of(*level), "\u{1b}[0m"),
        LineStyle::Json | LineStyle::Plain => ("", "", ""),
    };
    let mut line = format!("{dim}{timestamp}{end} {colour}{level:>5}{end} {dim}{target}:{end}");
    if let Some(message) = message {
        line.push(' ');
        push_text(&mut line, &message, |c| matches!(c, '=' | '"' | '\\'));
    }
    for (name, value) in fields.0 {
        line.push_str(&format!(" {dim}{name}={end}"));
        push_text(&mut line, &value, |c| {
            c.is_whitespace() || matches!(c, '=' | '"' | '\\')
        });
    }
    line
}

/// None where an event was given no name: it has that of its place in the source.
fn event_name(metadata: &Metadata<'_>) -> Option<&'static str> {
    let name = metadata.name();
    (!name.contains(' ')).then_some(name)
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// Appends a value, in quotes where it would not be told from what follows.
fn push_text(line: &mut String, value: &Value, is_special: impl Fn(char) -> bool) {
    let Value::String(text) = value else {
        line.push_str(&value.to_string());
        return;
    };
    if !text.is_empty() && !text.contains(|c: char| is_special(c) || is_unprintable(c)) {
        line.push_str(text);
        return;
    }
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_unprintable(c) => push_escaped(line, c),
            c => line.push(c),
        }
    }
    line.push('"');
}

/// What could end a line, move a cursor, or change the order in which the rest is read.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push_escaped(line: &mut String, c: char) {
    // Each of them is below U+10000, and so one escape of JSON, too.
    let _ = write!(line, "\\u{:04x}", u32::from(c));
}

/// JSON lets some of them stand within a text as they are; a terminal obeys them.
fn escaped_in_json(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match is_unprintable(c) {
            true => push_escaped(&mut line, c),
            false => line.push(c),
        }
    }
    line
}

/// A text from elsewhere, for a terminal: one line, that moves no cursor.
pub fn on_one_line(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: &str) -> String {
        let mut line = String::new();
        push_text(&mut line, &value.into(), |c| {
            c.is_whitespace() || matches!(c, '=' | '"' | '\\')
        });
        line
    }

    #[test]
    fn a_value_is_in_quotes_where_it_would_not_be_told_from_what_follows() {
        for (value, expected) in [
            ("plain-1.2:3/4", "plain-1.2:3/4"),
            ("企业", "企业"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            (r#"say "no" \ yes"#, r#""say \"no\" \\ yes""#),
            ("one\ntwo\r\n\t", r#""one\ntwo\r\n\t""#),
            ("\u{1b}[2Jgone", r#""\u001b[2Jgone""#),
            ("\u{9b}2J\u{85}\u{2028}", r#""\u009b2J\u0085\u2028""#),
            ("\u{202e}txt", r#""\u202etxt""#),
        ] {
            assert_eq!(shown(value), expected, "{value:?}");
        }
    }

    #[test]
    fn json_holds_no_control_character_and_reads_as_it_was() {
        let value = json!({"a": "\u{1b}[2J\u{9b}2J\u{7f}\u{2028}\u{202e}\n企"});
        let line = escaped_in_json(&value.to_string());
        assert!(!line.contains(is_unprintable), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn what_is_nearer_to_an_event_counts_and_no_name_comes_twice() {
        let mut fields = Fields(vec![("realm", "inner".into())]);
        fields.add_absent(&Fields(vec![
            ("realm", "outer".into()),
            ("key", "k".into()),
        ]));
        fields.put("key", "again".into());
        let expected = [("realm", json!("inner")), ("key", json!("again"))];
        assert_eq!(fields.0, expected);
    }

    #[test]
    fn a_long_value_is_cut() {
        let Value::String(text) = cut(&"é".repeat(VALUE_MAX_CHARS + 1)) else {
            panic!("a text");
        };
        assert_eq!(text.chars().count(), VALUE_MAX_CHARS + 1);
        assert!(text.ends_with('…'));
    }
}

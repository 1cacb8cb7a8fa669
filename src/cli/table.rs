//! Lists as people and programs read them.

use clap::ValueEnum;
use serde_json::Value;

use crate::foundation::logging::on_one_line;

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Columns, for people
    Table,
    /// An array, for programs
    Json,
}

/// Columns as wide as what is in them, two spaces apart.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Objects of an answer as a table: a header, and the fields of each that belong to it.
pub(super) fn of_objects<const COLUMNS: usize>(
    columns: [(&str, &str); COLUMNS],
    objects: &[Value],
) -> String {
    let mut rows = vec![columns.map(|(header, _)| header.to_owned())];
    let cell = |object: &Value, pointer: &str| match object.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => on_one_line(text),
        Some(other) => other.to_string(),
    };
    rows.extend(
        objects
            .iter()
            .map(|object| columns.map(|(_, pointer)| cell(object, pointer))),
    );
    aligned(&rows)
}

/// An array of JSON, an element a line.
pub(super) fn json_array(elements: &[Value]) -> String {
    let lines: Vec<_> = elements.iter().map(|one| format!("  {one}")).collect();
    match lines.is_empty() {
        true => "[]\n".to_owned(),
        false => format!("[\n{}\n]\n", lines.join(",\n")),
    }
}

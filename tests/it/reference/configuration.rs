//! The keys of the configuration, from the defaults: a comment is about the key below it, and
//! about those that follow without one of their own. A key that is commented out has no default.

use super::markdown::{code, table};
use super::read;

pub fn keys() -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    let (mut section, mut comment) = (String::new(), String::new());
    // The first paragraph is about the file.
    let text = read("config/default.toml");
    let (_, text) = text.split_once("\n\n").expect("a paragraph and keys");
    let mut is_begun = true;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            comment.clear();
        } else if let Some((key, default)) = key(line) {
            assert!(!comment.is_empty(), "{section}{key} has no comment");
            let key = format!("{section}{key}");
            let variable = format!("TOKEN_SERVER__{}", key.replace('.', "__").to_uppercase());
            let default = default.map_or("none".to_owned(), code);
            let meaning = match key.strip_suffix("_file").map(code) {
                Some(value) if rows.last().is_some_and(|last| last[0] == value) => {
                    format!("A file that holds {value}.")
                }
                _ => comment.clone(),
            };
            rows.push([code(key), code(variable), default, meaning]);
            is_begun = true;
        } else if let Some(more) = line.strip_prefix("# ") {
            if is_begun {
                comment.clear();
                is_begun = false;
            }
            comment.push_str(more);
            comment.push(' ');
        }
    }
    table(["key", "environment", "default", "meaning"], rows)
}

/// A key, and its default where it has one.
fn key(line: &str) -> Option<(&str, Option<&str>)> {
    let is_active = !line.starts_with('#');
    let (key, value) = line.trim_start_matches("# ").split_once(" = ")?;
    let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_key.then_some((key, is_active.then_some(value)))
}

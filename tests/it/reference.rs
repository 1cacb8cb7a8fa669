//! The reference of the book says what the code says: parts of its pages are made from the
//! sources of truth. `make docs-reference` writes them; the rest of a page is written by hand.

mod command_line;
mod configuration;
mod http_api;
mod log_events;
mod markdown;
mod metrics;
mod presets;
mod problems;
mod realm_document;
mod schema;

use std::fs;

use crate::kit::source::{self, root};

/// Set by `make docs-reference`: pages are written, not compared.
const WRITE: &str = "WRITE_REFERENCE";
const END: &str = "<!-- end -->\n";

fn read(path: &str) -> String {
    source::read(&root().join(path))
}

/// Where a part of a page begins and ends.
fn bounds(page: &str, part: &str) -> Option<(usize, usize)> {
    let begin = format!("<!-- generated: {part} -->\n");
    let start = page.find(&begin)? + begin.len();
    Some((start, start + page[start..].find(END)?))
}

/// A page with its generated parts as they must be.
fn renewed(page: &str, parts: &[(&str, String)]) -> String {
    let mut text = page.to_owned();
    for (part, made) in parts {
        let bounds = bounds(&text, part);
        let (start, end) = bounds.unwrap_or_else(|| panic!("the page has no part {part:?}"));
        text.replace_range(start..end, &format!("\n{}\n\n", made.trim()));
    }
    let marked = text.matches("<!-- generated: ").count();
    assert_eq!(marked, parts.len(), "each marked part of a page is made");
    text
}

#[track_caller]
fn check(page: &str, parts: &[(&str, String)]) {
    let path = format!("docs/src/reference/{page}");
    let committed = read(&path);
    let made = renewed(&committed, parts);
    if std::env::var_os(WRITE).is_some() {
        fs::write(root().join(&path), made).expect("the page can be written");
        return;
    }
    let mut lines = committed.lines().zip(made.lines());
    let unlike = lines.find(|(committed, made)| committed != made);
    assert!(
        committed == made,
        "{path} is out of date: run `make docs-reference`. The first difference: {unlike:#?}"
    );
}

#[test]
fn the_page_of_the_realm_document_has_the_fields_of_the_schema() {
    check("realm-document.md", &[("fields", realm_document::fields())]);
}

#[test]
fn the_page_of_the_configuration_has_the_keys_of_the_defaults() {
    check("configuration.md", &[("keys", configuration::keys())]);
}

#[test]
fn the_page_of_the_http_api_has_the_operations_of_the_specification() {
    let parts = [
        ("operations", http_api::operations()),
        ("models", http_api::models()),
    ];
    check("http-api.md", &parts);
}

#[test]
fn the_page_of_the_command_line_has_the_commands_and_the_exit_codes() {
    let parts = [
        ("commands", command_line::commands()),
        ("exit codes", command_line::exit_codes()),
    ];
    check("command-line.md", &parts);
}

#[test]
fn the_page_of_metrics_has_the_metrics_of_the_registry() {
    check("metrics.md", &[("metrics", metrics::table())]);
}

#[test]
fn the_page_of_presets_has_all_that_ship() {
    check("presets.md", &[("presets", presets::catalogue())]);
}

#[test]
fn the_page_of_the_log_has_the_events_of_the_source() {
    check("logs.md", &[("events", log_events::table_of_events())]);
}

#[test]
fn the_page_of_errors_has_the_codes_of_the_specification() {
    let committed = read("docs/src/reference/errors.md");
    check("errors.md", &[("codes", problems::table_of(&committed))]);
}

#[test]
fn a_generated_part_is_replaced_and_what_is_written_by_hand_stays() {
    let page = "By hand.\n<!-- generated: a -->\n\nold\n\n<!-- end -->\nBy hand, too.\n";
    let new = renewed(page, &[("a", "new".to_owned())]);
    assert_eq!(new, page.replace("old", "new"));
}

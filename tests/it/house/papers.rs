//! What the papers promise of the source is true of it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::kit::source::{files_below, in_backticks, prose, read, root, sources};

const SOURCES: [&str; 6] = [
    "src",
    "entity/src",
    "migration/src",
    "tests",
    "benches",
    "fuzz",
];

/// Papers, and what is written in them.
fn papers() -> Vec<(String, String)> {
    let mut paths = files_below(&root().join("docs/src"), &["md"]);
    paths.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    let named = paths
        .iter()
        .map(|path| (path.display().to_string(), read(path)));
    named.collect()
}

#[test]
fn the_files_and_the_long_names_that_papers_name_are_there() {
    let sources = SOURCES.map(|folder| sources(&root().join(folder))).concat();
    let mut text: String = sources.iter().map(|file| read(file)).collect();
    text.push_str(&read(&root().join("config/default.toml")));
    let is_file = |word: &str| word.contains('/') && word.ends_with(".rs");
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut checked = 0;
    let mut missing = Vec::new();
    for (paper, written) in papers() {
        for code in in_backticks(&prose(&written).join("\n")) {
            // Capitals stand for what is chosen: m_YYYYMMDD.rs.
            let is_path = is_file(code) && !code.contains(|c: char| c.is_uppercase() || c == ' ');
            if is_path {
                checked += 1;
                if !sources.iter().any(|file| file.ends_with(code)) {
                    missing.push(format!("{paper}: {code}"));
                }
            }
            // A name of four words or more is one of ours: a test, a function, a key, a column.
            for name in code.split(|c: char| !is_letter(c)) {
                let name = name.trim_matches('_');
                if name.matches('_').count() > 2 {
                    checked += 1;
                    if !text.contains(name) {
                        missing.push(format!("{paper}: {name}"));
                    }
                }
            }
        }
    }
    assert!(checked > 150, "the names are found: {checked}");
    assert!(missing.is_empty(), "not in the source: {missing:#?}");
}

#[test]
fn every_source_file_begins_with_a_sentence() {
    let folders = [
        "src",
        "entity/src",
        "migration/src",
        "tests",
        "benches",
        "fuzz/src",
        "fuzz/fuzz_targets",
    ];
    let files = folders.map(|folder| sources(&root().join(folder))).concat();
    assert!(files.len() > 200, "the files are found: {}", files.len());
    let begins = |file: &Path| read(file).starts_with("//! ");
    let without: Vec<_> = files.iter().filter(|file| !begins(file)).collect();
    assert!(
        without.is_empty(),
        "no sentence says what these are for: {without:#?}"
    );
}

/// What a paper names as a part of a file: `file.rs` (`name`, `name`), or `name` in `file.rs`.
fn named_parts(paper: &str) -> BTreeSet<(String, String)> {
    // Text and code alternate.
    let parts: Vec<_> = paper.split('`').collect();
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    };
    let is_file = |text: &str| text.ends_with(".rs") && text.contains('/');
    let mut found = BTreeSet::new();
    let mut file = None;
    for at in (1..parts.len()).step_by(2) {
        let before = parts[at - 1];
        let after = parts.get(at + 1).copied().unwrap_or_default();
        let continues = matches!(before, " (" | ", ");
        file = file.filter(|_| continues);
        if is_file(parts[at]) {
            file = (after == " (").then_some(parts[at]);
        } else if let Some(file) = file.filter(|_| is_name(parts[at])) {
            found.insert((file.to_owned(), parts[at].to_owned()));
        }
        if let Some(next) = parts.get(at + 2)
            && after == " in "
            && is_file(next)
            && is_name(parts[at])
        {
            found.insert(((*next).to_owned(), parts[at].to_owned()));
        }
    }
    found
}

#[test]
fn what_papers_name_as_a_part_of_a_file_is_in_it() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for paper in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(&root().join(paper));
        for (file, name) in named_parts(&text) {
            checked += 1;
            let paths = [root().join("src").join(&file), root().join(&file)];
            let source = paths
                .iter()
                .find(|path| path.is_file())
                .map(|path| read(path));
            let last = name.rsplit(':').next().unwrap_or_default();
            let mut words = source
                .iter()
                .flat_map(|source| source.split(|c: char| !(c.is_alphanumeric() || c == '_')));
            if !words.any(|word| word == last) {
                missing.push(format!("{paper}: {name} of {file}"));
            }
        }
    }
    assert!(checked > 30, "the names are found: {checked}");
    assert!(missing.is_empty(), "not in their files: {missing:#?}");
}

#[test]
fn a_part_of_a_file_is_found_however_it_is_named() {
    let paper = "the fence (`held` in `a/b.rs`); `c/d.rs` (`one`, `Two`), `three`, `e/f.rs`, `g`";
    let expected = [("a/b.rs", "held"), ("c/d.rs", "Two"), ("c/d.rs", "one")];
    let expected = expected.map(|(file, name)| (file.to_owned(), name.to_owned()));
    assert_eq!(named_parts(paper), BTreeSet::from(expected));
}

/// The behaviours that a file of tests has run on every database.
fn on_every_database(text: &str) -> impl Iterator<Item = &str> {
    let lists = text.split("on_every_database! {").skip(1);
    let names = lists.flat_map(|list| list.split('}').next().unwrap_or_default().split(','));
    names.map(|name| name.trim().trim_start_matches("alone:").trim())
}

#[test]
fn the_threat_model_says_which_of_its_tests_run_on_one_database() {
    let page = read(&root().join("docs/src/explanation/threat-model.md"));
    let (promises, listed) = page
        .split_once("## On one database")
        .expect("the section is there");
    let is_test = |word: &&str| word.matches('_').count() > 3;
    let named: BTreeSet<_> = in_backticks(promises).filter(is_test).collect();
    assert!(named.len() > 100, "the tests are found: {}", named.len());
    let texts = ["tests/it", "tests/faults"].map(|folder| sources(&root().join(folder)));
    let texts: Vec<_> = texts.concat().iter().map(|file| read(file)).collect();
    let on_both: BTreeSet<_> = texts
        .iter()
        .flat_map(|text| on_every_database(text))
        .collect();
    let is_here = |name: &str| {
        let function = format!("fn {name}(");
        texts.iter().any(|text| text.contains(&function))
    };
    let on_one = named
        .into_iter()
        .filter(|name| is_here(name) && !on_both.contains(name));
    let on_one: BTreeSet<_> = on_one.collect();
    assert_eq!(on_one, in_backticks(listed).filter(is_test).collect());
}

#[test]
fn the_files_of_a_room_are_in_it() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let rows = map.lines().filter(|line| line.starts_with("| `src/"));
    // "Inside the large rooms": a room, and below it a list.
    let lists = map
        .split("\n\n")
        .filter(|paragraph| paragraph.starts_with("`src/"));
    let mut checked = 0;
    for described in rows.chain(lists) {
        let mut parts = in_backticks(described);
        let Some(room) = parts.next().and_then(|room| room.strip_suffix('/')) else {
            continue;
        };
        let files = sources(&root().join(room));
        for named in parts.filter(|part| part.ends_with(".rs")) {
            checked += 1;
            let is_there = files.iter().any(|file| file.ends_with(named));
            assert!(is_there, "{room} has no {named}");
        }
    }
    assert!(checked > 60, "the files are found: {checked}");
}

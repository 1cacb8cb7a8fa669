//! The house itself: arrows between rooms, and what is generated.

mod circles;
mod image;
mod papers;
mod pinned;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use circles::{Crate, circles};

use crate::kit::source::{read, root, sources};

/// Rooms from the ground up: a room may use those before it.
const ROOMS: [&str; 24] = [
    "foundation",
    "feed",
    "realm",
    "access",
    "secret",
    "token",
    "memory",
    "console",
    "upstream",
    "issuers",
    "ticket",
    "webhook",
    "renewal",
    "reads",
    "registry",
    "moving",
    "jobs",
    "config",
    "app",
    "api",
    "serve",
    "demo",
    "cli",
    "main",
];

/// The room a source file stands in: the first part of its path below src.
fn room_of(file: &Path) -> String {
    let below = file
        .strip_prefix(root().join("src"))
        .expect("a file of src");
    let first = below
        .iter()
        .next()
        .expect("a path")
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms a text names as `crate::room` or, in main, as `token_server::room`.
fn rooms_used(text: &str) -> Vec<String> {
    let names = |prefix: &str| {
        text.split(prefix)
            .skip(1)
            .flat_map(|rest| match rest.strip_prefix('{') {
                // `use crate::{a, b};` is written one room a line here.
                Some(group) => panic!("a grouped import of rooms hides arrows: {{{group:.40}"),
                None => rest
                    .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .next(),
            })
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    [names("crate::"), names("token_server::")].concat()
}

#[test]
fn no_arrow_between_rooms_points_backwards() {
    let level: BTreeMap<_, _> = ROOMS
        .iter()
        .enumerate()
        .map(|(index, room)| (*room, index))
        .collect();
    let mut arrows = 0;
    for file in sources(&root().join("src")) {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let own = level
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} is not in ROOMS"));
        for used in rooms_used(&read(&file)) {
            let Some(other) = level.get(used.as_str()) else {
                panic!("{} names {used}, which is no room", file.display());
            };
            arrows += 1;
            assert!(
                other <= own,
                "{}: {room} uses {used}, which stands above it",
                file.display()
            );
        }
    }
    assert!(arrows > 100, "the imports are read: {arrows}");
}

#[test]
fn the_map_lists_the_rooms_in_the_order_of_the_arrows() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let (_, arrows) = map.split_once("\n## The arrows\n").expect("the section");
    let (arrows, _) = arrows.split_once("\n## ").expect("another follows");
    let is_number = |number: &str| number.parse::<usize>().is_ok();
    let items = arrows.lines().filter_map(|line| line.split_once(". "));
    let items = items.filter(|(number, _)| is_number(number));
    let rooms: Vec<_> = items.map(|(_, room)| room.trim_matches('`')).collect();
    assert_eq!(rooms, ROOMS);
    let without_row = ROOMS.iter().filter(|room| {
        let names = ["", "/", ".rs"].map(|end| format!("`src/{room}{end}`"));
        let mut rows = map.lines().filter(|line| line.starts_with("| `src/"));
        !rows.any(|row| names.iter().any(|name| row.contains(name)))
    });
    let without_row: Vec<_> = without_row.collect();
    assert!(without_row.is_empty(), "no row of rooms: {without_row:?}");
}

/// The name of a type that other files can use, where a line declares one.
fn shared_type(line: &str) -> Option<&str> {
    let declared = line.strip_prefix("pub")?;
    let declared = match declared.strip_prefix('(') {
        Some(restricted) => restricted.split_once(") ")?.1,
        None => declared.trim_start(),
    };
    let (kind, rest) = declared.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric()).next();
    name.filter(|_| ["struct", "enum", "trait", "type"].contains(&kind))
}

#[test]
fn no_two_types_that_files_share_have_one_name() {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources(&root().join("src")) {
        for name in read(&file).lines().filter_map(shared_type) {
            let declared = files.entry(name.to_owned()).or_default();
            declared.push(file.display().to_string());
        }
    }
    assert!(files.len() > 300, "the types are found: {}", files.len());
    files.retain(|_, declared| declared.len() > 1);
    assert!(files.is_empty(), "one name means one thing: {files:#?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let source = root().join("src");
    let files = Crate::read(&source, &sources(&source));
    let uses = files.uses();
    let arrows: usize = uses.values().map(BTreeSet::len).sum();
    assert!(arrows > 1000, "the paths are read: {arrows}");
    let circles = circles(&uses);
    let ways: Vec<_> = circles.iter().map(|way| way.join(" → ")).collect();
    assert!(ways.is_empty(), "circles of files:\n{}", ways.join("\n"));
}

#[test]
fn a_circle_is_found_through_re_exports_and_named_as_the_way_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("lib.rs", "pub mod room;"),
        ("room/mod.rs", "mod one;\nmod other;\npub use one::One;"),
        (
            "room/one.rs",
            "use super::other;\npub struct One(other::Other);",
        ),
        (
            "room/other.rs",
            "pub struct Other(Option<Box<crate::room::One>>);",
        ),
    ];
    let written = files.map(|(name, text)| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(&path, text).expect("it is written");
        path
    });
    let files = Crate::read(folder.path(), &written);
    let circles = circles(&files.uses());
    assert_eq!(circles, [["room/one.rs", "room/other.rs", "room/one.rs"]]);
}

/// The most lines of a file of `src/` that states no reason.
const LINES_MAX: usize = 400;
/// How a line of a file's head begins that states why the file is longer.
const REASON: &str = "//! Long because ";

/// What is wrong with the length of a file; none where nothing is.
fn wrong_length(text: &str) -> Option<String> {
    let lines = text.lines().count();
    let head = text.lines().take_while(|line| line.starts_with("//!"));
    let is_excused = head.into_iter().any(|line| line.starts_with(REASON));
    match (lines > LINES_MAX, is_excused) {
        (true, false) => Some(format!("has {lines} lines, and no line `{REASON}…`")),
        (false, true) => Some(format!("has {lines} lines, so `{REASON}…` goes")),
        _ => None,
    }
}

#[test]
fn a_long_file_states_its_reason_and_a_short_one_none() {
    let files = sources(&root().join("src"));
    assert!(files.len() > 200, "the files are found: {}", files.len());
    let wrong = files.iter().filter_map(|file| {
        let what = wrong_length(&read(file))?;
        Some(format!("{} {what}", file.display()))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "part them by subject: {wrong:#?}");
}

#[test]
fn a_reason_for_length_counts_in_the_head_of_a_long_file_only() {
    let reason = format!("{REASON}it is one table.\n");
    let body = "// A line.\n".repeat(LINES_MAX);
    assert_eq!(wrong_length(&body), None);
    assert!(wrong_length(&format!("//! A table.\n{body}")).is_some());
    assert_eq!(wrong_length(&format!("//! A table.\n{reason}{body}")), None);
    assert!(wrong_length(&format!("//! A table.\n{body}{reason}")).is_some());
    assert!(wrong_length(&format!("//! A table.\n{reason}")).is_some());
}

#[test]
fn the_tables_know_no_room_and_the_migrations_no_table_type() {
    for (folder, forbidden) in [
        ("entity/src", "token_server_migration"),
        ("entity/src", "token_server::"),
        ("migration/src", "token_server_entity"),
    ] {
        for file in sources(&root().join(folder)) {
            let text = read(&file);
            assert!(
                !text.contains(forbidden),
                "{} names {forbidden}",
                file.display()
            );
        }
    }
}

#[test]
fn no_handler_holds_sql_or_a_query() {
    for file in sources(&root().join("src/api")) {
        let text = read(&file);
        for forbidden in [
            "EntityTrait",
            "QueryFilter",
            "Statement::",
            "execute_unprepared",
        ] {
            assert!(
                !text.contains(forbidden),
                "{} holds {forbidden}",
                file.display()
            );
        }
    }
}

#[test]
fn no_event_of_the_log_holds_what_rust_writes_for_itself_or_a_field_of_every_line() {
    let mut events = 0;
    for file in sources(&root().join("src")) {
        let text = read(&file);
        let is_event = |text: &&str| {
            let name = text.split_once("!(").map_or("", |(name, _)| name);
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty()
        };
        for event in text.split("tracing::").skip(1).filter(is_event) {
            let event = event.split_once(");").map_or(event, |(event, _)| event);
            events += 1;
            for captured in [
                "= ?",
                "(?",
                ", ?",
                "\n?",
                " ?",
                ":?}",
                // Each line has them already.
                "message =",
                "timestamp =",
                "level =",
                "target =",
            ] {
                assert!(
                    !event.contains(captured),
                    "{}: {captured} in tracing::{event}",
                    file.display()
                );
            }
        }
    }
    assert!(events > 50, "the events are read: {events}");
}

#[test]
fn the_committed_specification_is_the_one_the_code_makes() {
    let committed = fs::read_to_string(root().join("openapi/openapi.json"));
    assert!(
        committed.is_ok_and(|text| text == token_server::api::specification()),
        "openapi/openapi.json is out of date: run `make openapi`"
    );
}

#[test]
fn the_committed_schema_of_realm_documents_is_the_one_the_reading_makes() {
    let committed = fs::read_to_string(root().join("openapi/realm.schema.json"));
    assert!(
        committed.is_ok_and(|text| text == token_server::realm::schema::text()),
        "openapi/realm.schema.json is out of date: run `make openapi`"
    );
}

//! What dry runs of files print, for people and for programs, and how they exit.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use super::context::say;
use super::failure::{CommandFailure, EXIT_REFUSED, EXIT_WOULD_CHANGE};
use crate::foundation::fields::{Fault, Warning};
use crate::foundation::logging::on_one_line;

/// How a dry run is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRunFormat {
    /// Lines, for people
    Text,
    /// An object, for programs
    Json,
}

/// What would become of something in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    New,
    Changed,
    Unchanged,
    Deleted,
    Refused,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::New,
        Self::Changed,
        Self::Unchanged,
        Self::Deleted,
        Self::Refused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Refused => "refused",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::New => GREEN,
            Self::Changed => YELLOW,
            Self::Unchanged => DIM,
            Self::Deleted | Self::Refused => RED,
        }
    }
}

const RED: &str = "\u{1b}[31m";
const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const CYAN: &str = "\u{1b}[36m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// A line below what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// What differs, in the unified format.
    Diff(String),
    /// What would happen.
    Plain(String),
    /// What to look at.
    Attention(String),
}

/// What would become of one element of the files.
pub(super) struct Item {
    /// None: it stands in no file.
    pub file: Option<String>,
    /// None where the file cannot be read that far.
    pub name: Option<String>,
    pub outcome: Outcome,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Warning>,
    pub notes: Vec<Note>,
    /// The same for programs.
    pub fields: Map<String, Value>,
}

/// All of them.
pub(super) struct DryRun {
    /// What they are, such as `realms`.
    pub what: &'static str,
    pub items: Vec<Item>,
}

impl DryRun {
    /// Prints it; the exit code says what it found.
    pub fn tell(&self, format: DryRunFormat, colours: bool) -> Result<ExitCode, CommandFailure> {
        let colours = colours && std::io::stdout().is_terminal();
        say(&match format {
            DryRunFormat::Text => self.for_humans(colours),
            DryRunFormat::Json => format!("{:#}\n", self.for_programs()),
        })?;
        Ok(self.exit_code())
    }

    fn exit_code(&self) -> ExitCode {
        let has = |outcome| self.items.iter().any(|item| item.outcome == outcome);
        if has(Outcome::Refused) {
            return ExitCode::from(EXIT_REFUSED);
        }
        match self.would_change() {
            true => ExitCode::from(EXIT_WOULD_CHANGE),
            false => ExitCode::SUCCESS,
        }
    }

    fn would_change(&self) -> bool {
        let changes = [Outcome::New, Outcome::Changed, Outcome::Deleted];
        self.items
            .iter()
            .any(|item| changes.contains(&item.outcome))
    }

    fn count(&self, outcome: Outcome) -> usize {
        let of_it = self.items.iter().filter(|item| item.outcome == outcome);
        of_it.count()
    }

    fn for_humans(&self, colours: bool) -> String {
        let paint = |colour: &str, text: &str| match colours {
            true => format!("{colour}{text}{RESET}"),
            false => text.to_owned(),
        };
        let mut text = String::new();
        for item in &self.items {
            let names = [&item.file, &item.name].into_iter().flatten();
            let names: Vec<_> = names.map(|name| on_one_line(name)).collect();
            let outcome = paint(item.outcome.colour(), item.outcome.as_str());
            text.push_str(&format!("{}: {outcome}\n", names.join(": ")));
            for Fault { pointer, detail } in &item.faults {
                let line = format!("{pointer} {}", on_one_line(detail));
                text.push_str(&format!("  {}\n", paint(RED, line.trim_start())));
            }
            for note in &item.notes {
                match note {
                    Note::Diff(diff) => {
                        for line in diff.lines() {
                            text.push_str(&format!("  {}\n", paint_diff(line, &paint)));
                        }
                    }
                    Note::Plain(line) => text.push_str(&format!("  {}\n", on_one_line(line))),
                    Note::Attention(line) => {
                        let line = on_one_line(line);
                        text.push_str(&format!("  {}\n", paint(YELLOW, &line)));
                    }
                }
            }
            for Warning { pointer, detail } in &item.warnings {
                let line = format!("warning: {pointer} {}", on_one_line(detail));
                text.push_str(&format!("  {}\n", paint(YELLOW, &line)));
            }
        }
        let counts = Outcome::ALL.map(|one| format!("{} {}", self.count(one), one.as_str()));
        let counts = counts.join(", ");
        text.push_str(&format!("{}: {counts}\n", self.what));
        text.push_str("this was a dry run: nothing was changed\n");
        text
    }

    fn for_programs(&self) -> Value {
        let object = |item: &Item| {
            let faults = item.faults.iter();
            let faults = faults.map(|one| json!({"pointer": one.pointer, "detail": one.detail}));
            let warnings = item.warnings.iter();
            let warnings =
                warnings.map(|one| json!({"pointer": one.pointer, "detail": one.detail}));
            let mut object = Map::new();
            object.insert("file".to_owned(), json!(item.file));
            object.extend(item.fields.clone());
            object.insert("outcome".to_owned(), json!(item.outcome.as_str()));
            object.insert("faults".to_owned(), faults.collect());
            object.insert("warnings".to_owned(), warnings.collect());
            Value::Object(object)
        };
        let counts = Outcome::ALL.map(|one| (one.as_str().to_owned(), json!(self.count(one))));
        let items: Vec<_> = self.items.iter().map(object).collect();
        json!({
            "dry_run": true,
            "would_change": self.would_change(),
            "counts": Map::from_iter(counts),
            self.what: items,
        })
    }
}

fn paint_diff(line: &str, paint: &impl Fn(&str, &str) -> String) -> String {
    match line.as_bytes().first() {
        Some(b'+') => paint(GREEN, line),
        Some(b'-') => paint(RED, line),
        Some(b'@') => paint(CYAN, line),
        _ => line.to_owned(),
    }
}

/// What differs between two documents, in the unified format; empty where nothing does.
pub(super) fn unified_diff(before: &Value, after: &Value, names: [&str; 2]) -> String {
    let [before, after] = [before, after].map(|document| format!("{document:#}\n"));
    let diff = TextDiff::from_lines(&before, &after);
    let [old, new] = names;
    match diff
        .iter_all_changes()
        .all(|one| one.tag() == ChangeTag::Equal)
    {
        true => String::new(),
        false => diff.unified_diff().header(old, new).to_string(),
    }
}

//! What became of every row, for people and for programs.

use serde_json::{Map, Value, json};

use crate::foundation::clock::Timeline;
use crate::foundation::logging::on_one_line;
use crate::moving::{CountedRows, Name, Row, TokenFate};
use crate::registry::Imported;

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportKind {
    Import,
    DryRun,
    /// A move was given up.
    Release,
}

/// All rows.
pub(super) struct Report {
    pub rows: Vec<Row>,
    /// Rows without names of their own, by what they are.
    pub counted: Vec<(&'static str, CountedRows)>,
    /// What an import leaves where it is.
    pub not_taken: &'static [&'static str],
    pub purpose: ReportKind,
}

/// How many rows came to what.
#[derive(Default)]
struct Counts {
    taken: u64,
    unchanged: u64,
    changed: u64,
    refused: u64,
    tokens: u64,
}

impl Report {
    /// Whether each row is here as it is there.
    pub fn is_whole(&self) -> bool {
        let here = |row: &Row| matches!(row.outcome, Imported::Taken | Imported::Unchanged);
        self.rows.iter().all(here)
    }

    fn counts(&self, of: IsOf) -> Counts {
        let mut counts = Counts::default();
        for row in self.rows.iter().filter(|row| of(&row.name)) {
            match row.outcome {
                Imported::Taken => {
                    counts.taken += 1;
                    counts.tokens += u64::from(matches!(row.token, TokenFate::Kept(_)));
                }
                Imported::Unchanged => counts.unchanged += 1,
                Imported::Changed(_) => counts.changed += 1,
                Imported::Refused(_) => counts.refused += 1,
            }
        }
        counts
    }

    pub fn for_humans(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let name = match &row.name {
                Name::Realm(id) => format!("realm {}", shown(id)),
                Name::Secret { realm, key } => format!("secret {}/{}", shown(realm), shown(key)),
                Name::Ticket { realm, application } => {
                    format!("ticket {}/{}", shown(realm), shown(application))
                }
                Name::ApiKey(name) => format!("API key {}", shown(name)),
                Name::Issuer(name) => format!("issuer {}", shown(name)),
            };
            let outcome = match &row.outcome {
                Imported::Taken if self.purpose == ReportKind::Release => {
                    "renewed there again".to_owned()
                }
                Imported::Taken => format!("taken{}", in_words(row.token)),
                Imported::Unchanged => "unchanged".to_owned(),
                Imported::Changed(parts) => {
                    format!("changed since, left as it is here: {}", parts.join(", "))
                }
                Imported::Refused(why) => format!("refused: {}", on_one_line(why)),
            };
            text.push_str(&format!("{name}: {outcome}\n"));
            for note in &row.notes {
                text.push_str(&format!("  {}\n", on_one_line(note)));
            }
        }
        for (what, of) in self.kinds() {
            let Counts {
                taken,
                unchanged,
                changed,
                refused,
                tokens,
            } = self.counts(of);
            let tokens = match what {
                "secrets" => format!(" ({tokens} with their tokens)"),
                _ => String::new(),
            };
            text.push_str(&match self.purpose {
                ReportKind::Release => format!("{what}: {taken} renewed there again, {refused} not\n"),
                ReportKind::Import | ReportKind::DryRun => format!(
                    "{what}: {taken} taken{tokens}, {unchanged} unchanged, {changed} changed since, {refused} refused\n"
                ),
            });
        }
        for (what, CountedRows { taken, unchanged }) in &self.counted {
            text.push_str(&format!("{what}: {taken} taken, {unchanged} unchanged\n"));
        }
        if !self.not_taken.is_empty() {
            text.push_str(&format!("not taken: {}\n", self.not_taken.join(", ")));
        }
        if self.purpose == ReportKind::DryRun {
            text.push_str("this was a dry run: nothing was changed\n");
        }
        text
    }

    pub fn for_programs(&self) -> Value {
        let mut report = Map::new();
        let is_dry_run = self.purpose == ReportKind::DryRun;
        report.insert("dry_run".to_owned(), json!(is_dry_run));
        for (what, of) in self.kinds() {
            let counts = self.counts(of);
            let mut numbers = json!({
                "taken": counts.taken, "unchanged": counts.unchanged,
                "changed_since": counts.changed, "refused": counts.refused,
            });
            if what == "secrets" {
                numbers["tokens_kept"] = json!(counts.tokens);
            }
            report.insert(what.replace(' ', "_"), numbers);
        }
        for (what, CountedRows { taken, unchanged }) in &self.counted {
            let numbers = json!({"taken": taken, "unchanged": unchanged});
            report.insert(what.replace(' ', "_"), numbers);
        }
        if !self.not_taken.is_empty() {
            report.insert("not_taken".to_owned(), json!(self.not_taken));
        }
        let rows = self.rows.iter().map(for_programs);
        report.insert("rows".to_owned(), rows.collect());
        Value::Object(report)
    }

    /// Those that there are, and the usual ones.
    fn kinds(&self) -> impl Iterator<Item = (&'static str, IsOf)> {
        let is_there = |(what, of): &(&'static str, IsOf)| {
            let is_usual = match self.purpose {
                ReportKind::Release => *what == "secrets",
                ReportKind::Import | ReportKind::DryRun => ["realms", "secrets"].contains(what),
            };
            is_usual || self.rows.iter().any(|row| of(&row.name))
        };
        KINDS.into_iter().filter(is_there)
    }
}

/// Whether a row is of a table.
type IsOf = fn(&Name) -> bool;

const KINDS: [(&str, IsOf); 5] = [
    ("realms", |name| matches!(name, Name::Realm(_))),
    ("secrets", |name| matches!(name, Name::Secret { .. })),
    ("tickets", |name| matches!(name, Name::Ticket { .. })),
    ("API keys", |name| matches!(name, Name::ApiKey(_))),
    ("issuers", |name| matches!(name, Name::Issuer(_))),
];

fn for_programs(of: &Row) -> Value {
    let mut row = match &of.name {
        Name::Realm(id) => json!({"table": "realm", "realm": id}),
        Name::Ticket { realm, application } => {
            json!({"table": "ticket", "realm": realm, "application": application})
        }
        Name::ApiKey(name) => json!({"table": "api_key", "name": name}),
        Name::Issuer(name) => json!({"table": "issuer", "name": name}),
        Name::Secret { realm, key } => {
            let (token, expires_at) = match of.token {
                TokenFate::None => ("none", None),
                TokenFate::Kept(end) => ("kept", end.map(Timeline::to_rfc3339)),
                TokenFate::Expired => ("expired", None),
                TokenFate::NoExpiry => ("without_expiry", None),
                TokenFate::Implausible => ("implausible_expiry", None),
            };
            let mut row = json!({"table": "secret", "realm": realm, "key": key});
            if of.outcome == Imported::Taken {
                row["token"] = json!(token);
                row["expires_at"] = json!(expires_at);
            }
            row
        }
    };
    row["outcome"] = json!(match &of.outcome {
        Imported::Taken => "taken",
        Imported::Unchanged => "unchanged",
        Imported::Changed(_) => "changed_since",
        Imported::Refused(_) => "refused",
    });
    match &of.outcome {
        Imported::Taken | Imported::Unchanged => {}
        Imported::Changed(parts) => row["differs"] = json!(parts),
        Imported::Refused(why) => row["why"] = json!(why),
    }
    if !of.notes.is_empty() {
        row["notes"] = json!(of.notes);
    }
    row
}

fn in_words(token: TokenFate) -> String {
    match token {
        TokenFate::None => String::new(),
        TokenFate::Kept(Some(end)) => format!(", its token until {}", end.to_rfc3339()),
        TokenFate::Kept(None) => ", its token, which never expires".to_owned(),
        TokenFate::Expired => ", without its token, which has expired".to_owned(),
        TokenFate::NoExpiry => {
            ", without its token, of which nobody knows when it expires".to_owned()
        }
        TokenFate::Implausible => {
            ", without its token, which would expire in more than ten years".to_owned()
        }
    }
}

/// A name on one line; one with blanks at its ends or unprintable characters in quotes.
fn shown(name: &str) -> String {
    if name.is_empty() || name.trim() != name || on_one_line(name) != name {
        return format!("{name:?}");
    }
    name.to_owned()
}

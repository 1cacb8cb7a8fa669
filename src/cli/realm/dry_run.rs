//! `realm apply --dry-run`: what files of realms would change.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::of_files::{RealmOfFile, checked};
use crate::app::App;
use crate::cli::context::open_for_dry_run;
use crate::cli::dry_run::{DryRun, DryRunFormat, Item, Note, Outcome, unified_diff};
use crate::cli::failure::CommandFailure;
use crate::config::Settings;
use crate::registry::{Actor, Destination, Lacking, LackingSecret, PlannedRealm, RealmFate};

/// Secrets that are named; the others are counted.
const SECRETS_NAMED: usize = 100;

pub(super) async fn run(
    settings: Settings,
    files: &[PathBuf],
    prune: bool,
    format: DryRunFormat,
) -> Result<ExitCode, CommandFailure> {
    let found = checked(&settings.upstream, files)?;
    let colours = settings.log.colours;
    let app = open_for_dry_run(settings).await?;
    let items = items(&app, found, prune).await;
    app.close().await;
    let dry_run = DryRun {
        what: "realms",
        items: items?,
    };
    dry_run.tell(format, colours)
}

async fn items(
    app: &App,
    found: Vec<RealmOfFile>,
    prune: bool,
) -> Result<Vec<Item>, CommandFailure> {
    let good = found.iter().filter_map(|one| one.read.as_ref().ok());
    let patches: Vec<_> = good.cloned().collect();
    // Where a file cannot be read, nobody knows which realms stand in none.
    let prune = prune && patches.len() == found.len();
    let by = Actor::command_line();
    let plan = app.registry.plan_realms(patches, prune, &by).await;
    let mut plan = plan.map_err(CommandFailure::of)?.into_iter();
    let mut items = Vec::new();
    for RealmOfFile {
        file,
        read,
        warnings,
    } in found
    {
        let file = file.display().to_string();
        let mut one = match read {
            Ok(_) => match plan.next() {
                Some(realm) => item(app, &realm, Some(&file)).await?,
                // There is a plan for each patch.
                None => continue,
            },
            Err(faults) => Item {
                file: None,
                name: None,
                outcome: Outcome::Refused,
                faults,
                warnings: Vec::new(),
                notes: Vec::new(),
                fields: Map::from_iter([("realm".to_owned(), Value::Null)]),
            },
        };
        one.file = Some(file);
        one.warnings = warnings;
        items.push(one);
    }
    for realm in plan {
        items.push(item(app, &realm, None).await?);
    }
    Ok(items)
}

async fn item(app: &App, realm: &PlannedRealm, file: Option<&str>) -> Result<Item, CommandFailure> {
    let (outcome, faults) = match &realm.fate {
        RealmFate::Created(_) => (Outcome::New, Vec::new()),
        RealmFate::Changed(_) => (Outcome::Changed, Vec::new()),
        RealmFate::Unchanged => (Outcome::Unchanged, Vec::new()),
        RealmFate::Deleted => (Outcome::Deleted, Vec::new()),
        RealmFate::Refused(faults) => (Outcome::Refused, faults.clone()),
    };
    let (mut notes, mut diff) = (Vec::new(), None);
    if let (Outcome::Changed, [Some(before), Some(after)]) = (outcome, realm.documents()) {
        let text = unified_diff(&before, &after, ["registered", file.unwrap_or("file")]);
        if text.is_empty() {
            let told =
                "the stored row is not as a token server wrote it, and would be written anew";
            notes.push(Note::Attention(told.to_owned()));
        } else {
            notes.push(Note::Diff(text.clone()));
        }
        diff = Some(text);
    }
    let destinations = realm.destinations();
    notes.extend(destinations.iter().map(|one| redirected(one, outcome)));
    let lacking = app.registry.lacking_secrets(realm).await;
    let lacking = lacking.map_err(CommandFailure::of)?;
    notes.extend(lacking_notes(&lacking));
    let secrets = lacking.secrets.iter().take(SECRETS_NAMED);
    let secrets = secrets.map(|one| json!({"key": one.key.as_str(), "params": one.params}));
    let secrets: Vec<_> = secrets.collect();
    let places = destinations
        .iter()
        .map(|one| json!({"pointer": one.pointer, "before": one.before, "after": one.after}));
    let places: Vec<_> = places.collect();
    let fields = json!({
        "realm": realm.id.as_str(),
        "diff": diff,
        "destinations": places,
        "lacking_secrets": secrets,
        "lacking_secrets_total": lacking.secrets.len(),
        "unknown_secrets_total": lacking.unknown,
    });
    Ok(Item {
        file: None,
        name: Some(realm.id.to_string()),
        outcome,
        faults,
        warnings: Vec::new(),
        notes,
        fields: match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        },
    })
}

fn redirected(destination: &Destination, outcome: Outcome) -> Note {
    let Destination {
        pointer,
        before,
        after,
    } = destination;
    match (before, after) {
        (None, Some(after)) if outcome == Outcome::New => {
            Note::Plain(format!("sends to: {pointer} {after}"))
        }
        (before, after) => {
            let shown = |value: &Option<String>| value.clone().unwrap_or("nothing".to_owned());
            let (before, after) = (shown(before), shown(after));
            Note::Attention(format!("sends elsewhere: {pointer} {before} → {after}"))
        }
    }
}

fn lacking_notes(lacking: &Lacking) -> Vec<Note> {
    let mut notes = Vec::new();
    let shown = |one: &LackingSecret| {
        let params = one.params.join(", ");
        format!("{} ({params})", one.key)
    };
    let named: Vec<_> = lacking
        .secrets
        .iter()
        .take(SECRETS_NAMED)
        .map(shown)
        .collect();
    if !named.is_empty() {
        let count = lacking.secrets.len();
        let more = match count - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = named.join(", ");
        notes.push(Note::Attention(format!(
            "secrets that would lack what the realm requires: {count}: {named}{more}"
        )));
    }
    if lacking.unknown > 0 {
        let count = lacking.unknown;
        notes.push(Note::Attention(format!(
            "secrets that this server cannot open, so that nobody knows what they would lack: {count}"
        )));
    }
    notes
}

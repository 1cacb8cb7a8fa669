use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value};

use super::{Failure, open, say, start_logging};
use crate::config::Settings;
use crate::foundation::fields::{Fault, Faults, Fields};
use crate::foundation::ids::RealmId;
use crate::registry::{Actor, AppliedRealm, Change, RealmPatch};

#[derive(Subcommand)]
pub enum Command {
    /// Make the registered realms as the files say
    Apply {
        /// Files of realms or presets (JSON), or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Delete the realms that stand in no file; one with secrets is refused
        #[arg(long)]
        prune: bool,
    },
    /// Print the JSON Schema of the realm document
    Schema,
}

pub async fn run(settings: Settings, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Apply { files, prune } => {
            start_logging(&settings, None)?;
            apply(settings, &files, prune).await
        }
        Command::Schema => say(&crate::realm::schema::text()),
    }
}

async fn apply(settings: Settings, files: &[PathBuf], prune: bool) -> Result<ExitCode, Failure> {
    let (mut patches, mut faults) = (Vec::new(), Vec::new());
    for file in expanded(files)? {
        match read(&file) {
            Ok(patch) => patches.push((file, patch)),
            Err(found) => faults.extend(shown(&file, found)),
        }
    }
    let app = open(settings).await?;
    for (index, (file, patch)) in patches.iter().enumerate() {
        if let Err(found) = app.registry.check_realm(patch) {
            faults.extend(shown(file, found));
        }
        let mut earlier = patches[..index].iter();
        if let Some((other, _)) = earlier.find(|(_, other)| other.id == patch.id) {
            let why = format!("is the realm of {}, too", other.display());
            faults.extend(shown(file, vec![Fault::new("/id", why)]));
        }
    }
    let applied = if faults.is_empty() {
        let patches = patches.into_iter().map(|(_, patch)| patch).collect();
        let by = Actor::command_line();
        let applied = app.registry.apply_realms(patches, prune, &by).await;
        applied.map_err(Failure::of)
    } else {
        faults.push("nothing was changed".to_owned());
        Err(Failure::of(faults.join("\n")))
    };
    app.close().await;
    for realm in applied? {
        say(&match realm {
            AppliedRealm::Created(id) => format!("{id}: created\n"),
            AppliedRealm::Changed(id) => format!("{id}: changed\n"),
            AppliedRealm::Unchanged(id) => format!("{id}: unchanged\n"),
            AppliedRealm::Deleted(id) => format!("{id}: deleted\n"),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Folders stand for the JSON files in them, by name.
fn expanded(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |path: &Path, error| Failure::of(format!("{} cannot be read: {error}", path.display()));
    let mut all = Vec::new();
    for path in files {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| unreadable(path, error))?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.push(file);
            }
        }
        found.sort();
        all.extend(found);
    }
    Ok(all)
}

fn read(file: &Path) -> Result<RealmPatch, Vec<Fault>> {
    let whole = |why: String| vec![Fault::new("", why)];
    let text =
        std::fs::read_to_string(file).map_err(|error| whole(format!("cannot be read: {error}")))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        whole(format!("is not JSON: line {line}, column {column}"))
    })?;
    let faults = Faults::default();
    let patch = Fields::of(&value, "", &faults).and_then(patch);
    match (patch, faults.into_vec()) {
        (Some(patch), found) if found.is_empty() => Ok(patch),
        (_, found) => Err(found),
    }
}

/// A file says all of a realm: what it leaves out is cleared. The fields of a preset that
/// are for readers are taken as the comment, or passed over.
fn patch(fields: Fields<'_>) -> Option<RealmPatch> {
    let id = fields.required("id", |fields, field| {
        RealmId::new(fields.text(field)?)
            .map_err(|error| fields.fault(field, error.to_string()))
            .ok()
    });
    let comment = fields.text("comment").or(fields.text("title"));
    let config = fields.entries("config").cloned();
    let logic_code = fields.text("logic_code");
    for passed_over in ["documentation", "verified", "facts", "title"] {
        fields.get(passed_over);
    }
    fields.finish();
    Some(RealmPatch {
        id: id?,
        comment: set(comment.map(str::to_owned)),
        config: set(config.map(|map: Map<String, Value>| Value::Object(map))),
        logic_code: set(logic_code.map(str::to_owned)),
    })
}

fn set<T>(value: Option<T>) -> Change<T> {
    value.map_or(Change::Clear, Change::Set)
}

fn shown(file: &Path, faults: Vec<Fault>) -> impl Iterator<Item = String> {
    let file = file.display().to_string();
    faults
        .into_iter()
        .map(move |fault| format!("{file}: {} {}", fault.pointer, fault.detail))
}

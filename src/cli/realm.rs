//! The command `realm`: applies and checks files of realms, and prints their schema.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value};

use super::context::{open, say, start_logging};
use super::failure::CommandFailure;
use super::help::{ON_NOTHING, ON_THE_DATABASE};
use crate::config::{ConfigError, Settings};
use crate::foundation::fields::{Fault, Faults, Fields};
use crate::foundation::ids::RealmId;
use crate::realm::Warning;
use crate::realm::expression::Expressions;
use crate::realm::preset::Preset;
use crate::registry::{Actor, AppliedRealm, FieldChange, RealmPatch};
use crate::upstream::UpstreamSettings;

#[derive(Subcommand)]
pub enum RealmCommand {
    /// Make the registered realms as the files say
    #[command(after_help = ON_THE_DATABASE)]
    Apply {
        /// Files of realms or presets (JSON), or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Delete the realms that stand in no file; one with secrets is refused
        #[arg(long)]
        prune: bool,
    },
    /// Say what is wrong with the files, and what is most likely not meant; change nothing
    #[command(after_help = ON_NOTHING)]
    Check {
        /// Files of realms or presets (JSON), or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the realm document
    #[command(after_help = ON_NOTHING)]
    Schema,
}

pub async fn run(
    settings: impl FnOnce() -> Result<Settings, ConfigError>,
    command: RealmCommand,
) -> Result<ExitCode, CommandFailure> {
    match command {
        RealmCommand::Apply { files, prune } => {
            let settings = settings()?;
            start_logging(&settings, None)?;
            apply(settings, &files, prune).await
        }
        RealmCommand::Check { files } => check(&settings()?.upstream, &files),
        RealmCommand::Schema => say(&crate::realm::schema::text()),
    }
}

/// What files say of realms.
struct Checked {
    patches: Vec<(PathBuf, RealmPatch)>,
    /// Everything that is wrong with any.
    faults: Vec<String>,
}

/// Reads realms from files and checks them. Warnings are printed.
fn checked(upstream: &UpstreamSettings, files: &[PathBuf]) -> Result<Checked, CommandFailure> {
    let (mut patches, mut faults) = (Vec::new(), Vec::new());
    for file in expanded(files)? {
        match read(&file) {
            Ok(patch) => patches.push((file, patch)),
            Err(found) => faults.extend(shown(&file, found)),
        }
    }
    let expressions = Expressions::new();
    for (index, (file, patch)) in patches.iter().enumerate() {
        match patch.check(&expressions, upstream.into()) {
            Ok(warnings) => warn(file, &warnings)?,
            Err(found) => faults.extend(shown(file, found)),
        }
        let mut earlier = patches[..index].iter();
        if let Some((other, _)) = earlier.find(|(_, other)| other.id == patch.id) {
            let why = format!("is the realm of {}, too", other.display());
            faults.extend(shown(file, vec![Fault::new("/id", why)]));
        }
    }
    Ok(Checked { patches, faults })
}

/// Prints warnings beside the results, not among them.
fn warn(file: &Path, warnings: &[Warning]) -> Result<(), CommandFailure> {
    for warning in warnings {
        let (file, Warning { pointer, detail }) = (file.display(), warning);
        writeln!(std::io::stderr(), "{file}: warning: {pointer} {detail}")
            .map_err(CommandFailure::of)?;
    }
    Ok(())
}

fn check(upstream: &UpstreamSettings, files: &[PathBuf]) -> Result<ExitCode, CommandFailure> {
    let Checked { patches, faults } = checked(upstream, files)?;
    if !faults.is_empty() {
        return Err(CommandFailure::of(faults.join("\n")));
    }
    patches
        .iter()
        .try_for_each(|(_, patch)| say(&format!("{}: good\n", patch.id)).map(|_| ()))?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(
    settings: Settings,
    files: &[PathBuf],
    prune: bool,
) -> Result<ExitCode, CommandFailure> {
    let Checked {
        patches,
        mut faults,
    } = checked(&settings.upstream, files)?;
    let app = open(settings).await?;
    let applied = if faults.is_empty() {
        let patches = patches.into_iter().map(|(_, patch)| patch).collect();
        let by = Actor::command_line();
        let applied = app.registry.apply_realms(patches, prune, &by).await;
        applied.map_err(CommandFailure::of)
    } else {
        faults.push("nothing was changed".to_owned());
        Err(CommandFailure::of(faults.join("\n")))
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
fn expanded(files: &[PathBuf]) -> Result<Vec<PathBuf>, CommandFailure> {
    let unreadable = |path: &Path, error| {
        CommandFailure::of(format!("{} cannot be read: {error}", path.display()))
    };
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
    faults.judge(patch).map(|(patch, _)| patch)
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
    for passed_over in Preset::FOR_READERS {
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

fn set<T>(value: Option<T>) -> FieldChange<T> {
    value.map_or(FieldChange::Clear, FieldChange::Set)
}

fn shown(file: &Path, faults: Vec<Fault>) -> impl Iterator<Item = String> {
    let file = file.display().to_string();
    faults
        .into_iter()
        .map(move |fault| format!("{file}: {} {}", fault.pointer, fault.detail))
}

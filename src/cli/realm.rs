//! The command `realm`: applies, checks and writes files of realms, and prints their schema.

mod dry_run;
mod export;
mod of_files;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::context::{open, say, start_logging};
use super::dry_run::DryRunFormat;
use super::failure::CommandFailure;
use super::files::shown;
use super::help::{ON_NOTHING, ON_THE_DATABASE};
use crate::app::App;
use crate::config::{ConfigError, Settings};
use crate::realm::Warning;
use crate::registry::{Actor, PlannedRealm, RealmFate, RealmPatch};
use crate::upstream::UpstreamSettings;
use of_files::{RealmOfFile, checked};

const NOTHING_CHANGED: &str = "\nnothing was changed";

#[derive(Subcommand)]
pub enum RealmCommand {
    /// Make the registered realms as the files say
    #[command(after_help = ON_THE_DATABASE)]
    Apply {
        /// Files of realms or presets (JSON: one, or a list), or folders of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Delete the realms that stand in no file; one with secrets is refused
        #[arg(long)]
        prune: bool,
        /// Say what would be done to each realm, and change nothing: 0 nothing, 1 refused, 3 something
        #[arg(long)]
        dry_run: bool,
        /// How a dry run is printed
        #[arg(long, value_enum, requires = "dry_run", default_value_t = DryRunFormat::Text)]
        format: DryRunFormat,
    },
    /// Write registered realms as files that `realm apply` takes
    #[command(after_help = ON_THE_DATABASE)]
    Export {
        /// The realms by their IDs
        #[arg(
            value_name = "ID",
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        ids: Vec<String>,
        /// All realms
        #[arg(long)]
        all: bool,
        /// A folder for a file of each realm; without it, standard output
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Say what is wrong with the files, and what is most likely not meant; change nothing
    #[command(after_help = ON_NOTHING)]
    Check {
        /// Files of realms or presets (JSON: one, or a list), or folders of them
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
        RealmCommand::Apply {
            files,
            prune,
            dry_run,
            format,
        } => {
            let settings = settings()?;
            start_logging(&settings, None)?;
            match dry_run {
                true => dry_run::run(settings, &files, prune, format).await,
                false => apply(settings, &files, prune).await,
            }
        }
        RealmCommand::Export {
            ids,
            all: _,
            output,
        } => {
            let settings = settings()?;
            start_logging(&settings, None)?;
            export::run(settings, &ids, output.as_deref()).await
        }
        RealmCommand::Check { files } => check(&settings()?.upstream, &files),
        RealmCommand::Schema => say(&crate::realm::schema::text()),
    }
}

/// Refuses all files where one is refused.
fn must_be_good(
    found: Vec<RealmOfFile>,
    says: &str,
) -> Result<Vec<(PathBuf, RealmPatch)>, CommandFailure> {
    let (mut patches, mut faults) = (Vec::new(), Vec::new());
    for RealmOfFile {
        file,
        read,
        warnings,
    } in found
    {
        warn(&file, &warnings)?;
        match read {
            Ok(patch) => patches.push((file, patch)),
            Err(found) => faults.extend(shown(&file, &found)),
        }
    }
    match faults.is_empty() {
        true => Ok(patches),
        false => Err(CommandFailure::FilesRefused(faults.join("\n") + says)),
    }
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
    for (_, patch) in must_be_good(checked(upstream, files)?, "")? {
        say(&format!("{}: good\n", patch.id))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(
    settings: Settings,
    files: &[PathBuf],
    prune: bool,
) -> Result<ExitCode, CommandFailure> {
    let patches = must_be_good(checked(&settings.upstream, files)?, NOTHING_CHANGED)?;
    let app = open(settings).await?;
    let applied = apply_in(&app, patches, prune).await;
    app.close().await;
    for PlannedRealm { id, fate, .. } in applied? {
        say(&match fate {
            RealmFate::Created(_) => format!("{id}: created\n"),
            RealmFate::Changed(_) => format!("{id}: changed\n"),
            RealmFate::Unchanged => format!("{id}: unchanged\n"),
            RealmFate::Deleted => format!("{id}: deleted\n"),
            // These were refused before.
            RealmFate::Refused(_) => continue,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply_in(
    app: &App,
    patches: Vec<(PathBuf, RealmPatch)>,
    prune: bool,
) -> Result<Vec<PlannedRealm>, CommandFailure> {
    let by = Actor::command_line();
    let (files, patches): (Vec<_>, Vec<_>) = patches.into_iter().unzip();
    let plan = app.registry.plan_realms(patches, prune, &by).await;
    let plan = plan.map_err(CommandFailure::of)?;
    let mut faults = Vec::new();
    for (place, realm) in plan.iter().enumerate() {
        if let RealmFate::Refused(found) = &realm.fate {
            let of_id = Path::new(realm.id.as_str());
            faults.extend(shown(files.get(place).map_or(of_id, |file| file), found));
        }
    }
    if !faults.is_empty() {
        let faults = faults.join("\n") + NOTHING_CHANGED;
        return Err(CommandFailure::FilesRefused(faults));
    }
    let applied = app.registry.apply_realms(&plan, &by).await;
    applied.map_err(CommandFailure::of)?;
    Ok(plan)
}

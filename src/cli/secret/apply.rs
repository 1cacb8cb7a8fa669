//! `secret apply`: makes the registered secrets as files say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::declared::DeclaredSecret;
use super::resolving::ValueResolver;
use crate::app::App;
use crate::cli::context::{open, open_for_dry_run, say, start_logging};
use crate::cli::dry_run::{DryRun, DryRunFormat, Item, Note, Outcome};
use crate::cli::failure::CommandFailure;
use crate::cli::files::{below, documents, expanded, shown};
use crate::cli::time::time;
use crate::config::{Env, Settings};
use crate::foundation::clock::Ms;
use crate::foundation::fields::Fault;
use crate::foundation::logging::on_one_line;
use crate::foundation::private::check_key_file;
use crate::registry::{
    Actor, ParamDifference, PlannedSecret, SecretFate, SecretPatch, SentParam, SentToken,
    TokenOrigin,
};
use crate::secret::exported::{ExportedPart, ExportedPlace};
use crate::secret::params::ParamChange;

#[derive(Args)]
pub struct ApplyArguments {
    /// Files of secrets (JSON: one, or a list), or folders of them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say what would be done to each secret, masked, and change nothing: 0 nothing, 1 refused,
    /// 3 something
    #[arg(long)]
    dry_run: bool,
    /// How a dry run is printed
    #[arg(long, value_enum, requires = "dry_run", default_value_t = DryRunFormat::Text)]
    format: DryRunFormat,
    /// How long each command that prints a value may take, such as 30s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    command_timeout: Ms,
}

/// A secret of a file, or what is wrong with it.
struct SecretOfFile {
    file: PathBuf,
    pointer: String,
    /// Its names, as far as they are known.
    names: Option<(String, String)>,
    read: Result<DeclaredSecret, Vec<Fault>>,
}

/// A secret, and what is to become of it.
struct Planned {
    file: PathBuf,
    names: Option<(String, String)>,
    plan: PlannedSecret,
}

pub(super) async fn run(
    settings: Settings,
    arguments: ApplyArguments,
    env: &Env,
) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    let found = found(&arguments.files)?;
    let colours = settings.log.colours;
    let app = match arguments.dry_run {
        true => open_for_dry_run(settings).await?,
        false => open(settings).await?,
    };
    let timeout = u64::try_from(arguments.command_timeout.0).unwrap_or(u64::MAX);
    let resolver = ValueResolver {
        env,
        ring: &app.ring,
        command_timeout: Duration::from_millis(timeout),
    };
    let planned = planned(&app, found, &resolver).await;
    let done = match (planned, arguments.dry_run) {
        (Err(failure), _) => Err(failure),
        (Ok(planned), true) => tell(planned, arguments.format, colours),
        (Ok(planned), false) => apply(&app, planned).await,
    };
    app.close().await;
    done
}

fn found(files: &[PathBuf]) -> Result<Vec<SecretOfFile>, CommandFailure> {
    let mut all: Vec<SecretOfFile> = Vec::new();
    let mut named: HashMap<(String, String), PathBuf> = HashMap::new();
    for file in expanded(files)? {
        let documents = match documents(&file) {
            Ok(documents) => documents,
            Err(faults) => {
                all.push(SecretOfFile {
                    file,
                    pointer: String::new(),
                    names: None,
                    read: Err(faults),
                });
                continue;
            }
        };
        for (pointer, document) in documents {
            let mut read = DeclaredSecret::read(&document);
            let text = |field: &str| Some(document.get(field)?.as_str()?.to_owned());
            let names = text("realm").zip(text("key"));
            if let (Ok(_), Some(names)) = (&read, &names)
                && let Some(other) = named.insert(names.clone(), file.clone())
            {
                let why = format!("is the secret of {}, too", other.display());
                read = Err(vec![Fault::new("/key", why)]);
            }
            all.push(SecretOfFile {
                names,
                read: read.map_err(|faults| below(&pointer, faults)),
                file: file.clone(),
                pointer,
            });
        }
    }
    Ok(all)
}

async fn planned(
    app: &App,
    found: Vec<SecretOfFile>,
    resolver: &ValueResolver<'_>,
) -> Result<Vec<Planned>, CommandFailure> {
    let by = Actor::command_line();
    let mut planned = Vec::new();
    for SecretOfFile {
        file,
        pointer,
        names,
        read,
    } in found
    {
        let folder = file.parent().unwrap_or(Path::new(""));
        let literals = read.as_ref().map(DeclaredSecret::literals);
        let literals = literals.unwrap_or_default();
        let resolved = match read {
            Ok(declared) => resolved(declared, folder, resolver)
                .await
                .map_err(|faults| below(&pointer, faults)),
            Err(faults) => Err(faults),
        };
        let plan = match resolved {
            Ok(patch) => {
                let plan = app.registry.plan_secret(patch, &by).await;
                let plan = unless_open(plan.map_err(CommandFailure::of)?, &literals, &file);
                placed(plan, &pointer)
            }
            Err(faults) => PlannedSecret::refused(faults),
        };
        planned.push(Planned { file, names, plan });
    }
    Ok(planned)
}

/// Refuses a secret that is in a file as it is where any user of the machine can read that.
fn unless_open(
    plan: PlannedSecret,
    literals: &[(Option<String>, String)],
    file: &Path,
) -> PlannedSecret {
    let is_secret = |name: &Option<String>| match name {
        Some(name) => plan.secret_params.contains(name),
        None => true,
    };
    let is_refused = matches!(plan.fate, SecretFate::Refused(_));
    let mut secrets = literals.iter().filter(|(name, _)| is_secret(name));
    match (secrets.next(), check_key_file(file)) {
        (Some((_, pointer)), Err(open)) if !is_refused => PlannedSecret::refused(vec![Fault::new(
            pointer.clone(),
            format!("is here as it is, and {open}"),
        )]),
        _ => plan,
    }
}

/// With the places of what it says in the file.
fn placed(plan: PlannedSecret, pointer: &str) -> PlannedSecret {
    let fate = match plan.fate {
        SecretFate::Refused(faults) => SecretFate::Refused(below(pointer, faults)),
        other => other,
    };
    PlannedSecret { fate, ..plan }
}

/// A secret with its values.
async fn resolved(
    declared: DeclaredSecret,
    folder: &Path,
    resolver: &ValueResolver<'_>,
) -> Result<SecretPatch, Vec<Fault>> {
    let DeclaredSecret {
        realm,
        key,
        params: sources,
        token: source,
    } = declared;
    let (mut params, mut faults) = (Vec::new(), Vec::new());
    for (name, pointer, source) in sources {
        let place = ExportedPlace {
            realm: &realm,
            key: &key,
            part: ExportedPart::Param(&name),
        };
        match resolver.value(&source, folder, &place).await {
            Ok(value) => params.push(SentParam::named(&name, ParamChange::Set(value))),
            Err((field, why)) => faults.push(Fault::new(format!("{pointer}{field}"), why)),
        }
    }
    let mut token = None;
    if let Some(source) = source {
        let place = ExportedPlace {
            realm: &realm,
            key: &key,
            part: ExportedPart::Token,
        };
        match resolver.value(&source.value, folder, &place).await {
            Ok(value) => {
                token = Some(SentToken {
                    token: value,
                    expires_at: source.expires_at,
                    origin: TokenOrigin::TypedIn,
                });
            }
            Err((field, why)) => faults.push(Fault::new(format!("/token{field}"), why)),
        }
    }
    match faults.is_empty() {
        true => Ok(SecretPatch {
            realm,
            key,
            params,
            token,
        }),
        false => Err(faults),
    }
}

async fn apply(app: &App, planned: Vec<Planned>) -> Result<ExitCode, CommandFailure> {
    let mut faults = Vec::new();
    for Planned { file, plan, .. } in &planned {
        if let SecretFate::Refused(found) = &plan.fate {
            faults.extend(shown(file, found));
        }
    }
    if !faults.is_empty() {
        faults.push("nothing was changed".to_owned());
        return Err(CommandFailure::FilesRefused(faults.join("\n")));
    }
    let by = Actor::command_line();
    for Planned { names, plan, .. } in planned {
        let (patch, told) = match plan.fate {
            SecretFate::Created(patch) => (Some(patch), "created"),
            SecretFate::Changed(patch) => (Some(patch), "changed"),
            SecretFate::Unchanged => (None, "unchanged"),
            // These were refused before.
            SecretFate::Refused(_) => continue,
        };
        let name = names.as_ref().map(shown_name).unwrap_or_default();
        if let Some(patch) = patch {
            let saved = app.registry.save_secret(patch, &by).await;
            saved.map_err(|error| CommandFailure::of(format!("{name}: {error}")))?;
        }
        say(&format!("{name}: {told}\n"))?;
        for warning in plan.warnings {
            let (pointer, detail) = (warning.pointer, on_one_line(&warning.detail));
            say(&format!("  warning: {pointer} {detail}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(
    planned: Vec<Planned>,
    format: DryRunFormat,
    colours: bool,
) -> Result<ExitCode, CommandFailure> {
    let dry_run = DryRun {
        what: "secrets",
        items: planned.into_iter().map(item).collect(),
    };
    dry_run.tell(format, colours)
}

fn item(planned: Planned) -> Item {
    let Planned { file, names, plan } = planned;
    let PlannedSecret {
        fate,
        params,
        has_other_token,
        warnings,
        ..
    } = plan;
    let (outcome, faults) = match fate {
        SecretFate::Created(_) => (Outcome::New, Vec::new()),
        SecretFate::Changed(_) => (Outcome::Changed, Vec::new()),
        SecretFate::Unchanged => (Outcome::Unchanged, Vec::new()),
        SecretFate::Refused(faults) => (Outcome::Refused, faults),
    };
    let mut notes: Vec<_> = params.iter().map(difference).collect();
    if has_other_token {
        notes.push(Note::Plain("another token".to_owned()));
    }
    let differing = params
        .iter()
        .map(|one| json!({"name": one.name, "before": one.before, "after": one.after}));
    let differing: Vec<_> = differing.collect();
    let fields = [
        ("realm", json!(names.as_ref().map(|(realm, _)| realm))),
        ("key", json!(names.as_ref().map(|(_, key)| key))),
        ("params", json!(differing)),
        ("token_differs", Value::Bool(has_other_token)),
    ];
    let fields = fields.map(|(field, value)| (field.to_owned(), value));
    Item {
        file: Some(file.display().to_string()),
        name: names.as_ref().map(shown_name),
        outcome,
        faults,
        warnings,
        notes,
        fields: Map::from_iter(fields),
    }
}

fn shown_name((realm, key): &(String, String)) -> String {
    on_one_line(&format!("{realm}/{key}"))
}

/// As they are shown elsewhere: masked.
fn difference(difference: &ParamDifference) -> Note {
    let ParamDifference {
        name,
        before,
        after,
    } = difference;
    Note::Plain(match (before, after) {
        (None, Some(after)) => format!("{name}: set to {after}"),
        (Some(before), None) => format!("{name}: {before} is cleared"),
        (Some(before), Some(after)) if before == after => format!("{name}: another value, {after}"),
        (Some(before), Some(after)) => format!("{name}: {before} → {after}"),
        (None, None) => name.clone(),
    })
}

//! The command `import`: takes in what the predecessor has stored in its MySQL schema. It can run
//! again at any time, and goes on where it was cut off.

mod report;
mod rows;
mod source_url;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::{ExposeSecret, SecretString};

use super::context::{open, open_for_dry_run, say, start_logging};
use super::failure::CommandFailure;
use super::predecessor::{self, Rows};
use crate::app::App;
use crate::config::{Env, Settings};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{Database, DbError, DbFault};
use crate::realm::expression::Expressions;
use crate::registry::{Actor, Imported, Pass, RealmPatch, RegistryError, SecretPatch};
use report::{Name, Report, Row};
use rows::{KnownRealms, TokenFate};
use source_url::source_url;

/// Secrets of one transaction.
const SECRETS_AT_ONCE: usize = 20;

#[derive(Args)]
pub struct ImportArguments {
    /// The predecessor's database: mysql://USER@HOST/DATABASE. A URL that holds a password goes
    /// into the variable TOKEN_SERVER_IMPORT_URL or into a file: other users see arguments
    #[arg(value_name = "URL", conflicts_with = "url_file")]
    url: Option<String>,
    /// A file that holds the URL
    #[arg(long, value_name = "FILE")]
    url_file: Option<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub async fn run(
    settings: Settings,
    arguments: ImportArguments,
    env: &Env,
) -> Result<ExitCode, CommandFailure> {
    let on_terminal = std::io::stderr().is_terminal();
    // On a terminal the bar tells; log lines would tear it.
    start_logging(&settings, on_terminal.then_some("error"))?;
    let url = source_url(arguments.url, arguments.url_file, env)?;
    if !url.expose_secret().starts_with("mysql://") {
        return Err(CommandFailure::of(
            "the URL must begin with mysql://: it names the predecessor's database",
        ));
    }
    let app = match arguments.dry_run {
        true => open_for_dry_run(settings).await?,
        false => open(settings).await?,
    };
    let report = import(&app, url, arguments.dry_run, on_terminal).await;
    app.close().await;
    let report = report?;
    match arguments.format {
        Format::Text => say(&report.for_humans())?,
        Format::Json => say(&format!("{}\n", report.for_programs()))?,
    };
    Ok(match report.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Reads the predecessor's tables.
async fn read(app: &App, url: SecretString) -> Result<Rows, CommandFailure> {
    let settings = app.settings.database.of_another(url);
    let settings =
        settings.map_err(|error| CommandFailure::of(format!("the URL of import: {error}")))?;
    let source = Box::pin(Database::connect(&settings, app.clock.clone())).await;
    let source =
        source.map_err(|error| CommandFailure::of(format!("the URL of import: {error}")))?;
    let read = async {
        match predecessor::is_there(&source).await? {
            true => predecessor::read(&source).await.map(Some),
            false => Ok(None),
        }
    };
    let read = read.await;
    source.close().await;
    let address = source.address();
    let read = read.map_err(|error| {
        let fault = DbFault::of(&DbError::from(error), address);
        CommandFailure::of(format!("the database {address} cannot be read: {fault}"))
    })?;
    read.ok_or_else(|| {
        CommandFailure::of(format!(
            "the database {address} holds no tables of the predecessor: realm(id, config, \
             logic_code, comment) and secret(key, realm, key_1 to key_5, token, expires_at)"
        ))
    })
}

async fn import(
    app: &App,
    url: SecretString,
    dry_run: bool,
    on_terminal: bool,
) -> Result<Report, CommandFailure> {
    let Rows {
        realms,
        secrets,
        spelled,
    } = read(app, url).await?;
    let mut import = Import {
        app,
        by: Actor::command_line(),
        pass: match dry_run {
            true => Pass::Rehearse,
            false => Pass::Keep,
        },
        now: app.clock.now(),
        bar: match on_terminal {
            true => bar(secrets.len()),
            false => ProgressBar::hidden(),
        },
        rows: Vec::new(),
        realms: KnownRealms::default(),
        patches: Vec::new(),
    };
    for row in realms {
        import.realm(row).await?;
    }
    let mut batch = Vec::new();
    for row in secrets {
        let name = Name::Secret {
            realm: row.realm.clone(),
            key: row.key.clone(),
        };
        match rows::secret(row, &spelled, &import.realms, import.now) {
            Ok(readable) => batch.push((name, readable)),
            Err(why) => import.refuse(name, why),
        }
        if batch.len() == SECRETS_AT_ONCE {
            import.secrets(std::mem::take(&mut batch)).await?;
        }
    }
    import.secrets(batch).await?;
    import.bar.finish_and_clear();
    Ok(Report {
        rows: import.rows,
        dry_run,
    })
}

/// An import under way.
struct Import<'a> {
    app: &'a App,
    by: Actor,
    pass: Pass,
    now: EpochMs,
    bar: ProgressBar,
    rows: Vec<Row>,
    realms: KnownRealms,
    patches: Vec<RealmPatch>,
}

impl Import<'_> {
    async fn realm(&mut self, row: predecessor::RealmRow) -> Result<(), CommandFailure> {
        let id = row.id.clone();
        let name = Name::Realm(id.clone());
        let patch = match rows::realm(row) {
            Ok(patch) => patch,
            Err(why) => {
                self.realms.refused.insert(id);
                self.refuse(name, why);
                return Ok(());
            }
        };
        let imported = self.app.registry.import_realm(&patch, self.pass, &self.by);
        let outcome = imported.await.map_err(|error| self.failed(&error))?;
        match self.is_fixed_here(&patch, &outcome).await? {
            Some(is_fixed) => drop(self.realms.usable.insert(id, is_fixed)),
            None => drop(self.realms.refused.insert(id)),
        }
        let mut notes = Vec::new();
        if outcome == Imported::Taken {
            let outbound = (&self.app.settings.upstream).into();
            let warnings = patch.check(&Expressions::new(), outbound);
            let shown = |warning: crate::realm::Warning| {
                format!("warning: {} {}", warning.pointer, warning.detail)
            };
            notes.extend(warnings.into_iter().flatten().map(shown));
        }
        self.patches.push(patch);
        self.rows.push(Row {
            name,
            outcome,
            token: TokenFate::None,
            notes,
        });
        Ok(())
    }

    /// Whether the realm is one of fixed tokens as it is here, which may be another than there.
    async fn is_fixed_here(
        &self,
        patch: &RealmPatch,
        outcome: &Imported,
    ) -> Result<Option<bool>, CommandFailure> {
        match outcome {
            Imported::Refused(_) => Ok(None),
            Imported::Taken | Imported::Unchanged => Ok(Some(rows::is_fixed(patch))),
            Imported::Changed(_) => match self.app.registry.realm(&patch.id).await {
                Ok(realm) => Ok(Some(realm.source.is_fixed())),
                Err(RegistryError::Refused(_)) => Ok(None),
                Err(error) => Err(self.failed(&error)),
            },
        }
    }

    async fn secrets(&mut self, batch: Vec<(Name, rows::Readable)>) -> Result<(), CommandFailure> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut patches: Vec<SecretPatch> = Vec::new();
        let mut others = Vec::new();
        for (name, readable) in batch {
            patches.push(readable.patch);
            others.push((name, readable.token, readable.spelled));
        }
        let used: BTreeMap<_, _> = patches
            .iter()
            .map(|patch| (patch.realm.clone(), ()))
            .collect();
        let used = self
            .patches
            .iter()
            .filter(|realm| used.contains_key(&realm.id));
        let realms: Vec<_> = used.cloned().collect();
        let imported = self
            .app
            .registry
            .import_secrets(&realms, &patches, self.pass, &self.by);
        let imported = imported.await.map_err(|error| self.failed(&error))?;
        for (((name, token, spelled), patch), outcome) in
            others.into_iter().zip(patches).zip(imported)
        {
            let realm = patch.realm;
            let spelled =
                spelled.map(|_| format!("its realm is called {realm} here: names are exact"));
            self.bar.inc(1);
            self.rows.push(Row {
                name,
                outcome,
                token,
                notes: spelled.into_iter().collect(),
            });
        }
        Ok(())
    }

    fn refuse(&mut self, name: Name, why: String) {
        if matches!(name, Name::Secret { .. }) {
            self.bar.inc(1);
        }
        self.rows.push(Row {
            name,
            outcome: Imported::Refused(why),
            token: TokenFate::None,
            notes: Vec::new(),
        });
    }

    fn failed(&self, error: &RegistryError) -> CommandFailure {
        self.bar.finish_and_clear();
        let address = self.app.database.address();
        let why = match error {
            RegistryError::Database(error) => DbFault::of(error, address).to_string(),
            RegistryError::Refused(refusal) => refusal.to_string(),
        };
        CommandFailure::of(format!(
            "the database {address} failed: {why}; run this again, and it goes on"
        ))
    }
}

fn bar(secrets: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(secrets).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

//! The command `import`: takes in what the predecessor has stored in its MySQL schema, or what
//! another token server has. It can run again at any time, and goes on where it was cut off.

mod another_server;
mod report;
mod rows;
mod source;
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
use crate::moving::{Name, Row, TokenFate};
use crate::realm::expression::Expressions;
use crate::registry::{Actor, Imported, Pass, RealmPatch, RegistryError, SecretPatch};
use another_server::{ImportWay, TokenServerArguments};
use report::{Report, ReportKind};
use rows::KnownRealms;
use source::SourceKind;
use source_url::source_url;

/// Secrets of one transaction.
const SECRETS_AT_ONCE: usize = 20;

#[derive(Args)]
pub struct ImportArguments {
    /// The database that is imported: the predecessor's, or another token server's:
    /// mysql://USER@HOST/DATABASE or sqlite:///PATH. A URL that holds a password goes
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
    #[command(flatten)]
    token_server: TokenServerArguments,
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
    let url = source_url(arguments.url.clone(), arguments.url_file.clone(), env)?;
    if !["mysql://", "sqlite:"]
        .iter()
        .any(|scheme| url.expose_secret().starts_with(scheme))
    {
        return Err(CommandFailure::of(
            "the URL must begin with mysql:// or sqlite://: it names the database that is imported",
        ));
    }
    let (format, pass) = (arguments.format, pass_of(&arguments));
    let app = match pass {
        Pass::Rehearse => open_for_dry_run(settings).await?,
        Pass::Keep => open(settings).await?,
    };
    let bar = match on_terminal {
        true => bar(),
        false => ProgressBar::hidden(),
    };
    let way = ImportWay {
        arguments: &arguments.token_server,
        pass,
        env,
        bar: &bar,
    };
    let report = import(&app, url, way).await;
    bar.finish_and_clear();
    app.close().await;
    let report = report?;
    match format {
        Format::Text => say(&report.for_humans())?,
        Format::Json => say(&format!("{}\n", report.for_programs()))?,
    };
    Ok(match report.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn pass_of(arguments: &ImportArguments) -> Pass {
    match arguments.dry_run {
        true => Pass::Rehearse,
        false => Pass::Keep,
    }
}

/// Imports whatever the database holds.
async fn import(
    app: &App,
    url: SecretString,
    way: ImportWay<'_>,
) -> Result<Report, CommandFailure> {
    let (source, file) = source::connect(app, url).await?;
    let imported = async {
        match source::recognise(app, &source).await? {
            SourceKind::Predecessor => match way.arguments.first() {
                Some(option) => Err(CommandFailure::of(format!(
                    "{option} is for the database of a token server: {} is the predecessor's",
                    source.address()
                ))),
                None => import_predecessor(app, &source, way).await,
            },
            SourceKind::TokenServer => {
                Box::pin(another_server::import(app, &source, file.as_deref(), way)).await
            }
        }
    };
    let imported = imported.await;
    source.close().await;
    imported
}

async fn import_predecessor(
    app: &App,
    source: &Database,
    way: ImportWay<'_>,
) -> Result<Report, CommandFailure> {
    let address = source.address();
    let read = predecessor::read(source).await.map_err(|error| {
        let fault = DbFault::of(&DbError::from(error), address);
        CommandFailure::of(format!("the database {address} cannot be read: {fault}"))
    });
    let Rows {
        realms,
        secrets,
        spelled,
    } = read?;
    way.bar
        .set_length(u64::try_from(secrets.len()).unwrap_or(u64::MAX));
    let mut import = Import {
        app,
        by: Actor::command_line(),
        pass: way.pass,
        now: app.clock.now(),
        bar: way.bar,
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
    Ok(Report {
        rows: import.rows,
        counted: Vec::new(),
        not_taken: &[],
        purpose: match way.pass {
            Pass::Rehearse => ReportKind::DryRun,
            Pass::Keep => ReportKind::Import,
        },
    })
}

/// An import under way.
struct Import<'a> {
    app: &'a App,
    by: Actor,
    pass: Pass,
    now: EpochMs,
    bar: &'a ProgressBar,
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

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos} secrets {elapsed} {msg}")
    {
        bar.set_style(style);
    }
    bar
}

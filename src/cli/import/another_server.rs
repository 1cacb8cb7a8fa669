//! Another token server's database as what is imported.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use secrecy::SecretString;

use super::report::{Report, ReportKind};
use crate::app::App;
use crate::app::source_ring::{keys_beside, keys_in, open_source_ring};
use crate::cli::failure::CommandFailure;
use crate::cli::signals::Signals;
use crate::config::Env;
use crate::foundation::clock::Ms;
use crate::foundation::database::Database;
use crate::foundation::sealing::KeyRing;
use crate::moving::{Accounts, Move, MoveError, MoveParts, MoveProgress};
use crate::registry::Pass;

/// Holds the keys where no file does.
const VARIABLE: &str = "TOKEN_SERVER_IMPORT_KEYS";
/// The same, as the name of a file.
const FILE_VARIABLE: &str = "TOKEN_SERVER_IMPORT_KEYS_FILE";
const POLL: Duration = Duration::from_millis(250);

/// What stays where it is.
const NOT_TAKEN: [&str; 4] = [
    "the audit",
    "events that the webhook was not told of yet",
    "the administrator's key of the configuration (bootstrap-admin)",
    "which replicas there are",
];

#[derive(Args)]
pub(super) struct TokenServerArguments {
    /// A file with the sealing keys of the token server that is imported, as in its sealing.keys;
    /// or the variable TOKEN_SERVER_IMPORT_KEYS. Of a SQLite database the file beside it
    #[arg(long, value_name = "FILE")]
    source_keys_file: Option<PathBuf>,
    /// Of a token server: copy everything, then what changes, until Ctrl-C or SIGTERM; then hand
    /// over
    #[arg(long, conflicts_with_all = ["dry_run", "release"])]
    follow: bool,
    /// Hand over as soon as this file is there
    #[arg(long, value_name = "FILE", requires = "follow")]
    finish_file: Option<PathBuf>,
    /// So long attempts under way there are waited for at the end
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u32,
    /// Give the move up: the token server that was to be imported renews its tokens again
    #[arg(long, conflicts_with = "dry_run")]
    release: bool,
}

impl TokenServerArguments {
    /// The first option that the predecessor's database has no use for.
    pub(super) fn first(&self) -> Option<&'static str> {
        match self {
            Self { release: true, .. } => Some("--release"),
            Self { follow: true, .. } => Some("--follow"),
            Self {
                source_keys_file: Some(_),
                ..
            } => Some("--source-keys-file"),
            _ => None,
        }
    }
}

/// How it is imported.
#[derive(Clone, Copy)]
pub(super) struct ImportWay<'a> {
    pub arguments: &'a TokenServerArguments,
    pub pass: Pass,
    pub env: &'a Env,
    pub bar: &'a ProgressBar,
}

pub(super) async fn import(
    app: &App,
    source: &Database,
    file: Option<&Path>,
    way: ImportWay<'_>,
) -> Result<Report, CommandFailure> {
    let source_ring = ring(app, source, file, way).await?;
    let told = |told: MoveProgress| tell(way.bar, &told);
    let begun = Move::begin(MoveParts {
        source: source.clone(),
        source_ring,
        target: app.database.clone(),
        target_ring: app.ring.clone(),
        audit: app.audit.clone(),
        clock: app.clock.clone(),
        randomness: app.randomness.clone(),
        outbound: (&app.settings.upstream).into(),
        pass: way.pass,
        told: &told,
    });
    let mut under_way = begun
        .await
        .map_err(|error| CommandFailure::of(error.to_string()))?;
    let done = run(&mut under_way, way).await;
    let ended = under_way.end().await;
    done?;
    let accounts = ended.map_err(|error| CommandFailure::of(error.to_string()))?;
    Ok(report(accounts, way))
}

async fn run(under_way: &mut Move<'_>, way: ImportWay<'_>) -> Result<(), CommandFailure> {
    let failed = |error: MoveError| CommandFailure::of(error.to_string());
    let arguments = way.arguments;
    if arguments.release {
        return under_way.release().await.map_err(failed);
    }
    let mut signals = arguments.follow.then(Signals::new);
    let mut signals = signals.take().transpose().map_err(CommandFailure::of)?;
    under_way.copy().await.map_err(failed)?;
    if let Some(signals) = &mut signals {
        let finish = finish(signals, arguments.finish_file.as_deref());
        under_way.follow(finish).await.map_err(failed)?;
    }
    if way.pass == Pass::Rehearse {
        return Ok(());
    }
    let finishing = under_way.finish(Ms::from_secs(arguments.wait.into()));
    let Some(mut signals) = signals else {
        return finishing.await.map_err(failed);
    };
    tokio::select! {
        finished = finishing => finished.map_err(failed),
        () = signals.next() => Err(CommandFailure::of(
            "told to end while tokens were handed over: nobody renews some of them until this is \
             run again, or with --release",
        )),
    }
}

/// Waits until the import is told to finish.
async fn finish(signals: &mut Signals, file: Option<&Path>) {
    let there = async {
        let Some(file) = file else {
            return std::future::pending().await;
        };
        while !file.exists() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = signals.next() => {}
        () = there => {}
    }
}

/// The keys that were given, or those beside a SQLite file.
async fn ring(
    app: &App,
    source: &Database,
    file: Option<&Path>,
    way: ImportWay<'_>,
) -> Result<KeyRing, CommandFailure> {
    let set = |name| way.env.get(name).filter(|value| !value.is_empty());
    let named = way.arguments.source_keys_file.clone();
    let named = named.or_else(|| Some(PathBuf::from(set(FILE_VARIABLE)?)));
    let keys = match (named, set(VARIABLE), file) {
        (Some(named), ..) => {
            let keys = keys_in(&named).map_err(CommandFailure::of)?;
            keys.ok_or_else(|| {
                CommandFailure::of(format!("there are no keys in {}", named.display()))
            })?
        }
        (None, Some(keys), _) => SecretString::from(keys.as_str()),
        (None, None, file) => {
            let beside = file
                .map(keys_beside)
                .transpose()
                .map_err(CommandFailure::of)?;
            beside.flatten().ok_or_else(|| {
                CommandFailure::of(format!(
                    "{} is another token server's, whose values are sealed: put its sealing.keys \
                     into the variable {VARIABLE}, or into a file for --source-keys-file",
                    source.address()
                ))
            })?
        }
    };
    let ring = open_source_ring(&keys, source, &app.randomness).await;
    ring.map_err(|error| CommandFailure::of(format!("{}: {error}", source.address())))
}

fn report(accounts: Accounts, way: ImportWay<'_>) -> Report {
    let purpose = match (way.pass, way.arguments.release) {
        (Pass::Rehearse, _) => ReportKind::DryRun,
        (Pass::Keep, true) => ReportKind::Release,
        (Pass::Keep, false) => ReportKind::Import,
    };
    let is_import = purpose != ReportKind::Release;
    let counted = [
        ("attempts", accounts.attempts),
        ("deleted generations", accounts.generations),
        ("quotas", accounts.quotas),
    ];
    Report {
        rows: accounts.rows.into_values().collect(),
        counted: counted.into_iter().filter(|_| is_import).collect(),
        not_taken: if is_import { &NOT_TAKEN } else { &[] },
        purpose,
    }
}

/// Says on standard error what goes on.
fn tell(bar: &ProgressBar, told: &MoveProgress) {
    let line = match told {
        MoveProgress::Looked(secrets) => {
            bar.inc(u64::try_from(*secrets).unwrap_or(0));
            return;
        }
        MoveProgress::Following => {
            "everything is copied; changes are followed until Ctrl-C".to_owned()
        }
        MoveProgress::Awaiting(attempts) => {
            bar.set_message(format!("{attempts} attempts under way there"));
            return;
        }
        MoveProgress::Failed(why) => format!("{why}; this is tried again"),
    };
    bar.suspend(|| {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}

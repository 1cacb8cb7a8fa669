//! The command line: one function for each command.

mod api_key;
mod realm;
mod renew;
mod serve;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::api;
use crate::app::{self, App, StartError};
use crate::config::{ConfigError, Env, Settings};
use crate::foundation::clock::{Ms, SharedClock, SteadyClock, SystemClock};
use crate::foundation::database::DbAddress;
use crate::foundation::logging;
use crate::foundation::randomness::{NoRandomness, Randomness};
use crate::realm::schema;
use crate::serve::ServeError;

/// EX_USAGE of sysexits(3): the configuration cannot be used.
const EXIT_CONFIG: u8 = 64;
/// The command could not run.
const EXIT_COULD_NOT_RUN: u8 = 2;

/// Holds the credentials of third-party APIs, renews every token before it expires, and
/// hands tokens to applications.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    /// A configuration file (TOML); config/default.toml documents every key
    #[arg(long, global = true, env = "TOKEN_SERVER_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve {
        /// Attach a simulated provider with short-lived tokens, and register it
        #[arg(long)]
        demo: bool,
    },
    /// Renew what is due, once, and exit: 0 all renewed, 1 some failed, 2 could not run
    Renew {
        /// One realm only
        #[arg(long)]
        realm: Option<String>,
        /// Due or not
        #[arg(long)]
        all: bool,
    },
    /// Bring the database's schema up to date
    Migrate,
    /// Print the OpenAPI specification
    Openapi,
    /// Check the configuration, and say what it comes to
    CheckConfig,
    /// Register realms from files; print the schema of their documents
    #[command(subcommand)]
    Realm(realm::Command),
    /// Make, list and revoke callers' keys
    #[command(subcommand)]
    ApiKey(api_key::Command),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("configuration: {0}")]
    Log(String),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(
        "there is no database at {address} (data_dir is {}): run this where the server runs, with its configuration; `token-server serve` or `token-server migrate` makes a new one", data_dir.display()
    )]
    NoDatabase {
        address: DbAddress,
        data_dir: PathBuf,
    },
    #[error("{0}")]
    Command(String),
}

impl Failure {
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Command(error.to_string())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Log(_)
            | Self::Serve(ServeError::Jobs(_) | ServeError::Connections(_))
            | Self::Start(
                StartError::KeyRing(_) | StartError::NoSealingKeys | StartError::WrongSealingKey(_),
            ) => EXIT_CONFIG,
            Self::Start(_)
            | Self::Serve(_)
            | Self::Randomness(_)
            | Self::NoDatabase { .. }
            | Self::Command(_) => EXIT_COULD_NOT_RUN,
        }
    }
}

/// Runs a command to its end.
pub async fn run(arguments: Arguments, env: Env) -> ExitCode {
    let serves = matches!(arguments.command, Command::Serve { .. });
    match dispatch(arguments, &env).await {
        Ok(code) => code,
        Err(failure) => {
            if serves && logging::is_started() {
                // Whoever collects the log of a server gets the line that matters most, too.
                tracing::error!("{failure}");
            } else {
                let _ = writeln!(std::io::stderr(), "token-server: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(arguments: Arguments, env: &Env) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Openapi => return say(&api::specification()),
        Command::Realm(realm::Command::Schema) => return say(&schema::text()),
        _ => {}
    }
    let settings = Settings::load(arguments.config.as_deref(), env)?;
    match arguments.command {
        Command::Serve { demo } => Box::pin(serve::run(settings, demo)).await,
        Command::Renew { realm, all } => Box::pin(renew::run(settings, realm, all)).await,
        Command::Realm(command) => Box::pin(realm::run(settings, command)).await,
        Command::ApiKey(command) => Box::pin(api_key::run(settings, command)).await,
        Command::Migrate => {
            start_logging(&settings, None)?;
            let (clock, randomness) = ambient(&settings)?;
            let steps = app::migrate(&settings, &clock, &randomness).await?;
            say(&format!(
                "{steps} step(s) were run; the schema is up to date\n"
            ))
        }
        Command::CheckConfig => say(&format!(
            "the configuration is good: listens on {}, stores in {}, keeps its data in {}\n",
            settings.http.listen,
            DbAddress::of(settings.database.url.expose_secret()),
            settings.data_dir.display()
        )),
        Command::Openapi => say(&api::specification()),
    }
}

fn start_logging(settings: &Settings, filter: Option<&str>) -> Result<(), Failure> {
    let filter = filter.unwrap_or(&settings.log.filter);
    let log = &settings.log;
    logging::start(log.format, filter, log.colours).map_err(Failure::Log)
}

/// The one place where time and randomness come from the machine.
fn ambient(settings: &Settings) -> Result<(SharedClock, Randomness), Failure> {
    let clock: SharedClock = match settings.renewal.max_skew {
        Ms::ZERO => Arc::new(SystemClock),
        followed => Arc::new(SteadyClock::new(Arc::new(SystemClock), followed)),
    };
    Ok((clock, Randomness::from_system()?))
}

/// Opens a database that is there: in the wrong directory a new one would be made instead, and
/// be found in good order.
async fn open(settings: Settings) -> Result<App, Failure> {
    let address = DbAddress::of(settings.database.url.expose_secret());
    if address.is_missing() {
        let data_dir = std::path::absolute(&settings.data_dir).map_err(Failure::of)?;
        return Err(Failure::NoDatabase { address, data_dir });
    }
    open_or_make(settings).await
}

async fn open_or_make(settings: Settings) -> Result<App, Failure> {
    let (clock, randomness) = ambient(&settings)?;
    Ok(Box::pin(App::open(settings, clock, randomness)).await?)
}

/// Writes to standard output.
fn say(text: &str) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::of)?;
    Ok(ExitCode::SUCCESS)
}

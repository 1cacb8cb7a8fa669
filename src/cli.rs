//! The command line: one function for each command.

mod api_key;
mod audit;
mod client;
mod context;
mod dry_run;
mod export;
mod failure;
mod files;
mod healthcheck;
mod help;
mod import;
mod listing;
mod metrics_file;
mod papers;
mod predecessor;
mod realm;
mod renew;
mod renewal;
mod sealing_key;
mod secret;
mod serve;
mod signals;
mod table;
mod time;
mod token;
mod written;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use secrecy::ExposeSecret;

use crate::api;
use crate::app;
use crate::config::{Env, Settings};
use crate::foundation::database::DbAddress;
use crate::foundation::logging;
use crate::foundation::server_tls::ServerTls;
use context::{ambient, say, start_logging};
use failure::CommandFailure;
pub use failure::EXIT_CODES;
use help::{ON_NOTHING, ON_THE_DATABASE, WITH_ITS_SERVER};

/// Holds the credentials of third-party APIs, renews every token before it expires, and
/// hands tokens to applications.
#[derive(Parser)]
#[command(version, about, after_help = exit_codes())]
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
    #[command(after_help = ON_THE_DATABASE)]
    Serve {
        /// Attach a simulated provider with short-lived tokens, and register it
        #[arg(long)]
        demo: bool,
    },
    /// Renew what is due, once, and exit: 0 all renewed, 1 something is left, 2 could not run
    #[command(after_help = renew::EXIT_CODES)]
    Renew(renew::RenewArguments),
    /// Bring the database's schema up to date
    #[command(after_help = ON_THE_DATABASE)]
    Migrate,
    /// Print the OpenAPI specification
    #[command(after_help = ON_NOTHING)]
    Openapi,
    /// Check the configuration, and say what it comes to
    #[command(after_help = ON_NOTHING)]
    CheckConfig,
    /// Print a token of a running server
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List and change secrets of a running server; make secrets as files say
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// List attempts to obtain tokens, of a running server
    #[command(subcommand)]
    Renewal(renewal::RenewalCommand),
    /// Ask the server of this configuration for /healthz: 0 healthy, 1 not
    #[command(after_help = WITH_ITS_SERVER)]
    Healthcheck {
        /// How long it may take to answer
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
        timeout: u64,
    },
    /// Register realms from files, or check these; print the schema of their documents
    #[command(subcommand)]
    Realm(realm::RealmCommand),
    /// Take in what the predecessor, or another token server, has stored: its realms, secrets and live
    /// tokens
    #[command(after_help = ON_THE_DATABASE)]
    Import(import::ImportArguments),
    /// Write realms and secrets as files for `realm apply` and `secret apply`, with sealed values
    #[command(after_help = ON_THE_DATABASE)]
    Export(export::ExportArguments),
    /// Make, list and revoke callers' keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Verify the audit, or write it out as lines of JSON
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Seal everything with another sealing key, while servers run: 0 all, 1 some values are left
    #[command(after_help = ON_THE_DATABASE)]
    RotateKey {
        /// The key's ID; without it, the first of sealing.keys
        id: Option<String>,
    },
    /// Give up a sealing key that is lost for good, and what was sealed with it
    #[command(after_help = ON_THE_DATABASE)]
    ForgetKey {
        /// The key's ID
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All keys that stored values need and that sealing.keys lacks
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Print what completes these commands in a shell
    #[command(after_help = ON_NOTHING)]
    Completions { shell: Shell },
    /// Write the manual pages of these commands
    #[command(after_help = ON_NOTHING)]
    Man {
        /// An existing folder; the first page is token-server.1
        folder: PathBuf,
    },
}

/// The exit codes, for whoever asks for help.
fn exit_codes() -> String {
    let lines =
        EXIT_CODES.map(|(code, means)| format!("\n  {code:>2}  {}", means.replace('`', "")));
    format!("Exit codes:{}", lines.concat())
}

/// Runs a command to its end.
pub async fn run(arguments: Arguments, env: Env) -> ExitCode {
    let serves = matches!(arguments.command, Command::Serve { .. });
    match dispatch(arguments, &env).await {
        Ok(code) => code,
        Err(failure) => {
            if serves && logging::is_started() {
                // Whoever collects the log of a server gets the line that matters most, too.
                tracing::error!(name: "server.failed", "{failure}");
            } else {
                let _ = writeln!(std::io::stderr(), "token-server: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn stored_in(settings: &Settings) -> String {
    let address = DbAddress::of(settings.database.url.expose_secret());
    match settings.database.shown_tls() {
        Some(tls) => format!("{address} (database.tls: {tls})"),
        None => address.to_string(),
    }
}

async fn dispatch(arguments: Arguments, env: &Env) -> Result<ExitCode, CommandFailure> {
    // Not by what prints what is compiled in.
    let settings = || Settings::load(arguments.config.as_deref(), env);
    // Of those who listen, and who ask whoever does.
    let listening = || settings()?.listening_where_told(env);
    match arguments.command {
        Command::Openapi => say(api::specification()),
        Command::Completions { shell } => say(&papers::completions(Arguments::command(), shell)?),
        Command::Man { folder } => papers::write_manual(Arguments::command(), &folder),
        Command::Token(command) => Box::pin(token::run(command)).await,
        Command::Secret(command) => Box::pin(secret::run(settings, command, env)).await,
        Command::Renewal(command) => Box::pin(renewal::run(command)).await,
        Command::Serve { demo } => Box::pin(serve::run(listening()?, demo)).await,
        Command::Renew(arguments) => Box::pin(renew::run(settings()?, arguments)).await,
        Command::Realm(command) => Box::pin(realm::run(settings, command)).await,
        Command::Import(arguments) => Box::pin(import::run(settings()?, arguments, env)).await,
        Command::Export(arguments) => Box::pin(export::run(settings()?, arguments)).await,
        Command::ApiKey(command) => Box::pin(api_key::run(settings()?, command)).await,
        Command::Audit(command) => Box::pin(audit::run(settings()?, command)).await,
        Command::RotateKey { id } => Box::pin(sealing_key::rotate(settings()?, id)).await,
        Command::Healthcheck { timeout } => {
            Box::pin(healthcheck::run(listening()?, Duration::from_secs(timeout))).await
        }
        Command::ForgetKey { id, all: _ } => Box::pin(sealing_key::forget(settings()?, id)).await,
        Command::Migrate => {
            let settings = settings()?;
            start_logging(&settings, None)?;
            let (clock, randomness) = ambient(&settings)?;
            let steps = app::migrate(&settings, &clock, &randomness).await?;
            say(&format!(
                "{steps} step(s) were run; the schema is up to date\n"
            ))
        }
        Command::CheckConfig => {
            let settings = listening()?;
            if let Some(tls) = &settings.http.tls {
                ServerTls::load(tls.files.clone()).map_err(CommandFailure::of)?;
            }
            say(&format!(
                "the configuration is good: listens on {}, stores in {}, keeps its data in {}\n",
                settings.http.listen,
                stored_in(&settings),
                settings.data_dir.display()
            ))
        }
    }
}

//! The command `renewal`: the history of attempts, of a running server.

use std::process::ExitCode;

use clap::Subcommand;

use super::client::{ServerArguments, ServerClient};
use super::context::say;
use super::failure::CommandFailure;
use super::help::WITH_A_SERVER;
use super::table::{ListFormat, json_array, of_objects};

#[derive(Subcommand)]
pub enum RenewalCommand {
    /// List attempts to obtain tokens, newest first
    #[command(after_help = WITH_A_SERVER)]
    List {
        #[command(flatten)]
        server: ServerArguments,
        /// One realm only
        #[arg(long)]
        realm: Option<String>,
        /// One secret's key only
        #[arg(long)]
        key: Option<String>,
        /// One outcome only: stored, failed or discarded
        #[arg(long)]
        outcome: Option<String>,
        /// So many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// How it is printed
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
}

pub async fn run(command: RenewalCommand) -> Result<ExitCode, CommandFailure> {
    let RenewalCommand::List {
        server,
        realm,
        key,
        outcome,
        limit,
        format,
    } = command;
    let filter = [("realm", realm), ("key", key), ("outcome", outcome)];
    let attempts = ServerClient::new(server)?
        .list(&["api", "renewal"], &filter, Some(limit))
        .await?;
    say(&match format {
        ListFormat::Json => json_array(&attempts),
        ListFormat::Table => of_objects(
            [
                ("STARTED", "/started_at"),
                ("REALM", "/realm"),
                ("KEY", "/key"),
                ("OUTCOME", "/outcome"),
                ("CAUSE", "/cause"),
                ("MS", "/duration_ms"),
                ("CLASS", "/class"),
                ("DETAIL", "/detail"),
            ],
            &attempts,
        ),
    })
}

//! The command `renewal`: the history of attempts, of a running server.

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::CommandFailure;
use super::help::WITH_A_SERVER;
use super::listing::ListArguments;

#[derive(Subcommand)]
pub enum RenewalCommand {
    /// List attempts to obtain tokens, newest first
    #[command(after_help = WITH_A_SERVER)]
    List {
        #[command(flatten)]
        list: ListArguments,
        /// One secret's key only
        #[arg(long)]
        key: Option<String>,
        /// One outcome only: stored, failed or discarded
        #[arg(long)]
        outcome: Option<String>,
        /// So many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
    },
}

pub async fn run(command: RenewalCommand) -> Result<ExitCode, CommandFailure> {
    let RenewalCommand::List {
        list,
        key,
        outcome,
        limit,
    } = command;
    let filter = [("key", key), ("outcome", outcome)];
    let columns = [
        ("STARTED", "/started_at"),
        ("REALM", "/realm"),
        ("KEY", "/key"),
        ("OUTCOME", "/outcome"),
        ("CAUSE", "/cause"),
        ("MS", "/duration_ms"),
        ("CLASS", "/class"),
        ("DETAIL", "/detail"),
    ];
    list.print(&["api", "renewal"], &filter, Some(limit), columns)
        .await
}

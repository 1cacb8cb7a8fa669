//! Lists of a running server: what their commands share.

use std::process::ExitCode;

use clap::Args;

use super::client::{ServerArguments, ServerClient};
use super::context::say;
use super::failure::CommandFailure;
use super::table::{ListFormat, json_array, of_objects};

/// Which server is asked for a list, of which realm, and how it is printed.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// One realm only
    #[arg(long)]
    realm: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

impl ListArguments {
    /// Asks for a list, all of it or so many, and prints it: as a table the columns that are named,
    /// each by its pointer.
    pub(super) async fn print<const COLUMNS: usize>(
        self,
        path: &[&str],
        more: &[(&str, Option<String>)],
        limit: Option<u64>,
        columns: [(&str, &str); COLUMNS],
    ) -> Result<ExitCode, CommandFailure> {
        let filter = [&[("realm", self.realm)], more].concat();
        let client = ServerClient::new(self.server)?;
        let listed = client.list(path, &filter, limit).await?;
        say(&match self.format {
            ListFormat::Json => json_array(&listed),
            ListFormat::Table => of_objects(columns, &listed),
        })
    }
}

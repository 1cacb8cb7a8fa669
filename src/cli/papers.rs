//! What shells and readers are told of the commands, made from these.

use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::context::say;
use super::failure::CommandFailure;

const NAME: &str = "token-server";

pub(super) fn completions(mut commands: Command, shell: Shell) -> Result<String, CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut commands, NAME, &mut script);
    String::from_utf8(script).map_err(CommandFailure::of)
}

/// A page for each command, as `man` looks for them.
pub(super) fn write_manual(commands: Command, folder: &Path) -> Result<ExitCode, CommandFailure> {
    clap_mangen::generate_to(commands.disable_help_subcommand(true), folder).map_err(|error| {
        CommandFailure::of(format!(
            "{} cannot be written to: {error}",
            folder.display()
        ))
    })?;
    say(&format!("wrote the manual to {}\n", folder.display()))
}

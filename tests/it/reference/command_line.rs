//! The commands, as clap knows them, and the exit codes.

use clap::{Arg, Command, CommandFactory};
use token_server::cli::{Arguments, EXIT_CODES};

use super::markdown::{code, sentence, table};
use super::read;
use crate::cli::all_commands;
use crate::kit::source::in_backticks;

pub fn commands() -> String {
    let mut all = Arguments::command();
    all.build();
    let mut rows = Vec::new();
    add(&mut all, &mut rows);
    let global = all
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    let global: Vec<_> = global
        .map(|argument| format!("Every command: {}\n", says(argument)))
        .collect();
    let commands = table(["command", "does"], rows);
    format!("{commands}\n{}", global.join("\n"))
}

fn add(command: &mut Command, rows: &mut Vec<[String; 2]>) {
    if !command.has_subcommands() {
        let options = command.get_arguments().filter(|argument| {
            is_own(argument) && !argument.is_positional() && !argument.is_required_set()
        });
        let options: Vec<_> = options.map(|option| format!("[{option}]")).collect();
        let usage = command.render_usage().to_string();
        let usage = usage
            .replace("Usage: token-server ", "")
            .replace("[OPTIONS]", &options.join(" "));
        let usage = usage.split_whitespace().collect::<Vec<_>>().join(" ");
        let about = command.get_about().map(ToString::to_string);
        let own = command.get_arguments().filter(|argument| is_own(argument));
        let parts = about
            .iter()
            .map(|about| sentence(about))
            .chain(own.map(says));
        rows.push([code(usage), parts.collect::<Vec<_>>().join(" ")]);
    }
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" {
            add(below, rows);
        }
    }
}

fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set() && argument.get_id() != "help"
}

fn says(argument: &Arg) -> String {
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let from = argument
        .get_env()
        .map(|name| format!(" (or `{}`)", name.to_string_lossy()));
    let name = code(argument.to_string());
    format!("{name}{}: {}", from.unwrap_or_default(), sentence(&help))
}

pub fn exit_codes() -> String {
    let rows = EXIT_CODES
        .iter()
        .map(|(code, means)| [code.to_string(), (*means).to_owned()]);
    table(["exit code", "means"], rows)
}

/// Whether a text names a command, or the group that it is in.
fn is_or_has(text: &str, command: &str) -> bool {
    let rest = command.strip_prefix(text);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[test]
fn what_works_today_has_each_command_and_what_does_not_has_none() {
    let page = read("docs/src/reference/status.md");
    let mut rows = page.lines();
    let row = rows.find(|line| line.starts_with("| command line | "));
    let cells: Vec<_> = row.expect("its row").split(" | ").collect();
    let [_, today, not_yet] = cells[..] else {
        panic!("not three cells: {cells:?}");
    };
    let commands = all_commands();
    let is_known = |text: &&str| commands.iter().any(|command| is_or_has(text, command));
    let told: Vec<_> = in_backticks(today).collect();
    let untold = commands.iter().filter(|command| {
        let of = told.iter().filter(|text| is_or_has(text, command));
        of.count() != 1
    });
    assert_eq!(untold.collect::<Vec<_>>(), [""; 0], "not told once");
    let unknown: Vec<_> = told.iter().filter(|text| !is_known(text)).collect();
    assert_eq!(unknown, [&""; 0], "not there");
    let there: Vec<_> = in_backticks(not_yet).filter(is_known).collect();
    assert_eq!(there, [""; 0], "there already");
}

//! The command `secret`: secrets of a running server, always masked; and secrets as files say.

mod apply;
mod declared;
mod resolving;

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, json};

use super::client::{ServerArguments, ServerClient, exposed, read_value};
use super::context::say;
use super::failure::CommandFailure;
use super::help::{ON_THE_DATABASE, WITH_A_SERVER};
use super::listing::ListArguments;
use crate::config::{ConfigError, Env, Settings};
use crate::foundation::logging::on_one_line;
use apply::ApplyArguments;

#[derive(Subcommand)]
pub enum SecretCommand {
    /// List secrets and the states of their tokens, newest first
    #[command(after_help = WITH_A_SERVER)]
    List {
        #[command(flatten)]
        list: ListArguments,
        /// One state only, such as needs_attention
        #[arg(long)]
        state: Option<String>,
    },
    /// Make a secret, or change parameters of one; the others keep their values
    #[command(after_help = WITH_A_SERVER)]
    Set {
        #[command(flatten)]
        server: ServerArguments,
        #[arg(value_name = "REALM/KEY", value_parser = secret)]
        secret: SecretNames,
        /// A parameter and the file that holds its value; @- reads standard input. A line end at
        /// the end of the file is left out
        #[arg(value_name = "NAME=@FILE", required = true)]
        params: Vec<String>,
    },
    /// Make the registered secrets as the files say; those that stand in no file stay
    #[command(after_help = ON_THE_DATABASE)]
    Apply(ApplyArguments),
}

/// A secret's two names.
#[derive(Clone, Debug)]
pub struct SecretNames {
    realm: String,
    key: String,
}

fn secret(text: &str) -> Result<SecretNames, String> {
    match text.split_once('/') {
        Some((realm, key)) if !realm.is_empty() && !key.is_empty() => Ok(SecretNames {
            realm: realm.to_owned(),
            key: key.to_owned(),
        }),
        _ => Err("must be a realm and a key, such as wxgzh/shop".to_owned()),
    }
}

/// A parameter, and where its value is read from.
struct Param {
    name: String,
    from: String,
}

/// Not read by clap, which would repeat a value that somebody has typed.
fn param(text: &str) -> Result<Param, CommandFailure> {
    match text.split_once("=@") {
        Some((name, from)) if !name.is_empty() && !from.is_empty() && !name.contains('=') => {
            Ok(Param {
                name: name.to_owned(),
                from: from.to_owned(),
            })
        }
        _ => Err(CommandFailure::of(
            "a parameter must be NAME=@FILE or NAME=@-: a value on the command line is seen by others",
        )),
    }
}

pub async fn run(
    settings: impl FnOnce() -> Result<Settings, ConfigError>,
    command: SecretCommand,
    env: &Env,
) -> Result<ExitCode, CommandFailure> {
    match command {
        SecretCommand::Apply(arguments) => apply::run(settings()?, arguments, env).await,
        SecretCommand::List { list, state } => list_secrets(list, state).await,
        SecretCommand::Set {
            server,
            secret,
            params,
        } => set(server, secret, params).await,
    }
}

async fn list_secrets(
    list: ListArguments,
    state: Option<String>,
) -> Result<ExitCode, CommandFailure> {
    let columns = [
        ("REALM", "/realm"),
        ("KEY", "/key"),
        ("STATE", "/state"),
        ("GENERATION", "/generation"),
        ("EXPIRES", "/expires_at"),
        ("DUE", "/renew_at"),
        ("LAST ERROR", "/last_error/detail"),
    ];
    list.print(&["api", "secret"], &[("state", state)], None, columns)
        .await
}

async fn set(
    server: ServerArguments,
    secret: SecretNames,
    params: Vec<String>,
) -> Result<ExitCode, CommandFailure> {
    let params = params.iter().map(|text| param(text));
    let params = params.collect::<Result<Vec<_>, _>>()?;
    let mut names = HashSet::new();
    if let Some(twice) = params.iter().find(|param| !names.insert(&param.name)) {
        return Err(CommandFailure::of(format!("{} is given twice", twice.name)));
    }
    if params.iter().filter(|param| param.from == "-").count() > 1 {
        return Err(CommandFailure::of("standard input holds one value only"));
    }
    let client = ServerClient::new(server)?;
    let mut values = Map::new();
    for Param { name, from } in params {
        let value =
            read_value(&from).map_err(|error| CommandFailure::of(format!("{name}: {error}")))?;
        values.insert(name, exposed(&value));
    }
    let SecretNames { realm, key } = secret;
    let body = json!({"realm": realm, "key": key, "params": values});
    let answer = client.post(&["api", "secret"], body).await?;
    let saved = &answer["data"];
    let text = |name: &str| on_one_line(saved[name].as_str().unwrap_or_default());
    let mut told = format!("{}/{}: {}\n", text("realm"), text("key"), text("state"));
    for warning in saved["warnings"].as_array().into_iter().flatten() {
        let detail = on_one_line(warning["detail"].as_str().unwrap_or_default());
        told.push_str(&format!("  warning: {detail}\n"));
    }
    say(&told)
}

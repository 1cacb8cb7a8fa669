//! The command `token`: tokens of a running server.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::client::{ServerArguments, ServerClient};
use super::context::say;
use super::failure::CommandFailure;
use super::help::WITH_A_SERVER;
use super::time::time;
use crate::foundation::clock::Ms;

/// Of a token whose provider names none (RFC 6750).
const BEARER: &str = "Bearer";

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Print a token that is valid now
    #[command(after_help = WITH_A_SERVER)]
    Get {
        #[command(flatten)]
        server: ServerArguments,
        /// The realm of the secret
        #[arg(long)]
        realm: String,
        /// The key of the secret
        #[arg(long)]
        key: String,
        /// Renew it where it has less life left than that, such as 10m
        #[arg(long, value_name = "TIME", value_parser = time)]
        min_ttl: Option<Ms>,
        /// How it is printed
        #[arg(long, value_enum, default_value_t = TokenFormat::Value)]
        format: TokenFormat,
    },
}

/// How a token is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TokenFormat {
    /// As the server answers it, with its expiry and generation
    Json,
    /// The token alone
    Value,
    /// A header for curl's -H: Authorization, the type, the token
    Header,
}

pub async fn run(command: TokenCommand) -> Result<ExitCode, CommandFailure> {
    let TokenCommand::Get {
        server,
        realm,
        key,
        min_ttl,
        format,
    } = command;
    let mut query = vec![("realm", realm), ("key", key)];
    // Rounded up: a second more is as good.
    let min_ttl_s = min_ttl.map(|time| (time.0 + 999) / 1000);
    query.extend(min_ttl_s.map(|seconds| ("min_ttl_s", seconds.to_string())));
    let answer = ServerClient::new(server)?
        .get(&["api", "token"], &query)
        .await?;
    let token = answer["token"]
        .as_str()
        .ok_or_else(|| CommandFailure::of("the server answered without a token"))?;
    say(&match format {
        TokenFormat::Json => format!("{answer}\n"),
        TokenFormat::Value => format!("{token}\n"),
        TokenFormat::Header => {
            let named = answer["token_type"].as_str().unwrap_or(BEARER);
            // Providers write it in small letters, too; servers that take it know this one.
            let kind = match named.eq_ignore_ascii_case(BEARER) {
                true => BEARER,
                false => named,
            };
            format!("Authorization: {kind} {token}\n")
        }
    })
}

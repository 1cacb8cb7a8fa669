//! The command `api-key`: makes, lists and revokes keys.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::context::{open, say, start_logging};
use super::failure::CommandFailure;
use super::help::ON_THE_DATABASE;
use super::table::{ListFormat, aligned, json_array};
use crate::access::scope::Scope;
use crate::access::store::{Creation, ListedKey, NewKey};
use crate::app::App;
use crate::config::Settings;
use crate::foundation::clock::{EpochMs, Ms, Timeline};
use crate::foundation::logging::on_one_line;
use crate::foundation::page::{PAGE_SIZE_MAX, Page};
use crate::foundation::pattern::{Coverage, Pattern};
use crate::foundation::rate::RATE_MAX;
use crate::foundation::words::words;
use crate::realm::Fault;
use crate::registry::{Actor, EXPIRES_AT, KEYS, REALMS, Refusal, RegistryError, SCOPES};

const DAY_S: i64 = 86_400;

#[derive(Subcommand)]
pub enum ApiKeyCommand {
    /// Make a key; it is shown once
    #[command(after_help = ON_THE_DATABASE)]
    Create {
        /// Names the key in lists and in the audit
        name: String,
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope, help = help_of_scopes())]
        scopes: Vec<Scope>,
        /// A realm that it is limited to; * stands for any characters
        #[arg(long = "realm", value_name = "PATTERN")]
        realms: Vec<String>,
        /// A secret's key, likewise
        #[arg(long = "key", value_name = "PATTERN")]
        keys: Vec<String>,
        /// Days until it expires; without it, never
        #[arg(long)]
        days: Option<u32>,
        /// Calls a second that it may make of each replica; without it, as the configuration says
        #[arg(long, value_name = "CALLS", value_parser = rate)]
        rate: Option<NonZeroU32>,
    },
    /// List keys with their limits: scopes, patterns, rate, expiry; without themselves
    #[command(after_help = ON_THE_DATABASE)]
    List {
        /// How it is printed
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Revoke a key, at once and for good
    #[command(after_help = ON_THE_DATABASE)]
    Revoke {
        /// Its ID: the number that `api-key list` shows first
        #[arg(value_parser = id)]
        id: i64,
    },
}

fn known_scopes() -> String {
    words(Scope::ALL, Scope::as_str).join(", ")
}

fn help_of_scopes() -> String {
    let known = known_scopes();
    format!("{known}; several by commas, or given more than once")
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| format!("must be one of {}", known_scopes()))
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = text.parse::<u32>().ok().filter(|rate| *rate <= RATE_MAX);
    rate.and_then(NonZeroU32::new)
        .ok_or_else(|| format!("must be a whole number from 1 to {RATE_MAX}"))
}

fn id(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| {
        "must be the key's ID, a number that `api-key list` shows, not its name".to_owned()
    })
}

pub async fn run(settings: Settings, command: ApiKeyCommand) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    let app = open(settings).await?;
    let done = match command {
        ApiKeyCommand::Create {
            name,
            scopes,
            realms,
            keys,
            days,
            rate,
        } => {
            let life = days.map(|days| Ms::from_secs(i64::from(days) * DAY_S));
            let new = NewKey {
                name,
                scopes,
                coverage: Coverage {
                    realms: patterns(realms),
                    keys: patterns(keys),
                },
                expires_at: life.map(|life| app.clock.now().plus(life)),
                rate,
            };
            create(&app, &new).await
        }
        ApiKeyCommand::List { format } => list(&app, format).await,
        ApiKeyCommand::Revoke { id } => revoke(&app, id).await,
    };
    app.close().await;
    done
}

fn patterns(texts: Vec<String>) -> Option<Vec<Pattern>> {
    (!texts.is_empty()).then(|| texts.into_iter().map(Pattern::new).collect())
}

async fn create(app: &App, new: &NewKey) -> Result<ExitCode, CommandFailure> {
    let made = app
        .registry
        .create_api_key(new, &Actor::command_line())
        .await;
    match made.map_err(refused)? {
        (Creation::Created(_), key) => say(&format!("{}\n", key.expose_secret())),
        (Creation::NameTaken, _) => Err(CommandFailure::of(
            "there is a key of that name; choose another",
        )),
    }
}

/// What the registry finds wrong is said of the option that gave it.
/// Names the argument that is refused.
fn refused(error: RegistryError) -> CommandFailure {
    let RegistryError::Refused(Refusal::Faults(faults)) = &error else {
        return CommandFailure::of(error);
    };
    let Some(Fault { pointer, detail }) = faults.first() else {
        return CommandFailure::of(error);
    };
    let argument = match pointer.as_str() {
        EXPIRES_AT => {
            return CommandFailure::of(
                "--days must be 1 or more: the key would have expired already",
            );
        }
        of_scopes if of_scopes.starts_with(SCOPES) => "--scope",
        of_realms if of_realms.starts_with(REALMS) => "--realm",
        of_keys if of_keys.starts_with(KEYS) => "--key",
        _ => "the name",
    };
    CommandFailure::of(format!("{argument} {detail}"))
}

async fn list(app: &App, format: ListFormat) -> Result<ExitCode, CommandFailure> {
    let now = app.clock.now();
    let (mut rows, mut objects) = (vec![HEADER.map(str::to_owned)], Vec::new());
    for number in 1.. {
        let page = Page::new(number, PAGE_SIZE_MAX).map_err(CommandFailure::of)?;
        let keys = app
            .registry
            .list_api_keys(page)
            .await
            .map_err(CommandFailure::of)?;
        if keys.list.is_empty() {
            break;
        }
        match format {
            ListFormat::Table => rows.extend(keys.list.into_iter().map(|key| row(key, now))),
            ListFormat::Json => objects.extend(keys.list.into_iter().map(object)),
        }
    }
    say(&match format {
        ListFormat::Table => aligned(&rows),
        ListFormat::Json => json_array(&objects),
    })
}

const HEADER: [&str; 8] = [
    "ID", "NAME", "KEY", "SCOPES", "REALMS", "KEYS", "RATE", "STATE",
];

fn row(key: ListedKey, now: EpochMs) -> [String; HEADER.len()] {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", at.to_rfc3339()),
        (None, _) if !key.authentic => "refused: its row was changed".to_owned(),
        (None, Some(at)) if at <= now => format!("expired {}", at.to_rfc3339()),
        (None, Some(at)) => format!("valid until {}", at.to_rfc3339()),
        (None, None) => "valid".to_owned(),
    };
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    let patterns = |patterns: Option<Vec<Pattern>>| match patterns {
        None => "any".to_owned(),
        Some(patterns) if patterns.is_empty() => "none".to_owned(),
        Some(patterns) => {
            let texts: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
            on_one_line(&texts.join(","))
        }
    };
    [
        key.id.to_string(),
        on_one_line(&key.name),
        format!("{}…", key.hint),
        scopes.join(","),
        patterns(key.coverage.realms),
        patterns(key.coverage.keys),
        key.rate
            .map_or("default".to_owned(), |rate| format!("{rate}/s")),
        state,
    ]
}

/// With the fields of `GET /api/api-key`.
fn object(key: ListedKey) -> Value {
    let texts = |patterns: Vec<Pattern>| -> Vec<String> {
        let texts = patterns.iter().map(|pattern| pattern.as_str().to_owned());
        texts.collect()
    };
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    json!({
        "id": key.id, "name": key.name, "hint": key.hint, "scopes": scopes,
        "realms": key.coverage.realms.map(texts), "keys": key.coverage.keys.map(texts),
        "created_at": key.created_at.to_rfc3339(),
        "expires_at": key.expires_at.map(Timeline::to_rfc3339),
        "revoked_at": key.revoked_at.map(Timeline::to_rfc3339),
        "rate": key.rate.map(NonZeroU32::get), "authentic": key.authentic,
    })
}

async fn revoke(app: &App, id: i64) -> Result<ExitCode, CommandFailure> {
    let revoked = app
        .registry
        .revoke_api_key(id, &Actor::command_line())
        .await;
    if revoked.map_err(CommandFailure::of)? {
        say("revoked\n")
    } else {
        Err(CommandFailure::of(
            "there is no such key that is not revoked",
        ))
    }
}

use std::process::ExitCode;

use clap::Subcommand;
use secrecy::ExposeSecret;

use super::{Failure, open, say, start_logging};
use crate::access::scope::{Pattern, Scope};
use crate::access::store::{Creation, NewKey};
use crate::app::App;
use crate::config::Settings;
use crate::foundation::clock::{Ms, Timeline};
use crate::foundation::page::{PAGE_SIZE_MAX, Page};
use crate::registry::Actor;

const DAY_S: i64 = 86_400;

#[derive(Subcommand)]
pub enum Command {
    /// Make a key; it is shown once
    Create {
        /// Names the key in lists and in the audit
        name: String,
        /// token:read, token:flush, admin, metrics; may be given more than once
        #[arg(long = "scope", required = true, value_parser = scope)]
        scopes: Vec<Scope>,
        /// A realm that reading and flushing is limited to; * stands for any characters
        #[arg(long = "realm")]
        realms: Vec<String>,
        /// A secret's key, likewise
        #[arg(long = "key")]
        keys: Vec<String>,
        /// Days until it expires; without it, never
        #[arg(long)]
        days: Option<u32>,
    },
    /// List keys, without themselves
    List,
    /// Revoke a key, at once and for good
    Revoke {
        /// Its number in the list
        id: i64,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| {
        let known = Scope::ALL.map(Scope::as_str);
        format!("must be one of {}", known.join(", "))
    })
}

pub async fn run(settings: Settings, command: Command) -> Result<ExitCode, Failure> {
    start_logging(&settings, None)?;
    let app = open(settings).await?;
    let done = match command {
        Command::Create {
            name,
            scopes,
            realms,
            keys,
            days,
        } => {
            let life = days.map(|days| Ms::from_secs(i64::from(days) * DAY_S));
            let new = NewKey {
                name,
                scopes,
                realms: patterns(realms),
                secret_keys: patterns(keys),
                expires_at: life.map(|life| app.clock.now().plus(life)),
            };
            create(&app, &new).await
        }
        Command::List => list(&app).await,
        Command::Revoke { id } => revoke(&app, id).await,
    };
    app.close().await;
    done
}

fn patterns(texts: Vec<String>) -> Option<Vec<Pattern>> {
    (!texts.is_empty()).then(|| texts.into_iter().map(Pattern::new).collect())
}

async fn create(app: &App, new: &NewKey) -> Result<ExitCode, Failure> {
    let made = app
        .registry
        .create_api_key(new, &Actor::command_line())
        .await;
    match made.map_err(Failure::of)? {
        (Creation::Created(_), key) => say(&format!("{}\n", key.expose_secret())),
        (Creation::NameTaken, _) => Err(Failure::of("there is a key of that name; choose another")),
    }
}

async fn list(app: &App) -> Result<ExitCode, Failure> {
    for number in 1.. {
        let page = Page::new(number, PAGE_SIZE_MAX).map_err(Failure::of)?;
        let keys = app
            .registry
            .list_api_keys(page)
            .await
            .map_err(Failure::of)?;
        if keys.list.is_empty() {
            break;
        }
        for key in keys.list {
            let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
            let state = match key.revoked_at {
                Some(at) => format!("revoked {}", at.to_rfc3339()),
                None => key.expires_at.map_or("valid".to_owned(), |at| {
                    format!("until {}", at.to_rfc3339())
                }),
            };
            let (id, name, hint) = (key.id, key.name, key.hint);
            say(&format!(
                "{id}\t{name}\t{hint}…\t{}\t{state}\n",
                scopes.join(",")
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(app: &App, id: i64) -> Result<ExitCode, Failure> {
    let revoked = app
        .registry
        .revoke_api_key(id, &Actor::command_line())
        .await;
    if revoked.map_err(Failure::of)? {
        say("revoked\n")
    } else {
        Err(Failure::of("there is no such key that is not revoked"))
    }
}

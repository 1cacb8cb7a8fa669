//! The command `export`: realms and secrets as files for `realm apply` and `secret apply`. Values
//! are sealed under the server's own keys, unless somebody at a terminal says otherwise.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::context::{open, say, start_logging};
use super::failure::{CommandFailure, EXIT_REFUSED};
use super::written::{file_name, make_folder, pretty, write};
use crate::app::App;
use crate::config::Settings;
use crate::foundation::ids::{RealmId, SecretId};
use crate::foundation::logging::on_one_line;
use crate::foundation::sealing::KeyRing;
use crate::registry::{Actor, ExportedSecret};
use crate::secret::exported::{ExportedPart, ExportedPlace};

/// What is typed to have values written as they are.
const CONFIRMATION: &str = "in the clear";
/// The folders of what is written.
const REALMS: &str = "realms";
const SECRETS: &str = "secrets";

#[derive(Args)]
pub struct ExportArguments {
    /// One realm only; several by giving it more than once
    #[arg(long = "realm", value_name = "REALM")]
    realms: Vec<String>,
    /// A new or empty folder
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// Write values as they are, once this is confirmed on a terminal; otherwise they are sealed
    #[arg(long)]
    plain: bool,
}

/// How values are written.
#[derive(Clone, Copy)]
enum Form<'a> {
    Sealed(&'a KeyRing),
    Plain,
}

/// What was written.
#[derive(Default)]
struct Written {
    realms: u64,
    secrets: u64,
    /// Secrets of which a provider has issued another refresh token.
    issued: u64,
    /// What was left out, and why.
    left_out: Vec<String>,
}

pub async fn run(
    settings: Settings,
    arguments: ExportArguments,
) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    let folder = &arguments.output;
    must_be_empty(folder)?;
    if arguments.plain {
        confirm(folder)?;
    }
    let app = open(settings).await?;
    let form = match arguments.plain {
        true => Form::Plain,
        false => Form::Sealed(&app.ring),
    };
    let written = export(&app, &arguments.realms, folder, form).await;
    app.close().await;
    tell(&written?, folder, arguments.plain)
}

/// What was there before is not mixed with credentials, nor overwritten.
fn must_be_empty(folder: &Path) -> Result<(), CommandFailure> {
    let refused = |what: &str| CommandFailure::of(format!("--output: {} {what}", folder.display()));
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(refused("is not empty: name a folder that is new or empty")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(&format!("cannot be read: {error}"))),
    }
}

/// Somebody at a terminal says so, no script.
fn confirm(folder: &Path) -> Result<(), CommandFailure> {
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(CommandFailure::of(
            "--plain writes credentials in the clear, and asks for a confirmation on a terminal: \
             there is none; without --plain the values are sealed",
        ));
    }
    let folder = folder.display();
    write!(
        output,
        "This writes the credentials of every secret to {folder}, readable by whoever can read \
         these files. Type \"{CONFIRMATION}\" to go on: "
    )
    .and_then(|()| output.flush())
    .map_err(CommandFailure::of)?;
    let mut typed = String::new();
    input
        .lock()
        .read_line(&mut typed)
        .map_err(CommandFailure::of)?;
    match typed.trim() {
        CONFIRMATION => Ok(()),
        _ => Err(CommandFailure::of("not confirmed: nothing was written")),
    }
}

async fn export(
    app: &App,
    named: &[String],
    folder: &Path,
    form: Form<'_>,
) -> Result<Written, CommandFailure> {
    let ids = match named.is_empty() {
        true => app.registry.realm_ids().await.map_err(CommandFailure::of)?,
        false => named.iter().cloned().map(RealmId::stored).collect(),
    };
    // Realms first: one that is not there leaves nothing behind.
    let mut written = Written::default();
    let mut realms = Vec::new();
    for id in ids {
        match app.registry.export_realm(&id).await {
            Ok(document) => realms.push((id, document)),
            Err(error) if named.is_empty() => {
                written.left_out.push(format!("realm {id}: {error}"));
            }
            Err(error) => return Err(CommandFailure::of(error)),
        }
    }
    let folders = [REALMS, SECRETS].map(|name| folder.join(name));
    for folder in &folders {
        make_folder(folder)?;
    }
    let [of_realms, of_secrets] = &folders;
    for (id, document) in realms {
        write(of_realms, &file_name(id.as_str()), &pretty(&document))?;
        written.realms += 1;
        let secrets = secrets_of(app, &id, form, &mut written).await?;
        if !secrets.is_empty() {
            let text = pretty(&Value::Array(secrets));
            write(of_secrets, &file_name(id.as_str()), &text)?;
        }
    }
    Ok(written)
}

async fn secrets_of(
    app: &App,
    realm: &RealmId,
    form: Form<'_>,
    written: &mut Written,
) -> Result<Vec<Value>, CommandFailure> {
    let by = Actor::command_line();
    let (mut after, mut all) = (SecretId(i64::MIN), Vec::new());
    loop {
        let some = app.registry.export_secrets(realm, after, &by).await;
        let some = some.map_err(CommandFailure::of)?;
        for (key, why) in some.left_out {
            written
                .left_out
                .push(format!("secret {realm}/{key}: {why}"));
        }
        for secret in some.secrets {
            written.secrets += 1;
            written.issued += u64::from(secret.has_issued_refresh_token);
            all.push(declared(&secret, form));
        }
        match some.next {
            Some(next) => after = next,
            None => return Ok(all),
        }
    }
}

/// A secret as `secret apply` reads it.
fn declared(exported: &ExportedSecret, form: Form<'_>) -> Value {
    let secret = &exported.secret;
    let value = |part: ExportedPart<'_>, value: &SecretString| match form {
        Form::Plain => json!(value.expose_secret()),
        Form::Sealed(ring) => {
            let place = ExportedPlace {
                realm: &secret.realm,
                key: &secret.key,
                part,
            };
            json!({"sealed": place.seal(value, ring)})
        }
    };
    let params = secret.params.iter();
    let params = params.map(|(name, param)| {
        let value = value(ExportedPart::Param(name), param);
        (name.to_owned(), value)
    });
    let params = Map::from_iter(params);
    let mut file = json!({
        "realm": secret.realm.as_str(), "key": secret.key.as_str(), "params": params,
    });
    if let Some((token, expires_at)) = &exported.token {
        file["token"] = value(ExportedPart::Token, token);
        if let Some(end) = expires_at {
            file["expires_at"] = json!(end.0);
        }
    }
    file
}

fn tell(written: &Written, folder: &Path, plain: bool) -> Result<ExitCode, CommandFailure> {
    let Written {
        realms,
        secrets,
        issued,
        left_out,
    } = written;
    let folder = folder.display();
    let form = match plain {
        true => "in the clear",
        false => "sealed",
    };
    say(&format!(
        "wrote {realms} realm(s) and {secrets} secret(s) ({form}) to {folder}\n\
         take them in with: token-server realm apply {folder}/{REALMS} && token-server secret apply {folder}/{SECRETS}\n"
    ))?;
    let mut told = String::new();
    if *issued > 0 {
        told.push_str(&format!(
            "{issued} secrets have refresh tokens that their providers have issued since: these are not in the files\n"
        ));
    }
    for what in left_out {
        told.push_str(&format!("left out: {}\n", on_one_line(what)));
    }
    std::io::stderr()
        .write_all(told.as_bytes())
        .map_err(CommandFailure::of)?;
    Ok(match left_out.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_REFUSED),
    })
}

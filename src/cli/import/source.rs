//! What is imported: the predecessor's database, or another token server's. Its tables say which.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::app::App;
use crate::app::source_ring::is_same_database;
use crate::cli::failure::CommandFailure;
use crate::cli::predecessor;
use crate::foundation::database::{Database, DbError, DbFault, Schema};

/// Whose tables a database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceKind {
    Predecessor,
    TokenServer,
}

/// Connects to it, a SQLite file that is there; answers also which.
pub(super) async fn connect(
    app: &App,
    url: SecretString,
) -> Result<(Database, Option<PathBuf>), CommandFailure> {
    let refused =
        |error: &dyn std::fmt::Display| CommandFailure::of(format!("the URL of import: {error}"));
    let settings = app.settings.database.of_another(url);
    let settings = settings.map_err(|error| refused(&error))?;
    let file = settings.file().map(Path::to_owned);
    if let Some(file) = file.as_ref().filter(|file| !file.exists()) {
        return Err(refused(&format!("there is no file {}", file.display())));
    }
    let source = Box::pin(Database::connect(&settings, app.clock.clone())).await;
    Ok((source.map_err(|error| refused(&error))?, file))
}

/// Says whose tables it holds.
pub(super) async fn recognise(app: &App, source: &Database) -> Result<SourceKind, CommandFailure> {
    let address = source.address();
    let failed = |error: DbError| {
        let fault = DbFault::of(&error, address);
        CommandFailure::of(format!("the database {address} cannot be read: {fault}"))
    };
    let schema = source.schema().await;
    let schema = schema.map_err(|error| failed(error.into()))?;
    let is_own = schema != Schema::Absent
        && is_same_database(source, &app.database)
            .await
            .map_err(failed)?;
    let is_predecessor = predecessor::is_there(source).await;
    match (
        schema,
        is_predecessor.map_err(|error| failed(error.into()))?,
    ) {
        (Schema::Absent, true) => Ok(SourceKind::Predecessor),
        // Its tables stand beside this server's.
        (_, true) if is_own => Ok(SourceKind::Predecessor),
        (_, false) if is_own => Err(CommandFailure::of(format!(
            "{address} is this server's own database: name the one that is to be imported"
        ))),
        (Schema::Current, _) => Ok(SourceKind::TokenServer),
        (Schema::Older, _) => Err(CommandFailure::of(format!(
            "the schema of {address} is of an older version: start this version of the server \
             there once, which brings it up to date, and run this again"
        ))),
        (Schema::Newer, _) => Err(CommandFailure::of(format!(
            "the schema of {address} is of a newer version: import with the program of that version"
        ))),
        (Schema::Absent, false) => Err(CommandFailure::of(format!(
            "the database {address} holds no tables of a token server, and no tables of the \
             predecessor: realm(id, config, logic_code, comment) and secret(key, realm, key_1 to \
             key_5, token, expires_at)"
        ))),
    }
}

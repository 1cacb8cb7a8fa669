//! The commands `rotate-key` and `forget-key`.

use std::process::ExitCode;

use super::context::{ambient, must_be_there, open, say, start_logging};
use super::failure::CommandFailure;
use crate::app::{self, ForgottenKeys};
use crate::config::Settings;
use crate::foundation::database::DbFault;
use crate::foundation::sealing::Resealed;
use crate::foundation::sealing_choice;
use crate::foundation::sealing_keys;
use crate::registry::{Actor, RotateError};

/// Seals everything with one key: the one that is named, or the first of the configuration.
pub async fn rotate(settings: Settings, id: Option<String>) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    let app = open(settings).await?;
    let first = app.ring.key_ids().next().map(str::to_owned);
    let id = id.or(first).unwrap_or_default();
    let told = |pass: Resealed| {
        tracing::info!(
            name: "sealing.rotated",
            values = pass.values,
            closed = pass.closed,
            key = id,
            "sealed anew"
        );
    };
    let by = Actor::command_line();
    let rotated = app.registry.rotate_sealing_key(&id, &by, told).await;
    app.close().await;
    let rotated = rotated.map_err(|error| {
        CommandFailure::of(match error {
            RotateError::LackedHere => {
                format!("sealing.keys holds no key {id:?}: put it there on every server first")
            }
            RotateError::LackedBy(lacking) => format!(
                "nothing was changed: servers that run lack the key {id:?}: {}; put it into \
                 sealing.keys there, and restart them; one that ended without a word counts for \
                 half a minute",
                sealing_choice::shown(&lacking)
            ),
            RotateError::Database(error) => {
                let address = app.database.address();
                format!(
                    "the database {address} failed: {}; run this again, and it goes on",
                    DbFault::of(&error, address)
                )
            }
        })
    })?;
    let mut text = format!(
        "{} value(s) were sealed anew with {id:?}\n",
        rotated.sealed_anew
    );
    for key in &rotated.uses {
        text.push_str(&format!("{:?}: {} value(s)\n", key.key_id, key.values));
    }
    text.push_str(&format!(
        "not counted: what is in the spools of servers; each that runs seals its own anew with {id:?}, and one that does not run does so when it starts\n"
    ));
    say(&text)?;
    let mut others = rotated.uses.iter().filter(|key| key.key_id != id);
    let is_whole = others.all(|key| key.values == 0);
    Ok(ExitCode::from(u8::from(!is_whole)))
}

/// Gives up what was sealed with a key that is lost for good, or with all that are lacked.
pub async fn forget(settings: Settings, id: Option<String>) -> Result<ExitCode, CommandFailure> {
    start_logging(&settings, None)?;
    must_be_there(&settings)?;
    let (clock, randomness) = ambient(&settings)?;
    match app::forget_keys(&settings, &clock, &randomness, id.as_deref()).await? {
        ForgottenKeys::GivenUp(uses) if uses.is_empty() => say("no key is lacked\n"),
        ForgottenKeys::GivenUp(uses) => say(&format!(
            "given up, with what was sealed with it: {}; save realms and secrets again, make new \
             API keys, and set another admin_key (or delete admin.key in data_dir)\n",
            sealing_keys::shown(&uses)
        )),
        ForgottenKeys::IsHere => Err(CommandFailure::of(
            "that key is in sealing.keys: nothing is lost",
        )),
        ForgottenKeys::Unknown(known) => Err(CommandFailure::of(format!(
            "no value was sealed with a key of that ID; known are {}",
            known.join(", ")
        ))),
    }
}

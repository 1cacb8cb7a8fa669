//! What is done to a database without opening all that serving needs: its schema is brought up to
//! date, and sealing keys are given up.

use std::path::Path;

use super::ring::{self, ForgottenKeys};
use super::start_error::StartError;
use super::{data_dir, schema};
use crate::config::Settings;
use crate::foundation::clock::SharedClock;
use crate::foundation::database::Database;
use crate::foundation::randomness::Randomness;
use crate::foundation::replica::Replica;

pub(super) async fn connect(
    settings: &Settings,
    clock: &SharedClock,
) -> Result<Database, StartError> {
    data_dir::keep_private(settings)?;
    let connecting = Database::connect(&settings.database, clock.clone());
    Ok(Box::pin(connecting).await?)
}

/// Brings the schema up to date without opening anything else.
pub async fn migrate(
    settings: &Settings,
    clock: &SharedClock,
    randomness: &Randomness,
) -> Result<usize, StartError> {
    let database = connect(settings, clock).await?;
    let replica = take_replica(&settings.data_dir, randomness)?;
    let migrated = database.migrate(clock.as_ref(), &replica.id).await;
    database.close().await;
    migrated.map_err(|error| StartError::from(error).at(database.address().clone()))
}

/// Gives up a sealing key that is lost for good, or all that are lacked, and what was sealed with
/// them.
pub async fn forget_keys(
    settings: &Settings,
    clock: &SharedClock,
    randomness: &Randomness,
    id: Option<&str>,
) -> Result<ForgottenKeys, StartError> {
    let database = connect(settings, clock).await?;
    let forgetting = async {
        schema::must_be_there(&database).await?;
        let replica = take_replica(&settings.data_dir, randomness)?;
        database.migrate(clock.as_ref(), &replica.id).await?;
        let by = (clock, randomness, &replica.id);
        ring::forget_keys(settings, &database, by, id).await
    };
    let forgotten = forgetting.await;
    database.close().await;
    forgotten.map_err(|error| error.at(database.address().clone()))
}

pub(super) fn take_replica(
    data_dir: &Path,
    randomness: &Randomness,
) -> Result<Replica, StartError> {
    Replica::take(data_dir, randomness).map_err(|source| StartError::File {
        path: data_dir.to_owned(),
        source,
    })
}

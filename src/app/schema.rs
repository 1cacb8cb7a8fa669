//! The schema of the database, brought up to date or only looked at.

use super::start_error::StartError;
use crate::foundation::clock::SharedClock;
use crate::foundation::database::{Database, DbError, Schema};
use crate::foundation::ids::ReplicaId;

pub(super) async fn bring_up_to_date(
    database: &Database,
    clock: &SharedClock,
    replica: &ReplicaId,
) -> Result<(), StartError> {
    let steps = database.migrate(clock.as_ref(), replica).await?;
    if steps > 0 {
        tracing::info!(
            name: "database.migrated",
            database = %database.address(),
            steps,
            "the schema was brought up to date"
        );
    }
    Ok(())
}

pub(super) async fn must_be_up_to_date(database: &Database) -> Result<(), StartError> {
    match database.schema().await.map_err(DbError::from)? {
        Schema::Current | Schema::Newer => Ok(()),
        Schema::Older => Err(StartError::OldSchema(database.address().clone())),
        Schema::Absent => Err(no_schema(database)),
    }
}

/// Nothing is made in an empty database: its name may be mistyped.
pub(super) async fn must_be_there(database: &Database) -> Result<(), StartError> {
    match database.schema().await.map_err(DbError::from)? {
        Schema::Absent => Err(no_schema(database)),
        Schema::Current | Schema::Older | Schema::Newer => Ok(()),
    }
}

fn no_schema(database: &Database) -> StartError {
    StartError::NoSchema(Box::new(database.address().clone()))
}

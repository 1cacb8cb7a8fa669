//! The sealing keys of another token server's database.

use std::path::Path;

use sea_orm::EntityTrait;
use secrecy::SecretString;
use token_server_entity::sealing_key;

use super::key_check::checked;
use super::key_file::{SEALING_KEYS_FILE, read_secret};
use super::key_proof::opens_stored;
use super::start_error::StartError;
use crate::foundation::database::{Database, DbError};
use crate::foundation::private;
use crate::foundation::randomness::Randomness;
use crate::foundation::sealing::{KeyRing, KeyRingError};
use crate::foundation::sealing_keys;

/// Why another database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceRingError {
    #[error("the sealing keys of the database that is imported: an entry {0}")]
    Keys(#[from] KeyRingError),
    #[error(
        "these sealing keys of what is stored there are not among those that were given: {0}; where one is lost for good, `token-server forget-key ID` of that server gives up what was sealed with it"
    )]
    Lacks(String),
    #[error("the sealing key of id {0:?} is not the one that values there were sealed with")]
    Wrong(String),
    #[error("the database failed: {0}")]
    Database(#[from] DbError),
}

/// Opens the ring of another database, where it has every key of what is stored there. Nothing is
/// written.
pub async fn open_source_ring(
    keys: &SecretString,
    database: &Database,
    randomness: &Randomness,
) -> Result<KeyRing, SourceRingError> {
    let ring = KeyRing::parse(keys, randomness.clone())?;
    let reader = database.reader();
    let lacked = sealing_keys::lacked(reader, &ring).await;
    let lacked = lacked.map_err(DbError::from)?;
    if !lacked.is_empty() {
        return Err(SourceRingError::Lacks(sealing_keys::shown(&lacked)));
    }
    let checks = sealing_key::Entity::find().all(reader).await;
    for row in checks.map_err(DbError::from)? {
        let is_own = ring.key_ids().any(|id| id == row.key_id);
        if !is_own || checked(&ring, &row).is_some() {
            continue;
        }
        let opens = opens_stored(&ring, &row.key_id, database).await;
        if !matches!(opens, Ok(Some(true))) {
            return Err(SourceRingError::Wrong(row.key_id));
        }
    }
    Ok(ring)
}

/// Whether a database is the one of these check values: each was sealed once, for one database.
pub async fn is_same_database(one: &Database, other: &Database) -> Result<bool, DbError> {
    let values = async |database: &Database| {
        let rows = sealing_key::Entity::find().all(database.reader()).await?;
        let mut values: Vec<_> = rows.into_iter().map(|row| row.check_value.0).collect();
        values.sort_unstable();
        Ok::<_, DbError>(values)
    };
    let (one, other) = (values(one).await?, values(other).await?);
    Ok(!one.is_empty() && one == other)
}

/// Sealing keys in a file; none where there is no such file.
pub fn keys_in(file: &Path) -> Result<Option<SecretString>, StartError> {
    private::check_key_file(file)?;
    read_secret(file)
}

/// The file of keys beside a SQLite database whose server was given none.
pub fn keys_beside(database: &Path) -> Result<Option<SecretString>, StartError> {
    match database.parent() {
        Some(directory) => keys_in(&directory.join(SEALING_KEYS_FILE)),
        None => Ok(None),
    }
}

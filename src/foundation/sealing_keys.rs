//! The ids of sealing keys in the database. Each server registers those of its ring before it
//! seals anything, so an id that is not there is that of no key: it was damaged.

use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use token_server_entity::sealing_key;

use super::sealing::{Closed, OpenError};

/// Whether a value that stays closed is damaged, and not sealed with a key that another server
/// has or had.
pub async fn is_damaged(database: &impl ConnectionTrait, error: &OpenError) -> Result<bool, DbErr> {
    match &error.why {
        Closed::Refused | Closed::Malformed | Closed::Missing => Ok(true),
        Closed::UnknownKey(id) => Ok(!is_registered(database, id).await?),
    }
}

async fn is_registered(database: &impl ConnectionTrait, id: &str) -> Result<bool, DbErr> {
    let row = sealing_key::Entity::find_by_id(id).one(database).await?;
    // MySQL finds a name that ends in blanks by the name without.
    Ok(row.is_some_and(|row| row.key_id == id))
}

//! What goes with a realm or a secret that is deleted.

use sea_orm::{ConnectionTrait, DbErr};

use crate::foundation::ids::{KeyName, RealmId};
use crate::secret::store as secrets;
use crate::ticket::store as tickets;
use crate::token::removal::{self, Removed};

/// Secrets that are named; the others are counted.
const SECRETS_NAMED: u64 = 20;

/// What was deleted with a realm or a secret, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    pub secrets: u64,
    /// The first of them, oldest first.
    pub named: Vec<KeyName>,
    pub removed: Removed,
    /// Tickets that the provider has pushed.
    pub tickets: u64,
}

impl Deletion {
    pub(super) async fn of_realm(
        database: &impl ConnectionTrait,
        realm: &RealmId,
    ) -> Result<Self, DbErr> {
        let first = secrets::list_in(database, realm, SECRETS_NAMED).await?;
        let named = first.into_iter().map(|row| KeyName::stored(row.key_name));
        Ok(Self {
            secrets: secrets::count_in(database, realm).await?,
            named: named.collect(),
            removed: removal::of_realm(database, realm).await?,
            tickets: tickets::count_in(database, realm).await?,
        })
    }

    pub(super) async fn of_secret(
        database: &impl ConnectionTrait,
        realm: &RealmId,
        key: &KeyName,
    ) -> Result<Self, DbErr> {
        Ok(Self {
            secrets: 1,
            named: vec![key.clone()],
            removed: removal::of_secret(database, realm, key).await?,
            tickets: 0,
        })
    }
}

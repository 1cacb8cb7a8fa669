//! Proves that a key is the one of its id by what is stored, whatever became of its check value.

use sea_orm::{Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use token_server_entity::{
    api_key, audit_chain, candidate, issuer, realm, secret, ticket as stored_ticket, token,
};

use super::start_error::StartError;
use crate::access::audit;
use crate::access::issuer::store as issuers;
use crate::access::store as api_keys;
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::RealmId;
use crate::foundation::sealing::KeyRing;
use crate::foundation::sealing_keys::is_made_with;
use crate::realm::store as realms;
use crate::secret::authentic as secrets;
use crate::ticket;
use crate::token::proof as tokens;

/// Rows of a table, made with one key, that are tried.
const PROOFS_MAX: u64 = 1000;

/// Whether anything that was sealed or authenticated under a key id opens: then the key is the one
/// of its id. None where nothing stored was made with it. Looks at every column of
/// `SEALED_COLUMNS`, until something opens.
pub(super) async fn opens_stored(
    ring: &KeyRing,
    key_id: &str,
    database: &Database,
) -> Result<Option<bool>, StartError> {
    let proof = proof(ring, key_id, database.reader()).await;
    Ok(proof.map_err(DbError::from)?)
}

async fn proof(
    ring: &KeyRing,
    key_id: &str,
    reader: &impl ConnectionTrait,
) -> Result<Option<bool>, DbErr> {
    let mut found = Found {
        reader,
        key_id,
        opens: None,
    };
    found
        .look::<realm::Entity>(&[realm::Column::Mac], |row| {
            realms::verify(ring, &row).is_ok()
        })
        .await?;
    found
        .look::<api_key::Entity>(&[api_key::Column::Mac], |row| {
            api_keys::verify(ring, &row).is_ok()
        })
        .await?;
    found
        .look::<issuer::Entity>(&[issuer::Column::Mac], |row| {
            issuers::is_authentic(ring, &row).is_ok()
        })
        .await?;
    found
        .look::<audit_chain::Entity>(&[audit_chain::Column::SealedKey], |row| {
            audit::opens(&row, ring)
        })
        .await?;
    found
        .look::<secret::Entity>(&[secret::Column::Params, secret::Column::Mac], |row| {
            secrets::proves(&row, key_id, ring)
        })
        .await?;
    found
        .look::<stored_ticket::Entity>(&[stored_ticket::Column::Value], |row| {
            let realm = RealmId::stored(row.realm_id);
            ticket::open(&realm, &row.app_id, &row.value, ring).is_ok()
        })
        .await?;
    let columns = [
        token::Column::Token,
        token::Column::Served,
        token::Column::Extra,
        token::Column::RefreshToken,
        token::Column::Mac,
    ];
    found
        .look::<token::Entity>(&columns, |row| tokens::opens(row, key_id, ring))
        .await?;
    let columns = [
        candidate::Column::Token,
        candidate::Column::Served,
        candidate::Column::Extra,
        candidate::Column::RefreshToken,
    ];
    found
        .look::<candidate::Entity>(&columns, |row| tokens::candidate_opens(row, key_id, ring))
        .await?;
    Ok(found.opens)
}

/// What was found under a key id so far.
struct Found<'a, C> {
    reader: &'a C,
    key_id: &'a str,
    opens: Option<bool>,
}

impl<C: ConnectionTrait> Found<'_, C> {
    /// Looks at a table, unless something has opened already.
    async fn look<E: EntityTrait>(
        &mut self,
        columns: &[E::Column],
        opens: impl Fn(E::Model) -> bool,
    ) -> Result<(), DbErr> {
        if self.opens == Some(true) {
            return Ok(());
        }
        let made = columns.iter().fold(Condition::any(), |any, column| {
            any.add(is_made_with(*column, self.key_id))
        });
        let rows = E::find()
            .filter(made)
            .limit(PROOFS_MAX)
            .all(self.reader)
            .await?;
        if !rows.is_empty() {
            self.opens = Some(rows.into_iter().any(opens));
        }
        Ok(())
    }
}

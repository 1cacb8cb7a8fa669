//! Tokens derived from tokens: whose parent a secret has, and that no chain of parents
//! comes back to where it began.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr};

use super::Registry;
use crate::foundation::ids::{KeyName, RealmId};
use crate::realm::document::ProviderDocument;
use crate::realm::{Realm, Source, store as realms};
use crate::secret::params::Params;
use crate::secret::{Secret, store as secrets};

/// The longest chain of tokens derived from each other.
const CHAIN_MAX: usize = 8;

/// The parents that realms are about to have, by id: none where a realm is about to have none.
pub(super) type PlannedParents = BTreeMap<String, Option<String>>;

/// What is wrong with a chain of parents.
pub(super) type Chain = Option<String>;

impl Registry {
    /// Follows the parents of a secret that is about to be stored. What is not registered
    /// yet ends the chain.
    pub(super) async fn faulty_chain(
        &self,
        database: &impl ConnectionTrait,
        realm: &RealmId,
        key: &KeyName,
        document: &ProviderDocument,
        params: &Params,
    ) -> Result<Chain, DbErr> {
        let mut chain = vec![(realm.clone(), key.clone())];
        let mut next = self.upstream.parent_name(document, params);
        while let Some((realm, key)) = next {
            let comes_back = chain.contains(&(realm.clone(), key.clone()));
            chain.push((realm.clone(), key.clone()));
            if comes_back {
                return Ok(Some(format!("makes a cycle of parents: {}", shown(&chain))));
            }
            if chain.len() > CHAIN_MAX {
                return Ok(Some(format!(
                    "makes a chain of more than {CHAIN_MAX} parents"
                )));
            }
            next = self.parent_of(database, &realm, &key).await?;
        }
        Ok(None)
    }

    async fn parent_of(
        &self,
        database: &impl ConnectionTrait,
        realm: &RealmId,
        key: &KeyName,
    ) -> Result<Option<(RealmId, KeyName)>, DbErr> {
        let (row, secret) = (
            realms::find(database, realm).await?,
            secrets::find(database, realm, key).await?,
        );
        let Some((row, secret)) = row.zip(secret) else {
            return Ok(None);
        };
        let read = Realm::from_row(row, &self.expressions, &self.ring).ok();
        let opened = Secret::open(secret, &self.ring).ok();
        let Some((read, secret)) = read.zip(opened) else {
            return Ok(None);
        };
        Ok(match &read.source {
            Source::Provider(document) => self.upstream.parent_name(document, &secret.params),
            Source::CustomLogic(_) | Source::Fixed => None,
        })
    }

    /// Follows the realms that a document names literally as its parents: a realm that
    /// derives from itself could never have a token. What is planned counts instead of what is
    /// stored.
    pub(super) async fn faulty_realms(
        &self,
        database: &impl ConnectionTrait,
        id: &RealmId,
        document: &ProviderDocument,
        planned: &PlannedParents,
    ) -> Result<Chain, DbErr> {
        let mut chain = vec![id.to_string()];
        let mut next = literal_parent(document);
        while let Some(realm) = next {
            let comes_back = chain.contains(&realm);
            chain.push(realm.clone());
            if comes_back {
                return Ok(Some(format!(
                    "makes a cycle of parents: {}",
                    chain.join(" → ")
                )));
            }
            if chain.len() > CHAIN_MAX {
                return Ok(Some(format!(
                    "makes a chain of more than {CHAIN_MAX} parents"
                )));
            }
            if let Some(parent) = planned.get(&realm) {
                next = parent.clone();
                continue;
            }
            let row = realms::find(database, &RealmId::stored(realm)).await?;
            let read = row.and_then(|row| Realm::from_row(row, &self.expressions, &self.ring).ok());
            next = read.and_then(|read| parent_realm(&read.source));
        }
        Ok(None)
    }
}

/// The realm that a realm names literally as its parent.
pub(super) fn parent_realm(source: &Source) -> Option<String> {
    match source {
        Source::Provider(document) => literal_parent(document),
        Source::CustomLogic(_) | Source::Fixed => None,
    }
}

fn literal_parent(document: &ProviderDocument) -> Option<String> {
    let realm = document.parent.as_ref()?.realm.as_literal()?;
    Some(realm.to_owned())
}

fn shown(chain: &[(RealmId, KeyName)]) -> String {
    let names = chain.iter().map(|(realm, key)| format!("{realm}/{key}"));
    names.collect::<Vec<_>>().join(" → ")
}

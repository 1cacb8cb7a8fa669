//! Takes in what another token server has registered. What is here already is left as it is.

use sea_orm::{ConnectionTrait, DbErr};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::realms::merged;
use super::{Actor, RealmPatch, Refusal, Registry, RegistryError, SecretPatch};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::{Abort, DbError};
use crate::realm::store as realms;
use crate::realm::{Fault, Realm};
use crate::secret::params::{ParamChange, Params};
use crate::secret::{Secret, store};
use crate::token::store as tokens;

/// What became of a row that was to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    Taken,
    /// It is here as it is there.
    Unchanged,
    /// It is here, and the parts that are named differ. It is left as it is.
    Changed(Vec<&'static str>),
    Refused(String),
}

/// Whether an import is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Everything is done as it would be, and rolled back.
    Rehearse,
    Keep,
}

/// Why the transaction of an import ends without being kept.
pub(crate) enum Unkept<T> {
    Rehearsed(T),
    Failed(RegistryError),
}

impl<T> From<DbErr> for Unkept<T> {
    fn from(error: DbErr) -> Self {
        Self::Failed(error.into())
    }
}

impl<T> From<DbError> for Unkept<T> {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: Send> Abort for Unkept<T> {
    fn failure(&self) -> Option<&DbError> {
        match self {
            Self::Failed(error) => error.failure(),
            Self::Rehearsed(_) => None,
        }
    }
}

impl Pass {
    pub(crate) fn end<T>(self, done: T) -> Result<T, Unkept<T>> {
        match self {
            Self::Keep => Ok(done),
            Self::Rehearse => Err(Unkept::Rehearsed(done)),
        }
    }
}

pub(crate) fn done<T>(ended: Result<T, Unkept<T>>) -> Result<T, RegistryError> {
    match ended {
        Ok(done) | Err(Unkept::Rehearsed(done)) => Ok(done),
        Err(Unkept::Failed(error)) => Err(error),
    }
}

impl Registry {
    /// Makes a realm, unless it is here.
    ///
    /// # Errors
    ///
    /// The database failed. A realm that is refused is no error.
    pub async fn import_realm(
        &self,
        patch: &RealmPatch,
        pass: Pass,
        by: &Actor,
    ) -> Result<Imported, RegistryError> {
        let now = self.clock.now();
        let ended = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let realm = self.import_realm_in(transaction, patch, by, now).await;
                    pass.end(realm.map_err(Unkept::Failed)?)
                })
            })
            .await;
        done(ended)
    }

    /// Makes secrets with their tokens in one transaction, but for those that are here. In a
    /// rehearsal the realms are made first.
    ///
    /// # Errors
    ///
    /// The database failed. A secret that is refused is no error.
    pub async fn import_secrets(
        &self,
        realms: &[RealmPatch],
        secrets: &[SecretPatch],
        pass: Pass,
        by: &Actor,
    ) -> Result<Vec<Imported>, RegistryError> {
        let now = self.clock.now();
        let ended = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    if pass == Pass::Rehearse {
                        for patch in realms {
                            let realm = self.import_realm_in(transaction, patch, by, now).await;
                            realm.map_err(Unkept::Failed)?;
                        }
                    }
                    let mut imported = Vec::new();
                    for patch in secrets {
                        let secret = self.import_secret_in(transaction, patch, by, now).await;
                        imported.push(secret.map_err(Unkept::Failed)?);
                    }
                    pass.end(imported)
                })
            })
            .await;
        let imported = done(ended)?;
        if pass == Pass::Keep {
            self.wake.notify_one();
        }
        Ok(imported)
    }

    async fn import_realm_in(
        &self,
        transaction: &impl ConnectionTrait,
        patch: &RealmPatch,
        by: &Actor,
        now: EpochMs,
    ) -> Result<Imported, RegistryError> {
        let Some(row) = realms::find_locked(transaction, &patch.id).await? else {
            return taken(self.merge_realm(transaction, patch, by, now).await);
        };
        let there = merged(patch.clone(), None);
        // The order of fields is the database's.
        let value =
            |text: Option<&String>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let differing = [
            (
                "its authentication",
                realms::verify(&self.ring, &row).is_err(),
            ),
            (
                "config",
                value(there.config.as_ref()) != value(row.config.as_ref()),
            ),
            ("logic_code", there.logic_code != row.logic_code),
            ("comment", there.comment != row.comment),
        ];
        Ok(compared(&differing))
    }

    async fn import_secret_in(
        &self,
        transaction: &impl ConnectionTrait,
        patch: &SecretPatch,
        by: &Actor,
        now: EpochMs,
    ) -> Result<Imported, RegistryError> {
        // Nobody makes the secret meanwhile.
        let realm = realms::find_locked(transaction, &patch.realm).await?;
        let Some(row) = store::find(transaction, &patch.realm, &patch.key).await? else {
            return taken(self.merge_secret(transaction, patch, by, now).await);
        };
        let Ok(secret) = Secret::open(row, &self.ring) else {
            return Ok(Imported::Changed(vec![
                "params, which this server cannot open",
            ]));
        };
        let realm = realm.map(|row| Realm::from_row(row, &self.expressions, &self.ring));
        // Any other token was renewed since, or will be.
        let is_fixed = matches!(&realm, Some(Ok(realm)) if realm.source.is_fixed());
        let differing = [
            ("params", differ(&secret.params, patch)),
            (
                "token",
                is_fixed && self.has_other_token(transaction, patch).await?,
            ),
        ];
        Ok(compared(&differing))
    }

    pub(super) async fn has_other_token(
        &self,
        transaction: &impl ConnectionTrait,
        patch: &SecretPatch,
    ) -> Result<bool, DbErr> {
        let Some(sent) = &patch.token else {
            return Ok(false);
        };
        let record = tokens::find(transaction, &patch.realm, &patch.key).await?;
        let is_same = record.is_some_and(|record| {
            record.held.as_ref().is_some_and(|held| {
                let token = record.open_token(held, &self.ring);
                held.payload.expiry.at() == sent.expires_at
                    && token.is_ok_and(|token| token.expose_secret() == sent.token.expose_secret())
            })
        });
        Ok(!is_same)
    }
}

fn taken(made: Result<(), RegistryError>) -> Result<Imported, RegistryError> {
    match made {
        Ok(()) => Ok(Imported::Taken),
        Err(RegistryError::Refused(refusal)) => Ok(Imported::Refused(why(refusal))),
        Err(error) => Err(error),
    }
}

fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::Faults(faults) => in_one(&faults),
        refusal => refusal.to_string(),
    }
}

/// Faults as one text.
fn in_one(faults: &[Fault]) -> String {
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

fn compared(differing: &[(&'static str, bool)]) -> Imported {
    let parts: Vec<_> = differing
        .iter()
        .filter_map(|(part, differs)| differs.then_some(*part))
        .collect();
    match parts.is_empty() {
        true => Imported::Unchanged,
        false => Imported::Changed(parts),
    }
}

/// Whether parameters are others than those that would be made.
fn differ(here: &Params, patch: &SecretPatch) -> bool {
    let mut there = Params::default();
    there.merge(patch.params.iter().filter_map(|sent| match &sent.change {
        ParamChange::Set(value) => Some((sent.name.clone(), ParamChange::Set(value.clone()))),
        ParamChange::Clear => None,
    }));
    let plain = |params: &Params| {
        params
            .iter()
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect::<Vec<_>>()
    };
    let (here, there) = (plain(here), plain(&there));
    here.len() != there.len()
        || here
            .iter()
            .zip(&there)
            .any(|((name, value), (other, sent))| {
                name != other || value.expose_secret() != sent.expose_secret()
            })
}

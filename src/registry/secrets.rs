//! Secrets: listed, saved, paused, resumed and deleted, each change with its audit entry.

mod planning;
mod preview;
mod saving;

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr};
use secrecy::SecretString;
use serde_json::json;
use token_server_entity::realm as realm_row;

use super::changed::names_of;
use super::{Actor, Changed, Deletion, Refusal, Registry, RegistryError, values};
use crate::access::audit::Change;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::foundation::page::{Listed, Page};
use crate::realm::store as realms;
use crate::realm::{Realm, Warning};
use crate::secret::{Secret, store};
use crate::token::TokenRecord;
use crate::token::listing::{self, SecretFilter};
use crate::token::state::State;
use crate::token::{removal, store as tokens};
pub use planning::{ParamDifference, PlannedSecret, SecretFate};
pub use preview::SecretPreview;

/// A secret as it is shown.
#[derive(Clone, Debug)]
pub struct ListedSecret {
    pub record: TokenRecord,
    pub state: State,
    /// Its parameters, masked but for those that the realm declares not to be secret. None where
    /// this server lacks the key they were sealed with, or where they are damaged.
    pub shown: Option<BTreeMap<String, String>>,
    /// What is most likely not meant; not looked for in a list.
    pub warnings: Vec<Warning>,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
}

/// Renewal of one secret, switched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

impl Registry {
    pub async fn list_secrets(
        &self,
        page: Page,
        filter: &SecretFilter<'_>,
    ) -> Result<Listed<ListedSecret>, RegistryError> {
        let now = self.clock.now();
        let reader = self.database.reader();
        let records = listing::list(reader, page, filter, now).await?;
        let total = records.total;
        self.have_seen(&records.list);
        let list = self.with_secrets(reader, records.list, now, false).await?;
        Ok(Listed { list, total })
    }

    pub async fn secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
    ) -> Result<ListedSecret, RegistryError> {
        let reader = self.database.reader();
        let record = tokens::find(reader, realm, key).await?;
        let record = record.ok_or_else(|| unknown(realm, key))?;
        self.have_seen(std::slice::from_ref(&record));
        self.with_secret(reader, record, self.clock.now()).await
    }

    /// Who has seen a token here is never served an older one.
    fn have_seen(&self, records: &[TokenRecord]) {
        records.iter().for_each(|record| self.memory.seen(record));
    }

    async fn with_secret(
        &self,
        database: &impl ConnectionTrait,
        record: TokenRecord,
        now: EpochMs,
    ) -> Result<ListedSecret, RegistryError> {
        let (realm, key) = (record.realm.clone(), record.key.clone());
        let listed = self.with_secrets(database, vec![record], now, true).await?;
        Ok(listed
            .into_iter()
            .next()
            .ok_or_else(|| unknown(&realm, &key))?)
    }

    async fn with_secrets(
        &self,
        database: &impl ConnectionTrait,
        records: Vec<TokenRecord>,
        now: EpochMs,
        warned: bool,
    ) -> Result<Vec<ListedSecret>, DbErr> {
        let ids: Vec<SecretId> = records.iter().map(|record| record.secret_id).collect();
        let secrets = store::find_all(database, &ids).await?;
        let realm_ids = records.iter().map(|record| record.realm.as_str());
        let realms = realms::find_all(database, realm_ids).await?;
        let read = realms.iter().filter_map(|row| {
            let realm = Realm::from_row(row.clone(), &self.expressions, &self.ring).ok()?;
            Some((row.id.as_str(), realm.source))
        });
        let sources: BTreeMap<_, _> = read.collect();
        let listed = |record: TokenRecord| {
            let row = secrets.iter().find(|row| row.id == record.secret_id.0)?;
            let opened = Secret::open(row.clone(), &self.ring).ok();
            let source = sources.get(record.realm.as_str());
            let shown = |(name, value): (&str, &SecretString)| {
                (name.to_owned(), values::shown(source, name, value))
            };
            Some(ListedSecret {
                state: State::of(&record, is_fixed(&realms, &record.realm), now),
                warnings: match (source, &opened) {
                    (Some(source), Some(secret)) if warned => {
                        values::warnings(source, &secret.params)
                    }
                    _ => Vec::new(),
                },
                shown: opened.map(|secret| secret.params.iter().map(shown).collect()),
                created_at: row.created_at,
                updated_at: row.updated_at,
                record,
            })
        };
        Ok(records.into_iter().filter_map(listed).collect())
    }

    /// What would go with a secret that is deleted. Nothing is changed.
    ///
    /// # Errors
    ///
    /// There is no such secret, or the database failed.
    pub async fn preview_secret_deletion(
        &self,
        realm: &RealmId,
        key: &KeyName,
    ) -> Result<Deletion, RegistryError> {
        let reader = self.database.reader();
        let record = tokens::find(reader, realm, key).await?;
        record.ok_or_else(|| unknown(realm, key))?;
        Ok(Deletion::of_secret(reader, realm, key).await?)
    }

    /// Deletes a secret, and says what went with it.
    pub async fn delete_secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
        by: &Actor,
    ) -> Result<Deletion, RegistryError> {
        let now = self.clock.now();
        let (deleted, with_it) = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let record = tokens::find(transaction, realm, key).await?;
                    let record = record.ok_or_else(|| unknown(realm, key))?;
                    let row = store::find(transaction, realm, key).await?;
                    let opened = row.and_then(|row| Secret::open(row, &self.ring).ok());
                    let params = opened.map(|secret| names_of(&secret.params));
                    let with_it = Deletion::of_secret(transaction, realm, key).await?;
                    removal::delete(transaction, record.secret_id, now).await?;
                    store::delete(transaction, record.secret_id).await?;
                    let changed = Changed {
                        action: "secret.delete",
                        target: target(realm, key),
                        change: Change {
                            before: Some(json!({"params": params})),
                            after: None,
                        },
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok::<_, RegistryError>((record.secret_id, with_it))
                })
            })
            .await?;
        self.memory.changed(deleted);
        Ok(with_it)
    }

    /// Switches renewal of a secret off; its token is served while it is valid.
    pub async fn pause_secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
        by: &Actor,
    ) -> Result<ListedSecret, RegistryError> {
        self.switch_renewal(Switch::Off, realm, key, by).await
    }

    /// Switches renewal of a secret on again; it is due now.
    pub async fn resume_secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
        by: &Actor,
    ) -> Result<ListedSecret, RegistryError> {
        self.switch_renewal(Switch::On, realm, key, by).await
    }

    async fn switch_renewal(
        &self,
        switch: Switch,
        realm: &RealmId,
        key: &KeyName,
        by: &Actor,
    ) -> Result<ListedSecret, RegistryError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let record = tokens::find(transaction, realm, key).await?;
                    let record = record.ok_or_else(|| unknown(realm, key))?;
                    let action = match switch {
                        Switch::Off => {
                            tokens::pause(transaction, record.secret_id, now).await?;
                            "secret.pause"
                        }
                        Switch::On => {
                            let realms = realms::find_all(transaction, [realm.as_str()]).await?;
                            let due = (!is_fixed(&realms, realm)).then_some(now);
                            tokens::resume(transaction, record.secret_id, due, now).await?;
                            "secret.resume"
                        }
                    };
                    let state = FeedChange::State(record.secret_id);
                    feed::append(transaction, &[state]).await?;
                    let changed = Changed {
                        action,
                        target: target(realm, key),
                        change: Change {
                            before: Some(json!({"paused": record.paused})),
                            after: Some(json!({"paused": switch == Switch::Off})),
                        },
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        if switch == Switch::On {
            self.wake.notify_one();
        }
        self.secret(realm, key).await
    }
}

fn is_fixed(realms: &[realm_row::Model], id: &RealmId) -> bool {
    realms
        .iter()
        .find(|row| row.id == id.as_str())
        .is_some_and(|row| row.config.is_none() && row.logic_code.is_none())
}

fn unknown(realm: &RealmId, key: &KeyName) -> Refusal {
    Refusal::UnknownSecret {
        realm: realm.to_string(),
        key: key.to_string(),
    }
}

pub(super) fn target(realm: &RealmId, key: &KeyName) -> String {
    format!("{realm}/{key}")
}

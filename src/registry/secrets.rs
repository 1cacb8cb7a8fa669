//! Secrets: listed, saved, paused, resumed and deleted, each change with its audit entry.

mod planning;
mod saving;

use std::collections::BTreeMap;

use sea_orm::DbErr;
use serde_json::json;
use token_server_entity::realm as realm_row;

use super::changed::names_of;
use super::{Actor, Changed, Refusal, Registry, RegistryError, values};
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

/// A secret as it is shown.
#[derive(Clone, Debug)]
pub struct ListedSecret {
    pub record: TokenRecord,
    pub state: State,
    /// None where this server lacks the key they were sealed with, or where they are damaged.
    pub masked: Option<BTreeMap<String, String>>,
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
        let records = listing::list(self.database.reader(), page, filter, now).await?;
        let total = records.total;
        let list = self.with_secrets(records.list, now, false).await?;
        Ok(Listed { list, total })
    }

    pub async fn secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
    ) -> Result<ListedSecret, RegistryError> {
        let record = tokens::find(self.database.reader(), realm, key).await?;
        let record = record.ok_or_else(|| unknown(realm, key))?;
        let listed = self
            .with_secrets(vec![record], self.clock.now(), true)
            .await?;
        Ok(listed
            .into_iter()
            .next()
            .ok_or_else(|| unknown(realm, key))?)
    }

    async fn with_secrets(
        &self,
        records: Vec<TokenRecord>,
        now: EpochMs,
        warned: bool,
    ) -> Result<Vec<ListedSecret>, DbErr> {
        let reader = self.database.reader();
        let ids: Vec<SecretId> = records.iter().map(|record| record.secret_id).collect();
        let secrets = store::find_all(reader, &ids).await?;
        let realm_ids = records.iter().map(|record| record.realm.as_str());
        let realms = realms::find_all(reader, realm_ids).await?;
        // Who has seen a token here is never served an older one.
        records.iter().for_each(|record| self.memory.seen(record));
        let listed = |record: TokenRecord| {
            let row = secrets.iter().find(|row| row.id == record.secret_id.0)?;
            let opened = Secret::open(row.clone(), &self.ring).ok();
            Some(ListedSecret {
                state: State::of(&record, is_fixed(&realms, &record.realm), now),
                warnings: match (warned, &opened) {
                    (true, Some(secret)) => self.warnings_of_values(&realms, secret),
                    _ => Vec::new(),
                },
                masked: opened.map(|secret| secret.params.masked()),
                created_at: row.created_at,
                updated_at: row.updated_at,
                record,
            })
        };
        Ok(records.into_iter().filter_map(listed).collect())
    }

    fn warnings_of_values(&self, realms: &[realm_row::Model], secret: &Secret) -> Vec<Warning> {
        let row = realms.iter().find(|row| row.id == secret.realm.as_str());
        let realm =
            row.and_then(|row| Realm::from_row(row.clone(), &self.expressions, &self.ring).ok());
        realm.map_or_else(Vec::new, |realm| {
            values::warnings(&realm.source, &secret.params)
        })
    }

    pub async fn delete_secret(
        &self,
        realm: &RealmId,
        key: &KeyName,
        by: &Actor,
    ) -> Result<(), RegistryError> {
        let now = self.clock.now();
        let deleted = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let record = tokens::find(transaction, realm, key).await?;
                    let record = record.ok_or_else(|| unknown(realm, key))?;
                    let row = store::find(transaction, realm, key).await?;
                    let opened = row.and_then(|row| Secret::open(row, &self.ring).ok());
                    let params = opened.map(|secret| names_of(&secret.params));
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
                    Ok::<_, RegistryError>(record.secret_id)
                })
            })
            .await?;
        self.memory.changed(deleted);
        Ok(())
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

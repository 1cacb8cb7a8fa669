//! What is registered, to be written to files: realms as they are, and secrets with their values,
//! each with an entry in the audit.

use std::num::NonZeroU32;

use secrecy::SecretString;
use token_server_entity::{realm, secret};

use super::changed::content_of;
use super::realm_file::file_of;
use super::secrets::target;
use super::{Actor, Refusal, Registry, RegistryError};
use crate::access::audit::{AuditEntry, AuditOutcome, Change};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::realm::{UnreadableRealm, store as realms};
use crate::secret::{Secret, store as secrets};
use crate::token::store as tokens;

/// Secrets of one transaction.
const SECRETS_AT_ONCE: u64 = 100;

/// A secret with what is secret of it.
pub struct ExportedSecret {
    pub secret: Secret,
    /// The token of a realm of fixed tokens, while it is valid, and when it ends.
    pub token: Option<(SecretString, Option<EpochMs>)>,
    /// Whether a provider has issued another refresh token than the parameter.
    pub has_issued_refresh_token: bool,
}

/// Some secrets of a realm.
pub struct ExportedSecrets {
    pub secrets: Vec<ExportedSecret>,
    /// Keys of those that cannot be opened, and why.
    pub left_out: Vec<(String, String)>,
    /// After which the others come; none where there are no others.
    pub next: Option<SecretId>,
}

impl Registry {
    /// All realms by their names.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn realm_ids(&self) -> Result<Vec<RealmId>, RegistryError> {
        Ok(realms::all_ids(self.database.reader()).await?)
    }

    /// A realm as a file that `realm apply` takes back.
    ///
    /// # Errors
    ///
    /// It is not there, or nobody knows who wrote it.
    pub async fn export_realm(&self, id: &RealmId) -> Result<serde_json::Value, RegistryError> {
        let row = realms::find(self.database.reader(), id).await?;
        let row = row.ok_or_else(|| Refusal::UnknownRealm(id.to_string()))?;
        realms::verify(&self.ring, &row).map_err(|error| {
            let realm = id.clone();
            Refusal::from(UnreadableRealm::NotAuthentic { realm, error })
        })?;
        Ok(as_file(&row))
    }

    /// Secrets of a realm after one of them, with an entry in the audit for each.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn export_secrets(
        &self,
        realm: &RealmId,
        after: SecretId,
        by: &Actor,
    ) -> Result<ExportedSecrets, RegistryError> {
        let now = self.clock.now();
        self.database
            .write(|transaction, _| {
                Box::pin(async move {
                    let rows =
                        secrets::list_in_after(transaction, realm, after, SECRETS_AT_ONCE).await?;
                    let is_fixed = realms::find(transaction, realm)
                        .await?
                        .is_some_and(is_fixed);
                    let mut exported = ExportedSecrets {
                        next: rows.last().map(|row| SecretId(row.id)),
                        secrets: Vec::new(),
                        left_out: Vec::new(),
                    };
                    let mut entries = Vec::new();
                    for row in rows {
                        let entry = looked_at(&row, by, now);
                        let key = row.key_name.clone();
                        let secret = match Secret::open(row, &self.ring) {
                            Ok(secret) => secret,
                            Err(closed) => {
                                exported.left_out.push((key, closed.to_string()));
                                continue;
                            }
                        };
                        entries.push(entry);
                        let record = tokens::find(transaction, realm, &secret.key).await?;
                        let held = record.as_ref().and_then(|record| {
                            let held = record.held.as_ref().filter(|_| is_fixed)?;
                            let end = held.payload.expiry.at();
                            let is_valid = end.is_none_or(|end| now < end);
                            is_valid.then(|| (record.open_token(held, &self.ring), end))
                        });
                        let token = match held {
                            None => None,
                            Some((Ok(token), end)) => Some((token, end)),
                            Some((Err(closed), _)) => {
                                exported.left_out.push((key, closed.to_string()));
                                continue;
                            }
                        };
                        exported.secrets.push(ExportedSecret {
                            secret,
                            token,
                            has_issued_refresh_token: record
                                .is_some_and(|record| record.refresh.is_some()),
                        });
                    }
                    self.audit.append(transaction, entries).await?;
                    Ok::<_, RegistryError>(exported)
                })
            })
            .await
    }
}

fn is_fixed(row: realm::Model) -> bool {
    row.config.is_none() && row.logic_code.is_none()
}

fn as_file(row: &realm::Model) -> serde_json::Value {
    let config = row.config.as_deref();
    let config = config.and_then(|text| serde_json::from_str(text).ok());
    file_of(&row.id, &content_of(row), config)
}

fn looked_at(row: &secret::Model, by: &Actor, at: EpochMs) -> AuditEntry {
    let realm = RealmId::stored(row.realm_id.clone());
    let key = KeyName::stored(row.key_name.clone());
    AuditEntry {
        at,
        actor: Some(by.name.clone()),
        action: "secret.export".to_owned(),
        target: target(&realm, &key),
        outcome: AuditOutcome::Done,
        detail: None,
        request_id: by.request_id.clone(),
        count: NonZeroU32::MIN,
        change: Change::default(),
    }
}

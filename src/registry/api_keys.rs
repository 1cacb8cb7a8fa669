//! API keys: listed, made, replaced and revoked, each change with its audit entry.

use secrecy::SecretString;

use super::changed::{of_new_key, of_revoked_key};
use super::{
    Actor, Changed, NAME, Refusal, Registry, RegistryError, SCOPES, check_expiry, check_patterns,
};
use crate::access::audit::Change;
use crate::access::key;
use crate::access::key_name::check_key_name;
use crate::access::scope::Scope;
use crate::access::store::{self, Bootstrap, Creation, ListedKey, NewKey};
use crate::foundation::database::DbError;
use crate::foundation::page::{Listed, Page};
use crate::foundation::sealing::OpenError;
use crate::realm::Fault;

/// What a key is that was to be the administrator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapKey {
    Good,
    /// The log says why.
    Refused,
    /// Another API key. Nothing was changed.
    IsAnother {
        id: i64,
        name: String,
    },
}

impl Registry {
    pub async fn list_api_keys(&self, page: Page) -> Result<Listed<ListedKey>, RegistryError> {
        Ok(store::list(self.database.reader(), &self.ring, page).await?)
    }

    /// Makes a key. It is answered here and stored nowhere.
    ///
    /// # Errors
    ///
    /// Where its expiry is not in the future, its name could be taken for another's, it would have a scope that concerns more than its
    /// patterns cover, or one that who makes it lacks, or would be good for longer or more often than what makes it, or the database fails.
    pub async fn create_api_key(
        &self,
        new: &NewKey,
        by: &Actor,
    ) -> Result<(Creation, SecretString), RegistryError> {
        let now = self.clock.now();
        check_expiry(new.expires_at, now)?;
        check_names(new)?;
        check_scopes(new, by)?;
        check_limits(new, by)?;
        let made = key::generate(&self.randomness);
        let secret = &made;
        let creation = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let creation = store::create(transaction, &self.ring, new, secret, now).await?;
                    if let Creation::Created(_) = creation {
                        let changed = Changed {
                            action: "api_key.create",
                            target: new.name.clone(),
                            change: of_new_key(new),
                        };
                        self.audit_change(transaction, by, changed, now).await?;
                    }
                    Ok::<_, DbError>(creation)
                })
            })
            .await?;
        Ok((creation, made))
    }

    /// Makes a key the administrator's of all replicas. Says so, here and in the audit, where
    /// another was that until now: who has that one is refused from now on. One that was revoked stays
    /// so, and one whose row somebody else changed is not taken.
    pub async fn set_bootstrap_key(&self, key: &SecretString) -> Result<BootstrapKey, DbError> {
        let now = self.clock.now();
        let set = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let set = store::set_bootstrap(transaction, &self.ring, key, now).await?;
                    let action = match &set {
                        Bootstrap::Made => Some("api_key.create"),
                        Bootstrap::Replaced => Some("api_key.replace"),
                        Bootstrap::Unchanged
                        | Bootstrap::Revoked
                        | Bootstrap::NotAuthentic { .. }
                        | Bootstrap::IsAnother { .. } => None,
                    };
                    if let Some(action) = action {
                        let by = &Actor::command_line();
                        let new = of_new_key(&store::bootstrap());
                        let changed = Changed {
                            action,
                            target: store::BOOTSTRAP_NAME.to_owned(),
                            change: match set {
                                // The same, but for the key itself.
                                Bootstrap::Replaced => Change {
                                    before: new.after.clone(),
                                    after: new.after,
                                },
                                _ => new,
                            },
                        };
                        self.audit_change(transaction, by, changed, now).await?;
                    }
                    Ok::<_, DbError>(set)
                })
            })
            .await?;
        match set {
            Bootstrap::Made | Bootstrap::Unchanged => Ok(BootstrapKey::Good),
            Bootstrap::IsAnother { id, name } => Ok(BootstrapKey::IsAnother { id, name }),
            Bootstrap::Replaced => {
                tracing::warn!(
                    name: "access.admin_key_replaced",
                    name = store::BOOTSTRAP_NAME,
                    "the administrator's key was replaced by the one of this replica's configuration"
                );
                self.memory.keys_changed();
                Ok(BootstrapKey::Good)
            }
            Bootstrap::Revoked => {
                tracing::warn!(
                    name: "access.admin_key_revoked",
                    name = store::BOOTSTRAP_NAME,
                    "the administrator's key of this replica's configuration was revoked, and stays so: configure another, or make one with api-key create"
                );
                Ok(BootstrapKey::Refused)
            }
            Bootstrap::NotAuthentic { id, error } => {
                let OpenError {
                    table, column, why, ..
                } = error;
                tracing::error!(
                    name: "access.admin_key_forged",
                    table, id, column, %why,
                    "the administrator's key of this server is refused: its row was not written by a token server with these sealing keys; set another admin_key, or delete admin.key in data_dir if that holds it"
                );
                Ok(BootstrapKey::Refused)
            }
        }
    }

    /// False where there is no such key, or it is revoked already.
    pub async fn revoke_api_key(&self, id: i64, by: &Actor) -> Result<bool, RegistryError> {
        let now = self.clock.now();
        let revoked = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let revoked = store::revoke(transaction, &self.ring, id, now).await?;
                    if let Some(key) = &revoked {
                        let changed = Changed {
                            action: "api_key.revoke",
                            target: id.to_string(),
                            change: of_revoked_key(key, now),
                        };
                        self.audit_change(transaction, by, changed, now).await?;
                    }
                    Ok::<_, DbError>(revoked.is_some())
                })
            })
            .await?;
        self.memory.keys_changed();
        Ok(revoked)
    }
}

/// Refuses a name that could be taken for another's, and patterns of what nobody sees.
fn check_names(new: &NewKey) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    if let Err(error) = check_key_name(&new.name) {
        faults.push(Fault::new(NAME, error.to_string()));
    }
    check_patterns("", &new.coverage, &mut faults);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Faults(faults)),
    }
}

/// Refuses scopes that do not fit patterns, and scopes that are not to be given.
fn check_scopes(new: &NewKey, by: &Actor) -> Result<(), Refusal> {
    if !new.coverage.is_everything() {
        let faults = new.scopes.iter().enumerate();
        let faults = faults.filter(|(_, scope)| scope.concerns_all());
        let faults: Vec<_> = faults
            .map(|(index, scope)| {
                let why = format!(
                    "must not be {scope}: it concerns all realms and secrets, and this key is \
                     limited to some"
                );
                Fault::new(format!("{SCOPES}/{index}"), why)
            })
            .collect();
        if !faults.is_empty() {
            return Err(Refusal::Faults(faults));
        }
    }
    let lacks = |scope: &&Scope| !by.rights.has(**scope);
    match new.scopes.iter().find(lacks) {
        None => Ok(()),
        Some(scope) => Err(Refusal::Denied(format!(
            "this API key lacks the scope {scope}, and gives only what it has"
        ))),
    }
}

/// Refuses a key that is good for longer, or for more calls, than the key that makes it.
fn check_limits(new: &NewKey, by: &Actor) -> Result<(), Refusal> {
    if let Some(end) = by.rights.expire_at()
        && new.expires_at.is_none_or(|expires_at| end < expires_at)
    {
        return Err(Refusal::Denied(format!(
            "this API key expires, and makes only keys that expire no later: give expires_at of at \
             most {}",
            end.0
        )));
    }
    let Some(most) = by.rights.held_to() else {
        return Ok(());
    };
    let has_own = by.rights.rate().is_some();
    let too_many = match new.rate {
        Some(rate) => most < rate,
        // It is held to the same as every key without a rate.
        None => has_own,
    };
    match (too_many, has_own) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::Denied(format!(
            "this API key has a rate, and makes only keys that have no higher one: give rate of at \
             most {most}"
        ))),
        (true, false) => Err(Refusal::Denied(format!(
            "this caller has no rate of its own and is held to access.key_rate, and makes only keys \
             that have no higher one: give rate of at most {most}, or none; a key that may make \
             more calls is made by one that has such a rate itself, or with token-server api-key \
             create"
        ))),
    }
}

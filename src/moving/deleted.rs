//! Secrets that are deleted there while a move lasts.

use super::secrets::name_of;
use super::{Move, MoveError, Name, failed};
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::registry::RegistryError;
use crate::secret::store as secret_store;
use crate::token::copying::stored_locked;
use crate::token::elsewhere::{RenewedElsewhere, Renewer, renewed_by};
use crate::token::removal;

const PAGE: u64 = 200;

impl Move<'_> {
    /// A secret was deleted there: so is its copy here, while that is one.
    pub(super) async fn forget(&mut self, id: SecretId) -> Result<(), MoveError> {
        let Some(known) = self.secrets.remove(&id) else {
            return Ok(());
        };
        let Some(here) = known.here.filter(|_| known.is_copy) else {
            return Ok(());
        };
        // Another of its name was made: that is copied over this one.
        if self.is_there(&known.name).await? {
            return Ok(());
        }
        self.delete_copy(here).await
    }

    async fn delete_copy(&mut self, here: SecretId) -> Result<(), MoveError> {
        let (this, now) = (&*self, self.clock.now());
        let deleted = self
            .target
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    this.keep(transaction).await?;
                    let row = stored_locked(transaction, here).await?;
                    let renewer = row.map(|row| row.renewer());
                    if renewer != Some(Renewer::Elsewhere(this.source.id.clone())) {
                        return Ok(None);
                    }
                    let rows = secret_store::find_all(transaction, &[here]).await?;
                    removal::delete(transaction, here, now).await?;
                    secret_store::delete(transaction, here).await?;
                    let name = rows.first().map(name_of);
                    if let Some(Name::Secret { realm, key }) = &name {
                        let entry = this.entry("secret.delete", format!("{realm}/{key}"), now);
                        this.audit.append(transaction, vec![entry]).await?;
                    }
                    Ok::<_, RegistryError>(name)
                })
            })
            .await;
        if let Some(name) = deleted.map_err(|error| self.failed_here(error))? {
            self.accounts.rows.remove(&name);
        }
        Ok(())
    }

    /// Deletes copies, of an earlier run also, whose secrets are there no longer.
    pub(super) async fn forget_deleted(&mut self) -> Result<(), MoveError> {
        let mut after = SecretId(i64::MIN);
        loop {
            self.keep_place().await?;
            let here = self.target.database.causal();
            let page = renewed_by(here, &self.source.id, after, PAGE).await;
            let page = page.map_err(|error| failed(&self.target.database, &error.into()))?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for RenewedElsewhere { id, realm, key, .. } in page {
                let (realm, key) = (RealmId::stored(realm), KeyName::stored(key));
                let there = self.source.database.causal();
                let found = secret_store::find(there, &realm, &key).await;
                if found
                    .map_err(|error| self.failed_there(&error.into()))?
                    .is_none()
                {
                    self.delete_copy(id).await?;
                }
            }
        }
        Ok(())
    }
}

use secrecy::SecretString;

use super::{Actor, Registry, RegistryError, note};
use crate::access::key;
use crate::access::store::{self, Creation, ListedKey, NewKey};
use crate::foundation::page::{Listed, Page};

impl Registry {
    pub async fn list_api_keys(&self, page: Page) -> Result<Listed<ListedKey>, RegistryError> {
        Ok(store::list(self.database.reader(), page).await?)
    }

    /// Makes a key. It is answered here and stored nowhere.
    pub async fn create_api_key(
        &self,
        new: &NewKey,
        by: &Actor,
    ) -> Result<(Creation, SecretString), RegistryError> {
        let now = self.clock.now();
        let made = key::generate(&self.randomness);
        let secret = &made;
        let creation = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let creation = store::create(transaction, new, secret, now).await?;
                    if let Creation::Created(_) = creation {
                        note(transaction, by, "api_key.create", new.name.clone(), now).await?;
                    }
                    Ok(creation)
                })
            })
            .await?;
        Ok((creation, made))
    }

    /// False where there is no such key, or it is revoked already.
    pub async fn revoke_api_key(&self, id: i64, by: &Actor) -> Result<bool, RegistryError> {
        let now = self.clock.now();
        let revoked = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    let revoked = store::revoke(transaction, id, now).await?;
                    if revoked {
                        note(transaction, by, "api_key.revoke", id.to_string(), now).await?;
                    }
                    Ok(revoked)
                })
            })
            .await?;
        self.memory.keys_changed();
        Ok(revoked)
    }
}

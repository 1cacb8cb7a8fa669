//! The administrator's key: as it is configured, or made at the first start and kept in a file.

use std::path::PathBuf;

use secrecy::SecretString;

use super::key_file::{ADMIN_KEY_FILE, read_secret, write_secret};
use super::{App, StartError};
use crate::access::key::{self, KeyHash};
use crate::access::store::{self as keys, FoundKey};
use crate::foundation::database::DbError;
use crate::registry::BootstrapKey;

impl App {
    /// Makes sure that somebody can administer the server. Answers the file a new key was
    /// written to.
    pub async fn ensure_admin_key(&self) -> Result<Option<PathBuf>, StartError> {
        let path = self.settings.data_dir.join(ADMIN_KEY_FILE);
        if let Some(key) = &self.settings.admin_key {
            self.set_bootstrap_key(key, || "admin_key".to_owned())
                .await?;
            return Ok(None);
        }
        let (reader, now) = (self.database.reader(), self.clock.now());
        let kept = read_secret(&path)?;
        if keys::has_admin(reader, &self.ring, now)
            .await
            .map_err(DbError::from)?
        {
            if let Some(key) = &kept {
                let good = keys::find_good(reader, &self.ring, &KeyHash::of(key), now).await;
                let good = good.map_err(DbError::from)?;
                if !matches!(good, FoundKey::Good(_)) {
                    tracing::warn!(
                        name: "access.admin_key_file_stale",
                        path = %path.display(),
                        "the key in this file is not good any more: another administrator's key is; delete the file, or set admin_key"
                    );
                }
            }
            return Ok(None);
        }
        let key = match kept {
            Some(key) => key,
            None => {
                let key = key::generate(&self.randomness);
                write_secret(&path, &key)?;
                key
            }
        };
        let place = || path.display().to_string();
        let is_good = self.set_bootstrap_key(&key, place).await?;
        Ok(is_good.then_some(path))
    }

    /// Answers whether the key is good.
    async fn set_bootstrap_key(
        &self,
        key: &SecretString,
        place: impl FnOnce() -> String,
    ) -> Result<bool, StartError> {
        match self.registry.set_bootstrap_key(key).await? {
            BootstrapKey::Good => Ok(true),
            BootstrapKey::Refused => Ok(false),
            BootstrapKey::IsAnother { id, name } => Err(StartError::AdminKeyIsAnother {
                place: place(),
                id,
                name,
            }),
        }
    }

    /// The administrator's key, where this server was given one or made one.
    pub fn admin_key(&self) -> Result<Option<SecretString>, StartError> {
        match &self.settings.admin_key {
            Some(key) => Ok(Some(key.clone())),
            None => read_secret(&self.settings.data_dir.join(ADMIN_KEY_FILE)),
        }
    }
}

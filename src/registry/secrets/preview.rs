//! What saving a secret would change: it is saved, looked at, and rolled back.

use super::{ListedSecret, ParamDifference, unknown};
use crate::realm::store as realms;
use crate::registry::importing::{Pass, Unkept, done};
use crate::registry::patch::SecretPatch;
use crate::registry::{Actor, Registry, RegistryError, SaveOutcome};
use crate::token::store as tokens;

/// A secret as it would be saved.
#[derive(Clone, Debug)]
pub struct SecretPreview {
    pub secret: ListedSecret,
    pub outcome: SaveOutcome,
    pub params: Vec<ParamDifference>,
    /// Whether it is given another token.
    pub has_other_token: bool,
}

impl Registry {
    /// What saving a secret would change. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The secret would be refused, or the database failed.
    pub async fn preview_secret(
        &self,
        patch: &SecretPatch,
        by: &Actor,
    ) -> Result<SecretPreview, RegistryError> {
        let now = self.clock.now();
        let ended = self.database.write(|transaction, _| {
            Box::pin(async move {
                let previewed = async {
                    let row = realms::find_locked(transaction, &patch.realm).await?;
                    let checked = self.check_secret(transaction, row, patch, (by, now));
                    let checked = checked.await?;
                    let has_other_token = self.has_other_token(transaction, patch).await?;
                    self.merge_secret(transaction, patch, by, now).await?;
                    let record = tokens::find(transaction, &patch.realm, &patch.key).await?;
                    let record = record.ok_or_else(|| unknown(&patch.realm, &patch.key))?;
                    Ok::<_, RegistryError>(SecretPreview {
                        secret: self.with_secret(transaction, record, now).await?,
                        outcome: checked.outcome(has_other_token),
                        params: checked.differences(),
                        has_other_token,
                    })
                };
                Pass::Rehearse.end(previewed.await.map_err(Unkept::Failed)?)
            })
        });
        done(ended.await)
    }
}

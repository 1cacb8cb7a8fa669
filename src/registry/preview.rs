//! What saving a realm would change, before it is saved; and the saves that somebody must want who
//! was told what follows.

use super::parents::PlannedParents;
use super::realms::CheckedRealm;
use super::{
    Actor, Lacking, PlannedRealm, RealmFate, RealmPatch, Refusal, Registry, RegistryError,
    SaveOutcome,
};
use crate::foundation::ids::Version;
use crate::realm::{Realm, store};

/// A realm as it would be saved.
#[derive(Debug)]
pub struct RealmPreview {
    pub realm: Realm,
    pub outcome: SaveOutcome,
    pub planned: PlannedRealm,
    pub lacking: Lacking,
}

impl Registry {
    /// What saving a realm would change. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The realm would be refused, or the database failed.
    pub async fn preview_realm(
        &self,
        patch: RealmPatch,
        by: &Actor,
    ) -> Result<RealmPreview, RegistryError> {
        let now = self.clock.now();
        let row = store::find(self.database.reader(), &patch.id).await?;
        let alone = PlannedParents::new();
        let planned = self.planned_good(patch, row.clone(), (by, &alone));
        let (planned, CheckedRealm { content, source }) = planned.await?;
        let lacking = self.lacking_secrets(&planned).await?;
        let config = content.config.as_deref();
        let realm = Realm {
            id: planned.id.clone(),
            comment: content.comment,
            config: config.and_then(|text| serde_json::from_str(text).ok()),
            logic_code: content.logic_code,
            source,
            version: Version(row.as_ref().map_or(1, |row| row.version + 1)),
            // A save lifts what held requests back.
            blocked_until: None,
            created_at: row.map_or(now, |row| row.created_at),
            updated_at: now,
        };
        let outcome = match planned.fate {
            RealmFate::Created(_) => SaveOutcome::New,
            RealmFate::Unchanged => SaveOutcome::Unchanged,
            RealmFate::Changed(_) | RealmFate::Deleted | RealmFate::Refused(_) => {
                SaveOutcome::Changed
            }
        };
        Ok(RealmPreview {
            realm,
            outcome,
            planned,
            lacking,
        })
    }

    /// Refuses a realm that would leave secrets without parameters that it comes to require. They are
    /// looked at before the transaction of the save, which stays short however many they are.
    pub(super) async fn must_leave_params(
        &self,
        patch: &RealmPatch,
        by: &Actor,
    ) -> Result<(), RegistryError> {
        let row = store::find(self.database.reader(), &patch.id).await?;
        let alone = PlannedParents::new();
        // What refuses it is told by the save.
        let planned = self.planned(patch.clone(), row, (by, &alone)).await?;
        let lacking = self.lacking_secrets(&planned).await?;
        let count = lacking.secrets.len();
        match lacking.secrets.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(Refusal::SecretsLackParams {
                count,
                first: first.key.to_string(),
                params: first.params.join(", "),
            }
            .into()),
        }
    }
}

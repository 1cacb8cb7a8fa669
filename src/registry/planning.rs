//! What files of realms make of those that are registered: worked out by reading alone, before
//! anything is changed.

use token_server_entity::realm;

use super::changed::content_of;
use super::difference::{self, Destination};
use super::parents::{PlannedParents, parent_realm};
use super::realms::{CheckedRealm, merged};
use super::{Actor, Confirmation, RealmPatch, Refusal, Registry, RegistryError};
use crate::foundation::ids::{KeyName, RealmId, SecretId};
use crate::realm::store::{self, RealmContent};
use crate::realm::{Fault, Realm, Warning};
use crate::secret::{Secret, store as secrets};

/// Secrets that are read at once.
const SECRETS_AT_ONCE: u64 = 500;

/// What is to become of a realm.
#[derive(Clone, Debug)]
pub enum RealmFate {
    Created(RealmPatch),
    Changed(RealmPatch),
    Unchanged,
    /// It stands in no file.
    Deleted,
    Refused(Vec<Fault>),
}

/// A realm, and what is to become of it.
#[derive(Clone, Debug)]
pub struct PlannedRealm {
    pub id: RealmId,
    pub fate: RealmFate,
    before: Option<RealmContent>,
    after: Option<RealmContent>,
    /// What it would require of its secrets, and does not yet.
    newly_required: Vec<String>,
}

/// A secret without values that its realm comes to require.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingSecret {
    pub key: KeyName,
    pub params: Vec<String>,
}

/// Secrets that a changed realm leaves without what it requires, and did not require before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    pub secrets: Vec<LackingSecret>,
    /// Those that this server cannot open.
    pub unknown: u64,
}

impl PlannedRealm {
    /// What of it says where credentials are sent, and differs.
    pub fn destinations(&self) -> Vec<Destination> {
        match self.fate {
            RealmFate::Created(_) | RealmFate::Changed(_) => {
                difference::destinations(self.before.as_ref(), self.after.as_ref())
            }
            RealmFate::Unchanged | RealmFate::Deleted | RealmFate::Refused(_) => Vec::new(),
        }
    }

    /// The realm as a file of it would be, before and after, without defaults of secret parameters.
    pub fn documents(&self) -> [Option<serde_json::Value>; 2] {
        let id = self.id.as_str();
        difference::masked_files(id, self.before.as_ref(), self.after.as_ref())
    }
}

impl Registry {
    /// What would become of the realms of these files; with `prune` also of those that stand in
    /// none. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The database failed. A realm that would be refused is no error.
    pub async fn plan_realms(
        &self,
        patches: Vec<RealmPatch>,
        prune: bool,
        by: &Actor,
    ) -> Result<Vec<PlannedRealm>, RegistryError> {
        let reader = self.database.reader();
        let mut found = Vec::new();
        let mut parents = PlannedParents::new();
        for patch in patches {
            let row = store::find(reader, &patch.id).await?;
            let content = merged(patch.clone(), row.as_ref());
            if let Ok(source) = self.read_content(&content) {
                parents.insert(patch.id.to_string(), parent_realm(&source));
            }
            found.push((patch, row));
        }
        let named: Vec<_> = found.iter().map(|(patch, _)| patch.id.clone()).collect();
        let mut plan = Vec::new();
        for (patch, row) in found {
            plan.push(self.planned(patch, row, (by, &parents)).await?);
        }
        if !prune {
            return Ok(plan);
        }
        for id in store::all_ids(reader).await? {
            if named.contains(&id) {
                continue;
            }
            let row = store::find(reader, &id).await?;
            let fate = match secrets::any_in(reader, &id).await? {
                true => RealmFate::Refused(vec![Fault::new(
                    "",
                    "stands in no file, and still has secrets: delete them first",
                )]),
                false => RealmFate::Deleted,
            };
            plan.push(PlannedRealm {
                id,
                fate,
                before: row.as_ref().map(content_of),
                after: None,
                newly_required: Vec::new(),
            });
        }
        Ok(plan)
    }

    pub(super) async fn planned(
        &self,
        patch: RealmPatch,
        row: Option<realm::Model>,
        (by, parents): (&Actor, &PlannedParents),
    ) -> Result<PlannedRealm, RegistryError> {
        let id = patch.id.clone();
        let before = row.as_ref().map(content_of);
        match self.planned_good(patch, row, (by, parents)).await {
            Ok((planned, _)) => Ok(planned),
            Err(RegistryError::Refused(refusal)) => Ok(PlannedRealm {
                id,
                fate: RealmFate::Refused(faults_of(refusal)),
                before,
                after: None,
                newly_required: Vec::new(),
            }),
            Err(error) => Err(error),
        }
    }

    /// A realm that may be saved, with what it would be.
    pub(super) async fn planned_good(
        &self,
        patch: RealmPatch,
        row: Option<realm::Model>,
        (by, parents): (&Actor, &PlannedParents),
    ) -> Result<(PlannedRealm, CheckedRealm), RegistryError> {
        let reader = self.database.reader();
        let id = patch.id.clone();
        let before = row.as_ref().map(content_of);
        let checked = self
            .check_realm(reader, &patch, row.as_ref(), (by, parents))
            .await?;
        let is_same = row.as_ref().is_some_and(|row| {
            store::verify(&self.ring, row).is_ok() && before.as_ref() == Some(&checked.content)
        });
        let fate = match &row {
            None => RealmFate::Created(patch),
            Some(_) if is_same => RealmFate::Unchanged,
            Some(_) => RealmFate::Changed(patch),
        };
        let earlier = row.and_then(|row| Realm::from_row(row, &self.expressions, &self.ring).ok());
        let was_required = |name: &str| {
            let rules = earlier.iter().flat_map(|realm| realm.source.params());
            rules
                .into_iter()
                .any(|rule| rule.name == name && rule.is_required())
        };
        let required = checked
            .source
            .params()
            .iter()
            .filter(|rule| rule.is_required());
        let required = required.filter(|rule| !was_required(&rule.name));
        let planned = PlannedRealm {
            id,
            fate,
            before,
            after: Some(checked.content.clone()),
            newly_required: required.map(|rule| rule.name.clone()).collect(),
        };
        Ok((planned, checked))
    }

    /// Makes the realms as they were planned, each in a transaction of its own.
    ///
    /// # Errors
    ///
    /// The database failed, or somebody has changed since what the plan was made of.
    pub async fn apply_realms(
        &self,
        plan: &[PlannedRealm],
        by: &Actor,
    ) -> Result<(), RegistryError> {
        for realm in plan {
            match &realm.fate {
                RealmFate::Created(patch) | RealmFate::Changed(patch) => {
                    // A dry run says which secrets would lack parameters: a command asks nothing.
                    let confirmed = Some(Confirmation::SecretsLackParams);
                    self.save_realm(patch.clone(), confirmed, by).await?;
                }
                RealmFate::Deleted => {
                    self.delete_realm(&realm.id, false, by).await?;
                }
                RealmFate::Unchanged | RealmFate::Refused(_) => {}
            }
        }
        Ok(())
    }

    /// The secrets of a realm that would lack what it comes to require once it is changed.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn lacking_secrets(&self, realm: &PlannedRealm) -> Result<Lacking, RegistryError> {
        let mut lacking = Lacking::default();
        let required = &realm.newly_required;
        if !matches!(realm.fate, RealmFate::Changed(_)) || required.is_empty() {
            return Ok(lacking);
        }
        let mut after = SecretId(i64::MIN);
        loop {
            let rows =
                secrets::list_in_after(self.database.reader(), &realm.id, after, SECRETS_AT_ONCE);
            let rows = rows.await?;
            let Some(last) = rows.last() else {
                return Ok(lacking);
            };
            after = SecretId(last.id);
            for row in rows {
                let Ok(secret) = Secret::open(row, &self.ring) else {
                    lacking.unknown += 1;
                    continue;
                };
                let is_missing = |name: &&String| secret.params.get(name).is_none();
                let params: Vec<_> = required.iter().filter(is_missing).cloned().collect();
                if !params.is_empty() {
                    let key = secret.key;
                    lacking.secrets.push(LackingSecret { key, params });
                }
            }
        }
    }

    /// What a realm that is planned holds that is most likely not meant.
    pub fn warnings_of_planned(&self, patch: &RealmPatch) -> Vec<Warning> {
        let outbound = (&*self.upstream).into();
        patch.check(&self.expressions, outbound).unwrap_or_default()
    }
}

/// A refusal as faults, which have places.
pub(super) fn faults_of(refusal: Refusal) -> Vec<Fault> {
    match refusal {
        Refusal::Faults(faults) => faults,
        refusal => vec![Fault::new("", refusal.to_string())],
    }
}

//! Realms: listed, saved, applied from files and deleted, each change with its audit entry.

use sea_orm::ConnectionTrait;
use serde_json::Value;
use token_server_entity::realm;

use super::changed::{content_of, of_realm};
use super::check::{Outbound, check};
use super::difference::masked_defaults;
use super::parents::PlannedParents;
use super::{
    Actor, Changed, Confirmation, Deletion, FieldChange, Refusal, Registry, RegistryError,
    check_new_name, rights,
};
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::database::is_duplicate;
use crate::foundation::ids::{RealmId, Version};
use crate::foundation::page::{Listed, Page};
use crate::foundation::pattern::Coverage;
use crate::realm::expression::Expressions;
use crate::realm::preset::{self, Preset};
use crate::realm::store::{self, RealmContent};
use crate::realm::{Fault, Realm, Source, UnreadableRealm, Warning};
use crate::secret::store as secrets;
use crate::ticket::store as tickets;
use crate::token::{removal, store as tokens};

/// A realm to be made or merged into the one that is there.
#[derive(Clone, Debug)]
pub struct RealmPatch {
    pub id: RealmId,
    pub comment: FieldChange<String>,
    pub config: FieldChange<Value>,
    pub logic_code: FieldChange<String>,
}

/// A realm that may be saved.
#[derive(Debug)]
pub(super) struct CheckedRealm {
    pub content: RealmContent,
    pub source: Source,
}

/// A realm that is listed and not used.
#[derive(Debug)]
pub struct LeftAlone {
    pub row: realm::Model,
    pub why: UnreadableRealm,
}

fn of_preset(preset: &Preset, id: RealmId) -> RealmPatch {
    RealmPatch {
        id,
        comment: FieldChange::Set(preset.title.clone()),
        config: FieldChange::Set(preset.config.clone()),
        logic_code: FieldChange::Clear,
    }
}

impl Registry {
    pub async fn list_realms(
        &self,
        page: Page,
        keyword: Option<&str>,
        coverage: &Coverage,
    ) -> Result<Listed<Result<Realm, Box<LeftAlone>>>, RegistryError> {
        let rows = store::list(self.database.reader(), page, keyword, coverage).await?;
        Ok(rows.map(|row| {
            let left_alone = |why| {
                let row = row.clone();
                Box::new(LeftAlone { row, why })
            };
            Realm::from_row(row.clone(), &self.expressions, &self.ring).map_err(left_alone)
        }))
    }

    pub async fn realm(&self, id: &RealmId) -> Result<Realm, RegistryError> {
        let row = store::find(self.database.reader(), id).await?;
        let row = row.ok_or_else(|| Refusal::UnknownRealm(id.to_string()))?;
        Ok(Realm::from_row(row, &self.expressions, &self.ring).map_err(Refusal::from)?)
    }

    /// Makes or merges a realm; the whole is validated before anything is stored. One that would
    /// leave secrets without what it comes to require is refused, unless that is confirmed.
    pub async fn save_realm(
        &self,
        patch: RealmPatch,
        confirmed: Option<Confirmation>,
        by: &Actor,
    ) -> Result<Realm, RegistryError> {
        if confirmed != Some(Confirmation::SecretsLackParams) {
            self.must_leave_params(&patch, by).await?;
        }
        let now = self.clock.now();
        let patch = &patch;
        self.database
            .write(|transaction, _| Box::pin(self.merge_realm(transaction, patch, by, now)))
            .await?;
        self.wake.notify_one();
        let realm = self.realm(&patch.id).await?;
        if realm.source.policy().revokes_previous {
            self.memory.changed_all_in(&patch.id);
        }
        Ok(realm)
    }

    pub(super) async fn merge_realm(
        &self,
        transaction: &impl ConnectionTrait,
        patch: &RealmPatch,
        by: &Actor,
        now: EpochMs,
    ) -> Result<(), RegistryError> {
        // No secret is added meanwhile.
        let stored = store::find_locked(transaction, &patch.id).await?;
        let alone = PlannedParents::new();
        let checked = self.check_realm(transaction, patch, stored.as_ref(), (by, &alone));
        let CheckedRealm {
            content: merged,
            source,
        } = checked.await?;
        let before = stored.as_ref().map(content_of);
        let change = of_realm(before.as_ref(), Some(&merged));
        match stored {
            None => {
                let inserted = store::insert(transaction, &self.ring, &patch.id, merged, now).await;
                match inserted {
                    Err(error) if is_duplicate(&error) => {
                        return Err(Refusal::ChangedMeanwhile.into());
                    }
                    other => other?,
                }
            }
            Some(row) => {
                let over = Version(row.version);
                if !store::update(transaction, &self.ring, &patch.id, over, merged, now).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                if source.policy().revokes_previous {
                    // What was remembered before is not served while it is being replaced.
                    removal::forget_remembered_in(transaction, &patch.id).await?;
                }
                let was_fixed = row.config.is_none() && row.logic_code.is_none();
                if was_fixed == source.is_fixed() {
                    tokens::wake_troubled_in(transaction, &patch.id, now).await?;
                } else {
                    let due = was_fixed.then_some(now);
                    tokens::reschedule_all_in(transaction, &patch.id, due, now).await?;
                }
            }
        }
        feed::append(transaction, &[FeedChange::Realm(patch.id.clone())]).await?;
        let changed = Changed {
            action: "realm.save",
            target: patch.id.to_string(),
            change,
        };
        self.audit_change(transaction, by, changed, now).await?;
        Ok(())
    }

    /// What a realm would be, where it may be saved so.
    pub(super) async fn check_realm(
        &self,
        database: &impl ConnectionTrait,
        patch: &RealmPatch,
        stored: Option<&realm::Model>,
        (by, planned): (&Actor, &PlannedParents),
    ) -> Result<CheckedRealm, RegistryError> {
        if let Some(row) = stored
            && !patch.says_where_credentials_go()
        {
            // What would be kept is nobody's.
            let realm = patch.id.clone();
            store::verify(&self.ring, row)
                .map_err(|error| Refusal::from(UnreadableRealm::NotAuthentic { realm, error }))?;
        }
        let content = merged(patch.clone(), stored);
        let source = self.read_content(&content).map_err(Refusal::Faults)?;
        let masked = masked_defaults(stored.map(content_of).as_ref(), &content);
        if !masked.is_empty() {
            return Err(Refusal::Faults(masked).into());
        }
        if let Source::Provider(document) = &source
            && let Some(why) = self
                .faulty_realms(database, &patch.id, document, planned)
                .await?
        {
            let fault = Fault::new("/config/parent/realm", why);
            return Err(Refusal::Faults(vec![fault]).into());
        }
        self.check_rights(database, &patch.id, stored, &content, (&source, by))
            .await?;
        if stored.is_none() {
            check_new_name("/id", patch.id.as_str())?;
        }
        Ok(CheckedRealm { content, source })
    }

    /// A preset as a realm that is to be saved. One that is there already is left as it is, unless
    /// it may be replaced.
    pub async fn patch_of_preset(
        &self,
        preset: &str,
        id: RealmId,
        replace: bool,
    ) -> Result<RealmPatch, RegistryError> {
        let unknown = || Refusal::UnknownPreset(preset.to_owned());
        let preset = preset::all().get(preset).ok_or_else(unknown)?;
        let there = store::find(self.database.reader(), &id).await?;
        if there.is_some() && !replace {
            return Err(Refusal::RealmExists(id.to_string()).into());
        }
        Ok(of_preset(preset, id))
    }

    /// What a registered realm holds that is most likely not meant.
    pub fn warnings_of(&self, realm: &Realm) -> Vec<Warning> {
        let checked = check(
            realm.config.as_ref(),
            realm.logic_code.as_deref(),
            &self.expressions,
            Outbound::from(&*self.upstream),
        );
        // What a new realm is refused for, an old one is warned of.
        let refused = |faults: Vec<Fault>| {
            let warning = |fault: Fault| Warning::new(fault.pointer, fault.detail);
            faults.into_iter().map(warning).collect()
        };
        checked.map_or_else(refused, |(_, warnings)| warnings)
    }

    pub(super) fn read_content(&self, content: &RealmContent) -> Result<Source, Vec<Fault>> {
        let config = content
            .config
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok());
        let logic_code = content.logic_code.as_deref();
        let outbound = Outbound::from(&*self.upstream);
        check(config.as_ref(), logic_code, &self.expressions, outbound).map(|(source, _)| source)
    }

    /// What would go with a realm that is deleted. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The deletion would be refused, or the database failed.
    pub async fn preview_realm_deletion(
        &self,
        id: &RealmId,
        cascade: bool,
        by: &Actor,
    ) -> Result<Deletion, RegistryError> {
        let reader = self.database.reader();
        if store::find(reader, id).await?.is_none() {
            return Err(Refusal::UnknownRealm(id.to_string()).into());
        }
        self.going_with(reader, id, cascade, by).await
    }

    /// What goes with a realm, where it may be deleted.
    async fn going_with(
        &self,
        database: &impl ConnectionTrait,
        id: &RealmId,
        cascade: bool,
        by: &Actor,
    ) -> Result<Deletion, RegistryError> {
        if secrets::any_in(database, id).await? {
            if !cascade {
                return Err(Refusal::RealmHasSecrets.into());
            }
            rights::must_change_all(by, id)?;
        }
        Ok(Deletion::of_realm(database, id).await?)
    }

    /// Deletes a realm, and says what went with it: with `cascade` its secrets and tokens, too.
    pub async fn delete_realm(
        &self,
        id: &RealmId,
        cascade: bool,
        by: &Actor,
    ) -> Result<Deletion, RegistryError> {
        let now = self.clock.now();
        let with_it = self
            .database
            .write(|transaction, _| {
                Box::pin(async move {
                    // No secret is added meanwhile.
                    let stored = store::find_locked(transaction, id).await?;
                    let with_it = self.going_with(transaction, id, cascade, by).await?;
                    if !store::delete(transaction, id).await? {
                        return Err(Refusal::UnknownRealm(id.to_string()).into());
                    }
                    removal::delete_all_in(transaction, id, now).await?;
                    secrets::delete_all_in(transaction, id).await?;
                    tickets::delete_all_in(transaction, id).await?;
                    feed::append(transaction, &[FeedChange::Realm(id.clone())]).await?;
                    let before = stored.as_ref().map(content_of);
                    let changed = Changed {
                        action: "realm.delete",
                        target: id.to_string(),
                        change: of_realm(before.as_ref(), None),
                    };
                    self.audit_change(transaction, by, changed, now).await?;
                    Ok::<_, RegistryError>(with_it)
                })
            })
            .await?;
        self.memory.changed_all_in(id);
        Ok(with_it)
    }
}

impl RealmPatch {
    /// Whether nothing of that is kept from what is stored.
    fn says_where_credentials_go(&self) -> bool {
        let kept = (&self.config, &self.logic_code);
        !matches!(kept, (FieldChange::Keep, _) | (_, FieldChange::Keep))
    }

    /// What is wrong with a realm that is not there yet, or what is to be warned of.
    pub fn check(
        &self,
        expressions: &Expressions,
        outbound: Outbound<'_>,
    ) -> Result<Vec<Warning>, Vec<Fault>> {
        let config = self.config.as_ref().set();
        let logic_code = self.logic_code.as_ref().set().map(String::as_str);
        check(config, logic_code, expressions, outbound).map(|(_, warnings)| warnings)
    }
}

pub(super) fn merged(patch: RealmPatch, stored: Option<&realm::Model>) -> RealmContent {
    let of_stored = |field: fn(&realm::Model) -> Option<String>| stored.and_then(field);
    let config = match patch.config {
        FieldChange::Set(value) => FieldChange::Set(value.to_string()),
        FieldChange::Clear => FieldChange::Clear,
        FieldChange::Keep => FieldChange::Keep,
    };
    RealmContent {
        comment: patch.comment.over(of_stored(|row| row.comment.clone())),
        config: config.over(of_stored(|row| row.config.clone())),
        logic_code: patch
            .logic_code
            .over(of_stored(|row| row.logic_code.clone())),
    }
}

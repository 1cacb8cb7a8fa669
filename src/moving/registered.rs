//! Realms, issuers and API keys.

use sea_orm::ConnectionTrait;
use serde_json::Value;
use token_server_entity::{issuer, realm};

use super::{Move, MoveError, Name, Row};
use crate::access::copying::{self as keys, CopiedKey, StoredKey};
use crate::access::issuer::IssuerName;
use crate::access::issuer::store as issuers;
use crate::access::store::BOOTSTRAP_NAME;
use crate::feed::{self, FeedChange};
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::RealmId;
use crate::realm::store as realms;
use crate::registry::{FieldChange, Imported, Pass, RealmPatch, RegistryError};
use crate::secret::store as secrets;
use crate::ticket::store as tickets;
use crate::token::removal;

impl Move<'_> {
    pub(super) async fn registered(&mut self) -> Result<(), MoveError> {
        let rows = self.there(realms::all(self.source.database.causal()).await)?;
        self.refused_realms.clear();
        for row in rows {
            self.realm(row).await?;
        }
        let rows = self.there(issuers::all(self.source.database.causal()).await)?;
        for row in rows {
            self.issuer(row).await?;
        }
        let rows = self.there(keys::all(self.source.database.causal()).await)?;
        for key in rows.iter().filter(|key| key.name() != BOOTSTRAP_NAME) {
            self.key(key).await?;
        }
        Ok(())
    }

    /// Whether the row here of that name is a copy, to be written over.
    fn is_copy(&self, name: &Name) -> bool {
        self.goes_on || self.copies.contains(name)
    }

    pub(super) fn came_of(&mut self, name: Name, outcome: Imported, notes: Vec<String>) {
        if matches!(outcome, Imported::Taken) {
            self.copies.insert(name.clone());
        }
        self.accounts.note(Row {
            notes,
            ..Row::of(name, outcome)
        });
    }

    async fn realm(&mut self, row: realm::Model) -> Result<(), MoveError> {
        let name = Name::Realm(row.id.clone());
        let checked = match realms::verify(&self.source.ring, &row) {
            Ok(()) => self.check(&row),
            Err(error) => Err(error.to_string()),
        };
        let notes = match checked {
            Ok(notes) => notes,
            Err(why) => {
                self.refused_realms.insert(row.id);
                self.accounts.refuse(name, why);
                return Ok(());
            }
        };
        let (over, row, now) = (self.is_copy(&name), &row, self.clock.now());
        let outcome = written!(self, |transaction, this| {
            this.copy_realm(transaction, row, over, now).await
        })?;
        let notes = match outcome {
            Imported::Taken => notes,
            _ => Vec::new(),
        };
        self.came_of(name, outcome, notes);
        Ok(())
    }

    /// What this server has to say of a realm; an error where it could not use it.
    fn check(&self, row: &realm::Model) -> Result<Vec<String>, String> {
        let config = match row.config.as_deref().map(serde_json::from_str) {
            None => FieldChange::Clear,
            Some(Ok(config)) => FieldChange::Set(config),
            Some(Err(_)) => return Err("its config is not JSON".to_owned()),
        };
        let set = |text: &Option<String>| text.clone().map_or(FieldChange::Clear, FieldChange::Set);
        let patch = RealmPatch {
            id: RealmId::stored(row.id.clone()),
            comment: set(&row.comment),
            config,
            logic_code: set(&row.logic_code),
        };
        match patch.check(&self.expressions, self.outbound) {
            Ok(warnings) => Ok(warnings
                .into_iter()
                .map(|warning| format!("warning: {} {}", warning.pointer, warning.detail))
                .collect()),
            Err(faults) => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                Err(faults.join("; "))
            }
        }
    }

    async fn copy_realm(
        &self,
        transaction: &impl ConnectionTrait,
        there: &realm::Model,
        over: bool,
        now: EpochMs,
    ) -> Result<Imported, RegistryError> {
        let id = RealmId::stored(there.id.clone());
        let ring = &self.target.ring;
        let Some(here) = realms::find_locked(transaction, &id).await? else {
            realms::copy(transaction, ring, there).await?;
            let entry = self.entry("realm.import", there.id.clone(), now);
            self.audit.append(transaction, vec![entry]).await?;
            return Ok(Imported::Taken);
        };
        // The order of fields is the database's.
        let value =
            |text: Option<&String>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let differing = parts([
            ("its authentication", realms::verify(ring, &here).is_err()),
            (
                "config",
                value(there.config.as_ref()) != value(here.config.as_ref()),
            ),
            ("logic_code", there.logic_code != here.logic_code),
            ("comment", there.comment != here.comment),
        ]);
        let is_older = here.version < there.version || here.blocked_until < there.blocked_until;
        if differing.is_empty() && !(over && is_older) {
            return Ok(Imported::Unchanged);
        }
        if !over {
            return Ok(Imported::Changed(differing));
        }
        realms::copy(transaction, ring, there).await?;
        if differing.is_empty() {
            return Ok(Imported::Unchanged);
        }
        // It may be that they are not to be served from memory any more.
        removal::forget_remembered_in(transaction, &id).await?;
        let entry = self.entry("realm.import", there.id.clone(), now);
        self.audit.append(transaction, vec![entry]).await?;
        Ok(Imported::Taken)
    }

    async fn issuer(&mut self, row: issuer::Model) -> Result<(), MoveError> {
        let name = Name::Issuer(row.name.clone());
        if let Err(error) = issuers::is_authentic(&self.source.ring, &row) {
            self.accounts.refuse(name, error.to_string());
            return Ok(());
        }
        let (over, row, now) = (self.is_copy(&name), &row, self.clock.now());
        let outcome = written!(self, |transaction, this| {
            this.copy_issuer(transaction, row, over, now).await
        })?;
        self.came_of(name, outcome, Vec::new());
        Ok(())
    }

    async fn copy_issuer(
        &self,
        transaction: &impl ConnectionTrait,
        there: &issuer::Model,
        over: bool,
        now: EpochMs,
    ) -> Result<Imported, RegistryError> {
        let ring = &self.target.ring;
        let name = IssuerName::stored(there.name.clone());
        let of_issuer = issuers::name_of(transaction, &there.issuer).await?;
        if let Some(other) = of_issuer.filter(|other| *other != there.name) {
            let why = format!("the tokens of that issuer are registered here as {other}");
            return Ok(Imported::Refused(why));
        }
        if let Some(here) = issuers::find_locked(transaction, &name).await? {
            let differing = parts([
                (
                    "its authentication",
                    issuers::is_authentic(ring, &here).is_err(),
                ),
                (
                    "registration",
                    (&here.issuer, &here.config) != (&there.issuer, &there.config),
                ),
            ]);
            if differing.is_empty() {
                return Ok(Imported::Unchanged);
            }
            if !over {
                return Ok(Imported::Changed(differing));
            }
        }
        issuers::copy(transaction, ring, there).await?;
        let entry = self.entry("issuer.import", there.name.clone(), now);
        self.audit.append(transaction, vec![entry]).await?;
        Ok(Imported::Taken)
    }

    async fn key(&mut self, key: &StoredKey) -> Result<(), MoveError> {
        let name = Name::ApiKey(key.name().to_owned());
        if let Err(error) = key.verify(&self.source.ring) {
            self.accounts.refuse(name, error.to_string());
            return Ok(());
        }
        let (over, now) = (self.is_copy(&name), self.clock.now());
        let copied = written!(self, |transaction, this| {
            let copied = keys::copy(transaction, &this.target.ring, key, over).await?;
            if matches!(copied, CopiedKey::Made | CopiedKey::Replaced) {
                let entry = this.entry("api_key.import", key.name().to_owned(), now);
                this.audit.append(transaction, vec![entry]).await?;
            }
            Ok(copied)
        })?;
        let outcome = match copied {
            CopiedKey::Made | CopiedKey::Replaced => Imported::Taken,
            CopiedKey::AsItIs => Imported::Unchanged,
            CopiedKey::Differs(parts) => Imported::Changed(parts),
            CopiedKey::Named(other) => {
                Imported::Refused(format!("the same key is called {other} here"))
            }
        };
        self.came_of(name, outcome, Vec::new());
        Ok(())
    }

    /// Deletes copies of realms and issuers that are there no longer.
    pub(super) async fn forget_registered(&mut self) -> Result<(), MoveError> {
        if self.pass == Pass::Rehearse {
            return Ok(());
        }
        for name in self.copies.clone() {
            match &name {
                Name::Realm(id) => {
                    let id = &RealmId::stored(id.clone());
                    let there = realms::find(self.source.database.causal(), id).await;
                    if self.there(there)?.is_some() {
                        continue;
                    }
                    let now = self.clock.now();
                    written!(self, |transaction, this| {
                        if !secrets::any_in(transaction, id).await? {
                            tickets::delete_all_in(transaction, id).await?;
                            realms::delete(transaction, id).await?;
                            let entry = this.entry("realm.delete", id.to_string(), now);
                            this.audit.append(transaction, vec![entry]).await?;
                        }
                        Ok(())
                    })?;
                }
                Name::Issuer(issuer) => {
                    let issuer = &IssuerName::stored(issuer.clone());
                    let there = issuers::find(self.source.database.causal(), issuer).await;
                    if self.there(there)?.is_some() {
                        continue;
                    }
                    let now = self.clock.now();
                    written!(self, |transaction, this| {
                        issuers::delete(transaction, issuer).await?;
                        feed::append(transaction, &[FeedChange::Keys]).await?;
                        let entry = this.entry("issuer.delete", issuer.to_string(), now);
                        this.audit.append(transaction, vec![entry]).await?;
                        Ok(())
                    })?;
                }
                Name::Secret { .. } | Name::Ticket { .. } | Name::ApiKey(_) => continue,
            }
            self.copies.remove(&name);
            self.accounts.rows.remove(&name);
        }
        Ok(())
    }
}

/// The parts that differ.
fn parts<const N: usize>(differing: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = differing.into_iter();
    differing
        .filter_map(|(part, differs)| differs.then_some(part))
        .collect()
}

//! Secrets of which something was damaged where it is stored: what can be shown without it, and
//! how new parameters take the place of those that are lost.

use sea_orm::{ConnectionTrait, DbErr};
use token_server_entity::secret;

use super::patch::SentParam;
use super::{Refusal, Registry, RegistryError, pointer_of};
use crate::foundation::clock::EpochMs;
use crate::foundation::sealing::OpenError;
use crate::foundation::sealing_keys::is_damaged;
use crate::realm::{Fault, Source};
use crate::secret::Secret;
use crate::token::{TokenRecord, store as tokens};
use crate::webhook::event::{self, Event};

/// What is said where parameters are sent that cannot be merged.
const LOST: &str = "cannot be merged: the stored parameters are damaged and cannot be opened any \
                    more; send all of them, null for those without a value";

/// A secret as it is found by whoever saves it.
pub(super) enum Found {
    Open(Secret),
    /// Its parameters are damaged; it has none here.
    Lost(Secret),
}

impl Registry {
    pub(super) async fn found(
        &self,
        database: &impl ConnectionTrait,
        row: secret::Model,
    ) -> Result<Found, RegistryError> {
        match Secret::open(row.clone(), &self.ring) {
            Ok(secret) => Ok(Found::Open(secret)),
            Err(error) if is_damaged(database, &error).await? => {
                Ok(Found::Lost(Secret::without_params(row)))
            }
            Err(error) => Err(Refusal::from(error).into()),
        }
    }

    /// A value that can be shown without; none where it is damaged.
    pub(super) async fn unless_damaged<T>(
        &self,
        opened: Result<T, OpenError>,
    ) -> Result<Option<T>, RegistryError> {
        match opened {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_damaged(self.database.reader(), &error).await? => Ok(None),
            Err(error) => Err(Refusal::from(error).into()),
        }
    }

    /// Whether the stored refresh token cannot be used any more, so that one which is sent takes
    /// its place. Where the parameters are damaged nobody knows whether it is another than was
    /// sent before, and one that a provider issued is not dropped for it.
    pub(super) async fn refresh_is_lost(
        &self,
        database: &impl ConnectionTrait,
        record: &TokenRecord,
        now: EpochMs,
    ) -> Result<bool, DbErr> {
        let Some(stored) = &record.refresh else {
            return Ok(false);
        };
        if stored.expires_at.is_some_and(|end| end <= now) {
            return Ok(true);
        }
        match record.open_refresh(stored, &self.ring) {
            Ok(_) => Ok(false),
            Err(error) => is_damaged(database, &error).await,
        }
    }

    /// A secret of fixed tokens is in no trouble any more: no renewal will find that out.
    pub(super) async fn fixed_recovered(
        &self,
        database: &impl ConnectionTrait,
        before: &TokenRecord,
        now: EpochMs,
    ) -> Result<(), DbErr> {
        if before.trouble.is_none() {
            return Ok(());
        }
        tokens::recover_fixed(database, before.secret_id, now).await?;
        if before.announced.is_none() {
            return Ok(());
        }
        let Some(record) = tokens::find_by_id(database, before.secret_id).await? else {
            return Ok(());
        };
        let recovered = Event::Recovered {
            generation: record.generation,
            expires_at: record.held.and_then(|held| held.payload.expiry.at()),
        };
        event::append(database, &[(recovered, before)], &self.randomness, now).await
    }
}

/// What must be sent again beside what the realm requires: parameters that are not declared, and
/// that the realm uses all the same. Begins with what is wrong, where anything is.
pub(super) fn faults_of_lost(
    sent: &[SentParam],
    source: &Source,
    mut faults: Vec<Fault>,
) -> Vec<Fault> {
    let is_used = |name: &str| match source {
        Source::Provider(document) => document.uses.contains(name),
        Source::CustomLogic(_) => true,
        Source::Fixed => false,
    };
    let undeclared = source.params().iter().filter(|rule| !rule.declared);
    for rule in undeclared.filter(|rule| is_used(&rule.name)) {
        if !sent.iter().any(|sent| sent.name == rule.name) {
            faults.push(Fault::new(
                pointer_of(&rule.name),
                "is used by the realm: send it again, null where it has no value",
            ));
        }
    }
    if !faults.is_empty() {
        faults.insert(0, Fault::new("/params", LOST));
    }
    faults
}

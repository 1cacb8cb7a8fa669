//! Realms as they were read, so that none is compiled again for each attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use token_server_entity::realm;

use super::damage::DamageDetector;
use crate::foundation::database::{Database, DbError};
use crate::foundation::ids::RealmId;
use crate::foundation::sealing::KeyRing;
use crate::realm::expression::Expressions;
use crate::realm::{Realm, UnreadableRealm, store as realm_store};
use crate::token::TokenRecord;

/// So many are kept; then all are forgotten.
const KEPT_MAX: usize = 1000;

/// Reads realms.
pub(crate) struct RealmCache {
    database: Database,
    ring: Arc<KeyRing>,
    expressions: Expressions,
    damage: Arc<DamageDetector>,
    /// Each with the row it was read from.
    kept: Mutex<HashMap<RealmId, (realm::Model, Arc<Realm>)>>,
    /// Rows that the log was told of.
    left_alone: Mutex<HashMap<RealmId, realm::Model>>,
}

impl RealmCache {
    pub(super) fn new(database: Database, ring: Arc<KeyRing>, damage: Arc<DamageDetector>) -> Self {
        Self {
            database,
            ring,
            expressions: Expressions::new(),
            damage,
            kept: Mutex::default(),
            left_alone: Mutex::default(),
        }
    }

    /// A realm that this server can read; another is left to newer servers.
    pub(crate) async fn load(&self, id: &RealmId) -> Result<Option<Arc<Realm>>, DbError> {
        let row = self
            .database
            .read_with_retry(|reader| realm_store::find(reader, id))
            .await?;
        match row {
            Some(row) => self.readable(&row).await,
            None => Ok(None),
        }
    }

    /// The log is told once of a row that is left alone.
    pub(super) async fn readable(&self, row: &realm::Model) -> Result<Option<Arc<Realm>>, DbError> {
        let error = match self.read(row) {
            Ok(realm) => return Ok(Some(realm)),
            Err(error) => error,
        };
        if let UnreadableRealm::NotAuthentic { error, .. } = &error {
            self.damage.is_damaged(error).await?;
        }
        let id = RealmId::stored(row.id.clone());
        let told = self.left_alone.lock();
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        if told.get(&id) != Some(row) {
            tracing::error!(name: "realm.left_alone", %error, "a realm is left alone");
            if told.len() >= KEPT_MAX {
                told.clear();
            }
            told.insert(id, row.clone());
        }
        Ok(None)
    }

    /// Whether the stored token is one that the next ends. It is not remembered: no replica
    /// would know in time that another renews it.
    pub(crate) async fn ends_with_the_next(&self, record: &TokenRecord) -> Result<bool, DbError> {
        let realm = self.load(&record.realm).await?;
        Ok(realm.is_some_and(|realm| realm.source.policy().revokes_previous))
    }

    pub(super) fn read(&self, row: &realm::Model) -> Result<Arc<Realm>, UnreadableRealm> {
        let id = RealmId::stored(row.id.clone());
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, realm)) = kept().get(&id)
            && same == row
        {
            return Ok(realm.clone());
        }
        let realm = Arc::new(Realm::from_row(row.clone(), &self.expressions, &self.ring)?);
        let mut kept = kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(id, (row.clone(), realm.clone()));
        Ok(realm)
    }
}

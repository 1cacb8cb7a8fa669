//! Realms as they were read, so that none is compiled again for each attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use token_server_entity::realm;

use super::Renewals;
use crate::foundation::ids::RealmId;
use crate::realm::{Realm, UnreadableRealm};

/// So many are kept; then all are forgotten.
const KEPT_MAX: usize = 1000;

/// Each with the row it was read from.
#[derive(Default)]
pub(super) struct Realms(Mutex<HashMap<RealmId, (realm::Model, Arc<Realm>)>>);

impl Renewals {
    pub(super) fn read_realm(&self, row: &realm::Model) -> Result<Arc<Realm>, UnreadableRealm> {
        let id = RealmId::stored(row.id.clone());
        let kept = || self.realms.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, realm)) = kept().get(&id)
            && same == row
        {
            return Ok(realm.clone());
        }
        let realm = Arc::new(Realm::from_row(row.clone(), &self.expressions)?);
        let mut kept = kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(id, (row.clone(), realm.clone()));
        Ok(realm)
    }
}

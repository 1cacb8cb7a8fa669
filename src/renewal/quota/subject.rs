//! Whose requests a quota counts.

use token_server_entity::quota;

use crate::foundation::ids::{RealmId, SecretId};
use crate::realm::policy::{Quota, QuotaScope};
use crate::token::TokenRecord;

/// Whose requests a quota counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    realm: RealmId,
    /// None: all of the realm's.
    secret: Option<SecretId>,
    name: String,
}

impl Subject {
    pub(super) fn of(quota: &Quota, record: &TokenRecord) -> Self {
        let kind = if quota.forced { "forced" } else { "plain" };
        Self {
            realm: record.realm.clone(),
            secret: match quota.scope {
                QuotaScope::Secret => Some(record.secret_id),
                QuotaScope::Realm => None,
            },
            name: format!("{kind}/{}", quota.window.0),
        }
    }

    pub(super) fn stored(row: &quota::Model) -> Self {
        Self {
            realm: RealmId::stored(row.realm_id.clone()),
            secret: (row.secret_id != 0).then_some(SecretId(row.secret_id)),
            name: row.name.clone(),
        }
    }

    pub(super) fn realm(&self) -> &RealmId {
        &self.realm
    }

    pub(super) fn secret(&self) -> Option<SecretId> {
        self.secret
    }

    pub(super) fn of_secret(self, secret: Option<SecretId>) -> Self {
        Self { secret, ..self }
    }

    pub(super) fn id(&self) -> (String, i64, String) {
        let secret = self.secret.map_or(0, |secret| secret.0);
        (self.realm.as_str().to_owned(), secret, self.name.clone())
    }
}

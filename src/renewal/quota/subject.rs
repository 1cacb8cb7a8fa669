//! Whose requests a quota counts.

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

    pub(super) fn id(&self) -> (String, i64, String) {
        let secret = self.secret.map_or(0, |secret| secret.0);
        (self.realm.as_str().to_owned(), secret, self.name.clone())
    }
}

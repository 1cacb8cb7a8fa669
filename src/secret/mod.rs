//! Credentials: sealed at rest, masked wherever they are shown.

pub mod copying;
pub mod exported;
pub mod params;
pub mod store;

use token_server_entity::secret;

use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId, SecretId, Version};
use crate::foundation::sealing::{Closed, KeyRing, OpenError, Sealed, SealedPlace};
use params::Params;

/// A secret with its parameters open.
#[derive(Clone, Debug)]
pub struct Secret {
    pub id: SecretId,
    pub realm: RealmId,
    pub key: KeyName,
    pub params: Params,
    pub version: Version,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
}

impl Secret {
    pub fn open(row: secret::Model, ring: &KeyRing) -> Result<Self, OpenError> {
        let realm = RealmId::stored(row.realm_id);
        let key = KeyName::stored(row.key_name);
        let place = PlaceName::of(&realm, &key);
        let closed = |error| OpenError {
            // It is sealed for its name, and found by its number.
            row: row.id.to_string(),
            ..error
        };
        let plain = ring.open(&place.params(), &row.params).map_err(closed)?;
        let params = Params::from_json(&plain).ok_or_else(|| {
            closed(OpenError::new(
                &place.params(),
                &row.params,
                Closed::Malformed,
            ))
        })?;
        Ok(Self {
            id: SecretId(row.id),
            params,
            version: Version(row.version),
            created_at: row.created_at,
            updated_at: row.updated_at,
            realm,
            key,
        })
    }
}

impl Secret {
    /// Whether its parameters were not saved since then.
    pub fn is_as_before(&self, since: EpochMs) -> bool {
        self.updated_at <= since
    }

    /// One whose parameters are damaged: it has none.
    pub fn without_params(row: secret::Model) -> Self {
        Self {
            id: SecretId(row.id),
            realm: RealmId::stored(row.realm_id),
            key: KeyName::stored(row.key_name),
            params: Params::default(),
            version: Version(row.version),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The same parameters under the key that seals; none where they are under that already.
fn resealed(row: &secret::Model, ring: &KeyRing) -> Result<Option<Sealed>, OpenError> {
    let realm = RealmId::stored(row.realm_id.clone());
    let key = KeyName::stored(row.key_name.clone());
    ring.resealed(&PlaceName::of(&realm, &key).params(), &row.params)
}

/// Seals the parameters of `(realm, key)`.
pub fn seal_params(realm: &RealmId, key: &KeyName, params: &Params, ring: &KeyRing) -> Sealed {
    ring.seal(&PlaceName::of(realm, key).params(), &params.to_json())
}

/// A secret's row by its name: the number is not known before the row is stored.
struct PlaceName(String);

impl PlaceName {
    fn of(realm: &RealmId, key: &KeyName) -> Self {
        // The length keeps `a`/`b/c` and `a/b`/`c` apart.
        Self(format!("{}/{realm}/{key}", realm.as_str().len()))
    }

    fn params(&self) -> SealedPlace<'_> {
        SealedPlace {
            table: "ts_secret",
            row: &self.0,
            column: "params",
        }
    }
}

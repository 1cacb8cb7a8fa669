//! Credentials: sealed at rest, masked wherever they are shown.

pub mod authentic;
pub mod copying;
pub mod exported;
pub mod params;
mod place;
pub mod store;

use token_server_entity::secret;

use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId, SecretId, Version};
use crate::foundation::sealing::{Closed, KeyRing, OpenError, Sealed};
use params::Params;
use place::{PlaceName, plain};

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
        let closed = |error| OpenError {
            // It is sealed for its name, and found by its number.
            row: row.id.to_string(),
            ..error
        };
        let plain = plain(&row, ring).map_err(closed)?;
        authentic::verify(&row, &plain, ring).map_err(closed)?;
        let params = Params::from_json(&plain).ok_or_else(|| {
            let place = PlaceName::of_row(&row);
            closed(OpenError::new(
                &place.params(),
                &row.params,
                Closed::Malformed,
            ))
        })?;
        Ok(Self {
            params,
            ..Self::without_params(row)
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
    ring.resealed(&PlaceName::of_row(row).params(), &row.params)
}

/// Parameters as they are stored.
pub struct SealedParams {
    pub params: Sealed,
    /// Authenticates them as those of a version.
    pub mac: Sealed,
}

/// Seals the parameters of a version of `(realm, key)`.
pub fn seal_params(
    (realm, key): (&RealmId, &KeyName),
    version: Version,
    params: &Params,
    ring: &KeyRing,
) -> SealedParams {
    let (place, plain) = (PlaceName::of(realm, key), params.to_json());
    SealedParams {
        params: ring.seal(&place.params(), &plain),
        mac: authentic::mac_of(&place, version, &plain, ring),
    }
}

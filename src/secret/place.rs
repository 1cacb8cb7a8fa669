//! Where the parameters of a secret are sealed for, and the code over their version.

use token_server_entity::secret;
use zeroize::Zeroizing;

use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::sealing::{KeyRing, OpenError, SealedPlace};

/// A secret's row by its name: the number is not known before the row is stored.
pub(super) struct PlaceName(String);

impl PlaceName {
    pub(super) fn of(realm: &RealmId, key: &KeyName) -> Self {
        // The length keeps `a`/`b/c` and `a/b`/`c` apart.
        Self(format!("{}/{realm}/{key}", realm.as_str().len()))
    }

    pub(super) fn of_row(row: &secret::Model) -> Self {
        let realm = RealmId::stored(row.realm_id.clone());
        let key = KeyName::stored(row.key_name.clone());
        Self::of(&realm, &key)
    }

    pub(super) fn params(&self) -> SealedPlace<'_> {
        self.column("params")
    }

    pub(super) fn mac(&self) -> SealedPlace<'_> {
        self.column("mac")
    }

    fn column(&self, column: &'static str) -> SealedPlace<'_> {
        SealedPlace {
            table: "ts_secret",
            row: &self.0,
            column,
        }
    }
}

/// The parameters as JSON, whichever version they are of.
pub(super) fn plain(row: &secret::Model, ring: &KeyRing) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    ring.open(&PlaceName::of_row(row).params(), &row.params)
}

//! Tickets that providers push: verified, decrypted, stored for each application, and
//! retained as long as they are valid.

mod applications;
mod crypto;
mod feishu;
pub mod inbox;
pub mod message;
pub mod push;
pub mod store;
mod trial;
mod wechat;
mod xml;

use secrecy::SecretString;

use crate::foundation::ids::RealmId;
use crate::foundation::sealing::{KeyRing, OpenError, Sealed, SealedPlace};

/// Seals a ticket for the row of its application.
pub fn seal(realm: &RealmId, app_id: &str, value: &SecretString, ring: &KeyRing) -> Sealed {
    use secrecy::ExposeSecret;
    let row = row(realm, app_id);
    ring.seal(&place(&row), value.expose_secret().as_bytes())
}

fn resealed(
    realm: &RealmId,
    app_id: &str,
    sealed: &Sealed,
    ring: &KeyRing,
) -> Result<Option<Sealed>, OpenError> {
    let row = row(realm, app_id);
    ring.resealed(&place(&row), sealed)
}

pub fn open(
    realm: &RealmId,
    app_id: &str,
    sealed: &Sealed,
    ring: &KeyRing,
) -> Result<SecretString, OpenError> {
    let row = row(realm, app_id);
    ring.open_text(&place(&row), sealed)
}

/// The length keeps `a`/`b/c` and `a/b`/`c` apart.
fn row(realm: &RealmId, app_id: &str) -> String {
    format!("{}/{realm}/{app_id}", realm.as_str().len())
}

fn place(row: &str) -> SealedPlace<'_> {
    SealedPlace {
        table: "ts_ticket",
        row,
        column: "value",
    }
}

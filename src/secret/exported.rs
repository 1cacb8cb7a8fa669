//! Values of secrets in files: sealed for the secret and the parameter that they belong to, so that
//! one which was moved opens nowhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::foundation::ids::{KeyName, RealmId};
use crate::foundation::sealing::{Closed, KeyRing, Sealed, SealedPlace};

/// Where a value belongs.
#[derive(Clone, Copy, Debug)]
pub struct ExportedPlace<'a> {
    pub realm: &'a RealmId,
    pub key: &'a KeyName,
    pub part: ExportedPart<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum ExportedPart<'a> {
    Param(&'a str),
    /// The token of a realm of fixed tokens.
    Token,
}

/// Why a value of a file stays closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportedClosed {
    #[error(
        "is sealed with the key {0:?}, which this server's key ring lacks: put that key into sealing.keys"
    )]
    UnknownKey(String),
    #[error(
        "cannot be opened: it was changed, or moved here from another secret or parameter, or it was sealed with another key of the same id"
    )]
    Refused,
    #[error("is no value that `token-server export` has sealed")]
    Malformed,
}

impl ExportedPlace<'_> {
    /// The lengths keep `a`/`b/c` and `a/b`/`c` apart.
    fn row(&self) -> String {
        let (realm, key) = (self.realm.as_str(), self.key.as_str());
        let (realm_length, key_length) = (realm.len(), key.len());
        match self.part {
            ExportedPart::Param(name) => {
                format!("{realm_length}/{key_length}/{realm}/{key}/{name}")
            }
            ExportedPart::Token => format!("{realm_length}/{key_length}/{realm}/{key}"),
        }
    }

    fn column(&self) -> &'static str {
        match self.part {
            ExportedPart::Param(_) => "params",
            ExportedPart::Token => "token",
        }
    }

    /// Seals a value, to be written to a file.
    pub fn seal(&self, value: &SecretString, ring: &KeyRing) -> String {
        let row = self.row();
        let sealed = ring.seal(&self.sealed_place(&row), value.expose_secret().as_bytes());
        STANDARD.encode(sealed.0)
    }

    /// Opens a value of a file.
    ///
    /// # Errors
    ///
    /// Where the ring lacks its key, or it was not sealed for this place.
    pub fn open(&self, text: &str, ring: &KeyRing) -> Result<SecretString, ExportedClosed> {
        let bytes = STANDARD.decode(text);
        let sealed = bytes.map(Sealed).map_err(|_| ExportedClosed::Malformed)?;
        let row = self.row();
        let opened = ring.open_text(&self.sealed_place(&row), &sealed);
        opened.map_err(|closed| match closed.why {
            Closed::UnknownKey(id) => ExportedClosed::UnknownKey(id),
            Closed::Refused => ExportedClosed::Refused,
            Closed::Malformed | Closed::Missing => ExportedClosed::Malformed,
        })
    }

    fn sealed_place<'a>(&self, row: &'a str) -> SealedPlace<'a> {
        SealedPlace {
            table: "export",
            row,
            column: self.column(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::randomness::Randomness;

    fn ring(text: &str) -> KeyRing {
        KeyRing::parse(&SecretString::from(text), Randomness::seeded(1)).unwrap()
    }

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn a_value_opens_in_its_place_under_its_key_and_nowhere_else() {
        let own = ring(&format!("k1:{}", key(1)));
        let [a, b] = ["a", "a/b"].map(|name| RealmId::new(name).unwrap());
        let [c, d] = ["b/c", "c"].map(|name| KeyName::new(name).unwrap());
        let place = |realm, key, part| ExportedPlace { realm, key, part };
        let param = ExportedPart::Param("appid");
        let here = place(&a, &c, param);
        let sealed = here.seal(&SecretString::from("canary"), &own);
        assert_eq!(here.open(&sealed, &own).unwrap().expose_secret(), "canary");
        for elsewhere in [
            place(&b, &d, param),
            place(&a, &d, param),
            place(&a, &c, ExportedPart::Param("secret")),
            place(&a, &c, ExportedPart::Token),
        ] {
            assert_eq!(
                elsewhere.open(&sealed, &own).unwrap_err(),
                ExportedClosed::Refused
            );
        }
        let lacking = here.open(&sealed, &ring(&format!("k2:{}", key(2))));
        let unknown = ExportedClosed::UnknownKey("k1".to_owned());
        assert_eq!(lacking.unwrap_err(), unknown);
        let other = here.open(&sealed, &ring(&format!("k1:{}", key(2))));
        assert_eq!(other.unwrap_err(), ExportedClosed::Refused);
        for broken in ["", "canary!", "Y2FuYXJ5"] {
            let closed = here.open(broken, &own).unwrap_err();
            assert_eq!(closed, ExportedClosed::Malformed);
            assert!(!closed.to_string().contains("canary"));
        }
    }
}

//! Values of a row that stand in the open, and the code (MAC) that says that a server with one of
//! these keys wrote them.

use super::{Closed, KeyRing, OpenError, Sealed, SealedPlace, key_id};

/// Values of a row that are authenticated, in their order. No two lists read the same: each value
/// has its length before it, and an absent one is none that is empty.
#[derive(Default)]
pub struct RowValues(Vec<u8>);

impl RowValues {
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.and(Some(value.as_bytes()))
    }

    #[must_use]
    pub fn optional(self, value: Option<&str>) -> Self {
        self.and(value.map(str::as_bytes))
    }

    #[must_use]
    pub fn number(self, value: Option<i64>) -> Self {
        self.and(
            value
                .map(i64::to_be_bytes)
                .as_ref()
                .map(<[u8; 8]>::as_slice),
        )
    }

    #[must_use]
    pub fn flag(self, value: bool) -> Self {
        self.number(Some(i64::from(value)))
    }

    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        self.and(Some(value))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn and(mut self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.0.push(0),
            Some(value) => {
                self.0.push(1);
                self.0
                    .extend_from_slice(&(value.len() as u64).to_be_bytes());
                self.0.extend_from_slice(value);
            }
        }
        self
    }

    fn associated_data(&self, place: &SealedPlace<'_>, key_id: &str) -> Vec<u8> {
        let mut data = place.associated_data(key_id);
        data.extend_from_slice(&self.0);
        data
    }
}

impl KeyRing {
    /// A code that authenticates values which stand in the open, for the row that they are in:
    /// the tag of an empty message, whose associated data they are.
    pub fn authenticate(&self, place: &SealedPlace<'_>, values: &RowValues) -> Sealed {
        let key = self.sealing();
        let associated = values.associated_data(place, &key.id);
        self.encrypted(key, &associated, &[])
    }

    /// The same with a named key of the ring.
    pub fn authenticate_under(
        &self,
        key_id: &str,
        place: &SealedPlace<'_>,
        values: &RowValues,
    ) -> Option<Sealed> {
        let key = self.find(key_id)?;
        let associated = values.associated_data(place, key_id);
        Some(self.encrypted(key, &associated, &[]))
    }

    /// The code of the same values under the key that seals; none where it is under that already.
    pub fn reauthenticated(
        &self,
        place: &SealedPlace<'_>,
        values: &RowValues,
        mac: Option<&Sealed>,
    ) -> Result<Option<Sealed>, OpenError> {
        if mac.and_then(key_id) == Some(self.sealing_id()) {
            return Ok(None);
        }
        self.verify(place, values, mac)?;
        Ok(Some(self.authenticate(place, values)))
    }

    /// Whether the values of a row are those that a server with one of these keys wrote.
    pub fn verify(
        &self,
        place: &SealedPlace<'_>,
        values: &RowValues,
        mac: Option<&Sealed>,
    ) -> Result<(), OpenError> {
        let mac = mac.ok_or_else(|| OpenError::of(place, &[], Closed::Missing))?;
        let associated = |key_id: &str| values.associated_data(place, key_id);
        self.decrypted(place, mac, associated).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::foundation::randomness::Randomness;

    #[test]
    fn values_in_the_open_are_authentic_where_none_of_them_was_changed() {
        let keys = format!("a:{}", STANDARD.encode([1_u8; 32]));
        let ring = KeyRing::parse(&keys.as_str().into(), Randomness::seeded(1)).unwrap();
        let place = SealedPlace {
            table: "ts_realm",
            row: "r",
            column: "mac",
        };
        let values = |version, url, more| {
            let values = RowValues::default().number(version).text(url);
            values.optional(more)
        };
        let good = || values(Some(3), "https://a.example", None);
        let mac = ring.authenticate(&place, &good());
        assert_eq!(ring.verify(&place, &good(), Some(&mac)), Ok(()));
        for changed in [
            values(Some(4), "https://a.example", None),
            values(None, "https://a.example", None),
            values(Some(3), "https://b.example", None),
            values(Some(3), "https://a.example", Some("")),
            values(Some(3), "https://a", Some(".example")),
        ] {
            let closed = ring.verify(&place, &changed, Some(&mac)).unwrap_err();
            assert_eq!(closed.why, Closed::Refused);
        }
        let other = SealedPlace { row: "s", ..place };
        assert!(ring.verify(&other, &good(), Some(&mac)).is_err());
        // Nor is a sealed value of the same place a code, or the other way round.
        let sealed = ring.seal(&place, b"");
        assert!(ring.verify(&place, &good(), Some(&sealed)).is_err());
        assert!(ring.open(&place, &mac).is_err());
        let missing = ring.verify(&place, &good(), None).unwrap_err();
        assert_eq!(missing.why, Closed::Missing);
    }
}

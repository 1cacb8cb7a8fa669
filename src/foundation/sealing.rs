//! Sealing at rest: XChaCha20-Poly1305 with a random 192-bit nonce. The associated data
//! names the place a value was sealed for, so that two sealed values cannot be swapped.

mod cookie;
mod keys;
mod resealed;
mod row_values;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chacha20poly1305::XNonce;
use chacha20poly1305::aead::{Aead, Payload};
use secrecy::SecretString;
pub use token_server_entity::Sealed;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::randomness::Randomness;
use keys::SealingKey;
pub use keys::{KeyRingError, SealingKeys};
pub use resealed::Resealed;
pub use row_values::RowValues;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;
const MARK_BYTES: usize = 8;

/// What a nonce begins with to say something of the value: the rest of it is random.
pub type Mark = [u8; MARK_BYTES];

/// Where a sealed value stands. It opens nowhere else.
#[derive(Clone, Debug)]
pub struct SealedPlace<'a> {
    pub table: &'static str,
    pub row: &'a str,
    pub column: &'static str,
}

impl SealedPlace<'_> {
    /// Lengths first, so that no two places read the same.
    fn associated_data(&self, key_id: &str) -> Vec<u8> {
        let mut data = vec![FORMAT];
        for part in [self.table, self.row, self.column, key_id] {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// Why a sealed value stays closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Another replica may have the key: then the row is left to it. No server has a key of an id
    /// that is not registered (`sealing_keys`): then the value is damaged.
    #[error("is sealed with key id {0:?}, which is not in this server's key ring")]
    UnknownKey(String),
    #[error("cannot be opened: it was changed, moved, or sealed with another key of the same id")]
    Refused,
    #[error("is not a sealed value of a known format")]
    Malformed,
    /// Of a row that is authenticated.
    #[error("is missing: nobody knows who wrote the row")]
    Missing,
}

/// A sealed value that stays closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} of row {row} {why}")]
pub struct OpenError {
    pub table: &'static str,
    pub row: String,
    pub column: &'static str,
    pub why: Closed,
    /// Tells this value from another that comes to the same place.
    pub digest: u64,
}

impl OpenError {
    pub fn new(place: &SealedPlace<'_>, sealed: &Sealed, why: Closed) -> Self {
        Self::of(place, &sealed.0, why)
    }

    fn of(place: &SealedPlace<'_>, stored: &[u8], why: Closed) -> Self {
        let mut hasher = DefaultHasher::new();
        stored.hash(&mut hasher);
        Self {
            table: place.table,
            row: place.row.to_owned(),
            column: place.column,
            why,
            digest: hasher.finish(),
        }
    }
}

/// The keys of this server: one seals, all open.
pub struct KeyRing {
    keys: Arc<SealingKeys>,
    /// The place of the one that seals; the first, unless the database names another.
    sealing: AtomicUsize,
    /// Told when that is another.
    changed: Notify,
    randomness: Randomness,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

impl KeyRing {
    pub fn of(keys: Arc<SealingKeys>, randomness: Randomness) -> Self {
        Self {
            keys,
            sealing: AtomicUsize::new(0),
            changed: Notify::new(),
            randomness,
        }
    }

    /// A ring of keys that are written down.
    ///
    /// # Errors
    ///
    /// See [`SealingKeys::parse`].
    pub fn parse(text: &SecretString, randomness: Randomness) -> Result<Self, KeyRingError> {
        let keys = SealingKeys::parse(text)?;
        Ok(Self::of(Arc::new(keys), randomness))
    }

    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.all().iter().map(|key| key.id.as_str())
    }

    /// Seals with that key from now on; false where it is not here.
    pub fn seal_with(&self, key_id: &str) -> bool {
        let place = self.keys.all().iter().position(|key| key.id == key_id);
        if let Some(place) = place
            && self.sealing.swap(place, Ordering::AcqRel) != place
        {
            self.changed.notify_one();
        }
        place.is_some()
    }

    /// Waits until another key seals than before.
    pub async fn seals_with_another(&self) {
        self.changed.notified().await;
    }

    /// The id of the key that seals.
    pub fn sealing_id(&self) -> &str {
        &self.sealing().id
    }

    fn sealing(&self) -> &SealingKey {
        // Only places of keys are stored there.
        &self.keys.all()[self.sealing.load(Ordering::Acquire)]
    }

    pub fn seal(&self, place: &SealedPlace<'_>, plain: &[u8]) -> Sealed {
        self.sealed(self.sealing(), place, plain)
    }

    /// The same value under the key that seals; none where it is under that already.
    pub fn resealed(
        &self,
        place: &SealedPlace<'_>,
        sealed: &Sealed,
    ) -> Result<Option<Sealed>, OpenError> {
        if key_id(sealed) == Some(self.sealing_id()) {
            return Ok(None);
        }
        let plain = self.open(place, sealed)?;
        Ok(Some(self.seal(place, &plain)))
    }

    /// Seals with a named key of the ring, with a mark, for its check value.
    pub fn seal_marked(
        &self,
        key_id: &str,
        place: &SealedPlace<'_>,
        plain: &[u8],
        mark: &Mark,
    ) -> Option<Sealed> {
        let key = self.find(key_id)?;
        let mut nonce = self.randomness.bytes::<NONCE_BYTES>();
        nonce[..MARK_BYTES].copy_from_slice(mark);
        Some(encrypted(
            key,
            &place.associated_data(&key.id),
            plain,
            nonce,
        ))
    }

    pub fn open(
        &self,
        place: &SealedPlace<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.decrypted(place, sealed, |key_id| place.associated_data(key_id))
    }

    fn decrypted(
        &self,
        place: &SealedPlace<'_>,
        sealed: &Sealed,
        associated: impl Fn(&str) -> Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let closed = |why| OpenError::new(place, sealed, why);
        let (key_id, nonce, ciphertext) =
            split(&sealed.0).ok_or_else(|| closed(Closed::Malformed))?;
        let key = self
            .find(key_id)
            .ok_or_else(|| closed(Closed::UnknownKey(key_id.to_owned())))?;
        let payload = Payload {
            msg: ciphertext,
            aad: &associated(key_id),
        };
        key.cipher
            .decrypt(&nonce, payload)
            .map(Zeroizing::new)
            .map_err(|_| closed(Closed::Refused))
    }

    pub fn open_text(
        &self,
        place: &SealedPlace<'_>,
        sealed: &Sealed,
    ) -> Result<SecretString, OpenError> {
        let bytes = self.open(place, sealed)?;
        std::str::from_utf8(&bytes)
            .map(SecretString::from)
            .map_err(|_| OpenError::new(place, sealed, Closed::Malformed))
    }

    fn find(&self, key_id: &str) -> Option<&SealingKey> {
        self.keys.all().iter().find(|key| key.id == key_id)
    }

    fn sealed(&self, key: &SealingKey, place: &SealedPlace<'_>, plain: &[u8]) -> Sealed {
        self.encrypted(key, &place.associated_data(&key.id), plain)
    }

    fn encrypted(&self, key: &SealingKey, associated: &[u8], plain: &[u8]) -> Sealed {
        encrypted(key, associated, plain, self.randomness.bytes())
    }
}

fn encrypted(
    key: &SealingKey,
    associated: &[u8],
    plain: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Sealed {
    let payload = Payload {
        msg: plain,
        aad: associated,
    };
    let ciphertext = key
        .cipher
        .encrypt(&XNonce::from(nonce), payload)
        .expect("XChaCha20-Poly1305 fails only above 256 GiB, far beyond any limit here");
    let mut bytes = prefix(&key.id);
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&ciphertext);
    Sealed(bytes)
}

/// Whether a value was sealed with a mark.
pub fn is_marked(sealed: &Sealed, mark: &Mark) -> bool {
    split(&sealed.0).is_some_and(|(_, nonce, _)| nonce.as_slice().starts_with(mark))
}

/// What begins every value that was sealed with a key, and no other.
pub fn prefix(key_id: &str) -> Vec<u8> {
    let id_length = u8::try_from(key_id.len()).unwrap_or(u8::MAX);
    [&[FORMAT, id_length], key_id.as_bytes()].concat()
}

/// The id of the key that a value was sealed with.
pub fn key_id(sealed: &Sealed) -> Option<&str> {
    split(&sealed.0).map(|(key_id, ..)| key_id)
}

/// Takes `format, id length, id, nonce, ciphertext` apart.
fn split(bytes: &[u8]) -> Option<(&str, XNonce, &[u8])> {
    let (&[format, id_length], rest) = bytes.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(usize::from(id_length))?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let id = std::str::from_utf8(id).ok()?;
    (format == FORMAT).then(|| (id, XNonce::from(*nonce), ciphertext))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::keys::KEY_BYTES;
    use super::*;

    const PLACE: SealedPlace<'static> = SealedPlace {
        table: "ts_token",
        row: "1",
        column: "token",
    };

    fn ring(text: &str) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&SecretString::from(text), Randomness::seeded(1))
    }

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
        let ring = ring(&format!("a:{}", key(1))).unwrap();
        let sealed = ring.seal(&PLACE, b"token");
        assert_eq!(ring.open(&PLACE, &sealed).unwrap().as_slice(), b"token");
        for other in [
            SealedPlace { row: "2", ..PLACE },
            SealedPlace {
                column: "extra",
                ..PLACE
            },
            SealedPlace {
                table: "ts_secret",
                ..PLACE
            },
        ] {
            let closed = ring.open(&other, &sealed).unwrap_err();
            assert_eq!(closed.why, Closed::Refused);
            assert_eq!(
                (closed.table, closed.row.as_str(), closed.column),
                (other.table, other.row, other.column)
            );
        }
    }

    #[test]
    fn the_first_key_seals_and_all_keys_open() {
        let old = ring(&format!("a:{}", key(1))).unwrap();
        let new = ring(&format!("b:{},a:{}", key(2), key(1))).unwrap();
        let sealed = old.seal(&PLACE, b"token");
        assert!(new.open(&PLACE, &sealed).is_ok());
        let closed = old.open(&PLACE, &new.seal(&PLACE, b"token")).unwrap_err();
        assert_eq!(closed.why, Closed::UnknownKey("b".to_owned()));
    }

    #[test]
    fn a_changed_or_truncated_value_stays_closed() {
        let ring = ring(&format!("a:{}", key(1))).unwrap();
        let sealed = ring.seal(&PLACE, b"token");
        for cut in 0..sealed.0.len() {
            assert!(
                ring.open(&PLACE, &Sealed(sealed.0[..cut].to_vec()))
                    .is_err()
            );
            let mut changed = sealed.0.clone();
            changed[cut] ^= 1;
            assert!(ring.open(&PLACE, &Sealed(changed)).is_err());
        }
    }

    #[test]
    fn a_bad_key_ring_is_refused_without_showing_a_key() {
        for (text, error) in [
            ("", KeyRingError::Empty),
            ("nocolon", KeyRingError::Entry(1)),
            ("a:c2hvcnQ=", KeyRingError::Key("a".to_owned())),
        ] {
            assert_eq!(ring(text).err(), Some(error));
        }
        let twice = format!("a:{},a:{}", key(1), key(2));
        assert_eq!(
            ring(&twice).err(),
            Some(KeyRingError::Duplicate("a".to_owned()))
        );
    }
}

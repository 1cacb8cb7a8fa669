//! The keys of a ring. They are held once in memory, wiped when they are dropped, and kept from being
//! swapped out where the system allows it.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::KeyInit;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::foundation::randomness::Randomness;

pub(super) const KEY_BYTES: usize = 32;
const KEY_ID_MAX_BYTES: usize = 64;

/// Why a key ring is refused. Never shows a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error("holds no key; expected id:base64(32 bytes)[,…]")]
    Empty,
    #[error("entry {0} is not of the form id:base64(32 bytes)")]
    Entry(usize),
    #[error("the key of id {0:?} is not {KEY_BYTES} bytes of base64")]
    Key(String),
    #[error("the key id {0:?} stands there twice")]
    Duplicate(String),
}

pub(super) struct SealingKey {
    pub(super) id: String,
    /// Wiped when it is dropped.
    pub(super) cipher: XChaCha20Poly1305,
}

/// At least one key.
pub struct SealingKeys {
    /// They are never moved, so that no copy is left behind.
    keys: Box<[SealingKey]>,
    /// Keeps their pages in memory, where the system allows it.
    lock: Result<region::LockGuard, region::Error>,
}

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.keys.iter().map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

impl SealingKeys {
    /// Reads `id:base64(32 bytes)[,…]`; blanks and line ends around entries are ignored.
    ///
    /// # Errors
    ///
    /// Where there is none, an entry is of another form, or an id stands there twice.
    pub fn parse(text: &SecretString) -> Result<Self, KeyRingError> {
        let entries = || {
            let entries = text.expose_secret().split([',', '\n']).map(str::trim);
            entries.filter(|entry| !entry.is_empty())
        };
        // It grows no more: what had been there before would not be wiped.
        let mut keys = Vec::with_capacity(entries().count());
        let mut seen = HashSet::new();
        for (index, entry) in entries().enumerate() {
            let (id, key) = entry
                .split_once(':')
                .filter(|(id, _)| !id.is_empty() && id.len() <= KEY_ID_MAX_BYTES)
                .ok_or(KeyRingError::Entry(index + 1))?;
            if !seen.insert(id) {
                return Err(KeyRingError::Duplicate(id.to_owned()));
            }
            let wrong = || KeyRingError::Key(id.to_owned());
            let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| wrong())?);
            keys.push(SealingKey {
                id: id.to_owned(),
                cipher: XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| wrong())?,
            });
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        let keys = keys.into_boxed_slice();
        let lock = region::lock(keys.as_ptr(), size_of_val(&*keys));
        Ok(Self { keys, lock })
    }

    /// A new ring's text, with one random key.
    pub fn generate(randomness: &Randomness) -> SecretString {
        let key = Zeroizing::new(randomness.bytes::<KEY_BYTES>());
        let encoded = Zeroizing::new(STANDARD.encode(key.as_slice()));
        let id = &randomness.id()[..8];
        let mut text = String::with_capacity(id.len() + 1 + encoded.len());
        for part in [id, ":", &encoded] {
            text.push_str(part);
        }
        SecretString::from(text)
    }

    /// Why the keys may be swapped out, if they may be: so much memory may not be locked.
    pub fn unlocked(&self) -> Option<&region::Error> {
        self.lock.as_ref().err()
    }

    pub(super) fn all(&self) -> &[SealingKey] {
        &self.keys
    }
}

//! API keys: 256 random bits behind a recognisable prefix, stored as a hash.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::foundation::hex;
use crate::foundation::randomness::Randomness;

const PREFIX: &str = "tsk_";
const HINT_CHARS: usize = 8;

/// The shortest key an operator may choose, in characters.
pub const CHOSEN_MIN_CHARS: usize = 32;

/// A new key. Shown once, never stored.
pub fn generate(randomness: &Randomness) -> SecretString {
    let bits = Zeroizing::new(randomness.bytes::<32>());
    SecretString::from(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(bits.as_slice())
    ))
}

/// The hash of a key. One pass of SHA-256 is enough: a key is 256 random bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub fn of(key: &SecretString) -> Self {
        Self(Sha256::digest(key.expose_secret().as_bytes()).into())
    }

    /// None where it is no hash.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As it is stored.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// What a caller presents, and its hash, by which it is looked up.
#[derive(Clone)]
pub struct PresentedKey {
    text: SecretString,
    hash: KeyHash,
}

impl PresentedKey {
    pub fn of(text: SecretString) -> Self {
        Self {
            hash: KeyHash::of(&text),
            text,
        }
    }

    pub fn text(&self) -> &SecretString {
        &self.text
    }

    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }
}

/// The key in the content of an `Authorization` header: a bearer token (RFC 6750) or a Basic
/// password (RFC 7617), or the user name where the password is empty, which is where it is pasted
/// first.
pub fn presented(authorization: &str) -> Option<SecretString> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.into());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
        let (name, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        return Some(if password.is_empty() { name } else { password }.into());
    }
    None
}

/// The first characters of a made key; nothing of one an operator chose.
pub fn hint(key: &SecretString) -> String {
    let key = key.expose_secret();
    if key.starts_with(PREFIX) {
        key.chars().take(HINT_CHARS).collect()
    } else {
        String::new()
    }
}

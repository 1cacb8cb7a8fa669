//! The public keys of an issuer, as it publishes them (JWKS; RFC 7517, section 5).

use std::fmt;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, crypto};
use serde_json::Value;

use super::algorithm::JwtAlgorithm;
use super::key_kind::KeyKind;

/// The most keys that a set may hold.
pub const KEYS_MAX: usize = 100;

/// The members of a JWK that nobody publishes: private and shared keys (RFC 7518, section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why there are no keys in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("is no JWKS: it has no list of keys")]
    NotAJwks,
    #[error("must not hold more than {KEYS_MAX} keys")]
    TooMany,
    #[error("holds a private or a shared key: publish and register public keys only")]
    Private,
    #[error("holds no public key for signatures of an algorithm that is taken here")]
    NoUsableKey,
}

/// Why a signature is not that of a key of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// No key has that id; without an id, no key fits, or more than one.
    UnknownKey,
    /// The key of that id is not for that algorithm.
    OtherAlgorithm,
    Signature,
}

struct PublicKey {
    id: Option<String>,
    kind: KeyKind,
    /// The one algorithm that it is for, where it says so.
    only: Option<JwtAlgorithm>,
    key: DecodingKey,
}

impl PublicKey {
    /// None of a key that is not for signatures, or of a kind that is not taken here.
    fn of(jwk: &Value) -> Option<Self> {
        if is_private(jwk) || jwk.get("use").is_some_and(|for_| for_ != "sig") {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops") {
            let verifies = |operations: &Vec<Value>| operations.iter().any(|one| one == "verify");
            if !operations.as_array().is_some_and(verifies) {
                return None;
            }
        }
        let only = match jwk.get("alg") {
            None | Some(Value::Null) => None,
            Some(name) => Some(JwtAlgorithm::parse(name.as_str()?)?),
        };
        let parsed: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        let kind = KeyKind::of(&parsed.algorithm)?;
        if only.is_some_and(|algorithm| algorithm.key_kind() != kind) {
            return None;
        }
        Some(Self {
            id: parsed.common.key_id.clone(),
            kind,
            only,
            key: DecodingKey::from_jwk(&parsed).ok()?,
        })
    }

    fn fits(&self, algorithm: JwtAlgorithm) -> bool {
        self.kind == algorithm.key_kind() && self.only.is_none_or(|only| only == algorithm)
    }
}

fn is_private(jwk: &Value) -> bool {
    PRIVATE.iter().any(|member| jwk.get(member).is_some())
}

/// Keys that verify signatures. What else a document holds is left out.
pub struct KeySet(Vec<PublicKey>);

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet of {}", self.0.len())
    }
}

impl KeySet {
    /// Reads a document that an issuer publishes.
    pub fn of(jwks: &Value) -> Result<Self, KeySetError> {
        let keys = Self::listed(jwks)?;
        let keys: Vec<_> = keys.iter().filter_map(PublicKey::of).collect();
        match keys.is_empty() {
            true => Err(KeySetError::NoUsableKey),
            false => Ok(Self(keys)),
        }
    }

    /// Reads one that an administrator registers: it is stored and shown.
    pub fn registered(jwks: &Value) -> Result<Self, KeySetError> {
        match Self::listed(jwks)?.iter().any(is_private) {
            true => Err(KeySetError::Private),
            false => Self::of(jwks),
        }
    }

    fn listed(jwks: &Value) -> Result<&[Value], KeySetError> {
        let keys = jwks.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(KeySetError::NotAJwks)?;
        match keys.len() > KEYS_MAX {
            true => Err(KeySetError::TooMany),
            false => Ok(keys),
        }
    }

    /// Whether a signature can be checked that names this key.
    pub fn knows(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.0.iter().any(|key| key.id.as_deref() == Some(id)))
    }

    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
        signed: &str,
        signature: &str,
    ) -> Result<(), Unverified> {
        let named = |key: &&PublicKey| id.is_none() || key.id.as_deref() == id;
        let mut fitting = self
            .0
            .iter()
            .filter(named)
            .filter(|key| key.fits(algorithm));
        let Some(key) = fitting.next() else {
            return Err(match id.is_some() && self.knows(id) {
                true => Unverified::OtherAlgorithm,
                false => Unverified::UnknownKey,
            });
        };
        if id.is_none() && fitting.next().is_some() {
            return Err(Unverified::UnknownKey);
        }
        let algorithm = algorithm.of_library();
        match crypto::verify(signature, signed.as_bytes(), &key.key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Unverified::Signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The public keys of RFC 7517, appendix A.1, without what says what they are for.
    fn keys() -> [Value; 2] {
        let elliptic = json!({
            "kty": "EC", "crv": "P-256", "kid": "ec",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        });
        let rsa = json!({
            "kty": "RSA", "kid": "rsa", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        [elliptic, rsa]
    }

    fn refused(set: &KeySet, id: Option<&str>, algorithm: &str) -> Unverified {
        let algorithm = JwtAlgorithm::parse(algorithm).unwrap();
        set.verify(id, algorithm, "signed", "AAAA").unwrap_err()
    }

    #[test]
    fn a_signature_is_tried_with_the_one_key_that_may_have_made_it() {
        let [elliptic, rsa] = keys();
        let set = KeySet::of(&json!({"keys": [elliptic, rsa]})).unwrap();
        for (id, algorithm, why) in [
            (Some("ec"), "ES256", Unverified::Signature),
            (Some("ec"), "RS256", Unverified::OtherAlgorithm),
            (Some("rsa"), "ES256", Unverified::OtherAlgorithm),
            (Some("other"), "RS256", Unverified::UnknownKey),
            (None, "RS256", Unverified::Signature),
        ] {
            assert_eq!(refused(&set, id, algorithm), why, "{id:?} {algorithm}");
        }
        // Without an id, none of several is guessed.
        let [_, again] = keys();
        let set = KeySet::of(&json!({"keys": [rsa, again]})).unwrap();
        assert_eq!(refused(&set, None, "RS256"), Unverified::UnknownKey);
        assert_eq!(refused(&set, Some("rsa"), "RS256"), Unverified::Signature);
    }

    #[test]
    fn a_private_key_is_not_registered_and_not_used_where_it_is_published() {
        let [elliptic, rsa] = keys();
        let mut private = rsa;
        private["d"] = json!("AAAA");
        let both = json!({"keys": [elliptic, private.clone()]});
        let told = |read: Result<KeySet, _>| read.map(|set| set.0.len());
        assert_eq!(told(KeySet::registered(&both)), Err(KeySetError::Private));
        assert_eq!(told(KeySet::of(&both)), Ok(1));
        let alone = KeySet::of(&json!({"keys": [private]}));
        assert_eq!(told(alone), Err(KeySetError::NoUsableKey));
    }
}

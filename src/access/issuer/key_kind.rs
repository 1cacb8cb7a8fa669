//! The kinds of public keys that signatures are verified with.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyKind {
    /// None of a key that signs nothing here: a shared secret, or one on another curve.
    pub(super) fn of(parameters: &AlgorithmParameters) -> Option<Self> {
        match parameters {
            AlgorithmParameters::RSA(_) => Some(Self::Rsa),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => Some(Self::P256),
                EllipticCurve::P384 => Some(Self::P384),
                EllipticCurve::P521 | EllipticCurve::Ed25519 => None,
            },
            AlgorithmParameters::OctetKeyPair(key) => {
                (key.curve == EllipticCurve::Ed25519).then_some(Self::Ed25519)
            }
            AlgorithmParameters::OctetKey(_) => None,
        }
    }
}

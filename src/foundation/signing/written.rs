//! Keys as operators paste them: PEM, JSON Web Keys, shared keys as text.

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use zeroize::Zeroizing;

/// How a key is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// PKCS#8, PKCS#1 or SEC1 in PEM, or its Base64 without the lines around it.
    #[default]
    Pem,
    /// A PEM file in Base64.
    Base64Pem,
    /// A JSON Web Key (RFC 7517).
    Jwk,
    Hex,
    Base64,
    Utf8,
}

impl KeyEncoding {
    pub const CHOICES: [(&'static str, Self); 6] = [
        ("pem", Self::Pem),
        ("base64_pem", Self::Base64Pem),
        ("jwk", Self::Jwk),
        ("hex", Self::Hex),
        ("base64", Self::Base64),
        ("utf8", Self::Utf8),
    ];
}

/// Why a key cannot be used. Never shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is not a private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    Pem,
    #[error("is not base64")]
    Base64,
    #[error("is not hexadecimal")]
    Hex,
    #[error(
        "is not a private JSON Web Key of a kind that is known (RSA, P-256, P-384, P-521, Ed25519, oct)"
    )]
    Jwk,
    #[error("does not fit the algorithm")]
    Unfit,
    #[error("is not a certificate in PEM")]
    Certificate,
    #[error("is not a public or private key in PEM")]
    PublicKey,
    #[error("refused to sign")]
    Refused,
}

/// A curve of an EC key, by its name in a JSON Web Key (RFC 7518, section 6.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [(&'static str, Self); 3] = [
        ("P-256", Self::P256),
        ("P-384", Self::P384),
        ("P-521", Self::P521),
    ];

    /// Signatures are of a fixed length, as JOSE wants them.
    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }
}

/// A key, by what it signs with.
pub(super) enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Shared(Zeroizing<Vec<u8>>),
}

/// A shared key's bytes. PEM and JWK name no bytes.
pub fn bytes(text: &str, encoding: KeyEncoding) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match encoding {
        KeyEncoding::Utf8 => Ok(Zeroizing::new(text.as_bytes().to_vec())),
        KeyEncoding::Base64 => base64(text),
        KeyEncoding::Hex => from_hex(text).ok_or(KeyError::Hex),
        KeyEncoding::Pem | KeyEncoding::Base64Pem | KeyEncoding::Jwk => Err(KeyError::Unfit),
    }
}

/// Environment variables and JSON often carry PEM with `\n` written out.
pub fn with_lines(pem: &str) -> String {
    pem.replace("\\r", "").replace("\\n", "\n")
}

pub(super) fn from_pem(text: &str) -> Result<Kind, KeyError> {
    let text = Zeroizing::new(with_lines(text));
    if !text.contains("-----BEGIN") {
        return from_der(&base64(&text).map_err(|_| KeyError::Pem)?).ok_or(KeyError::Pem);
    }
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Pem)?;
    from_der(der.secret_der()).ok_or(KeyError::Pem)
}

fn from_der(der: &[u8]) -> Option<Kind> {
    let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
    if let Ok(key) = rsa() {
        return Some(Kind::Rsa(Box::new(key)));
    }
    for (_, curve) in Curve::ALL {
        if let Ok(key) = EcdsaKeyPair::from_private_key_der(curve.signing(), der) {
            return Some(Kind::Ec(curve, Box::new(key)));
        }
    }
    let key = Ed25519KeyPair::from_pkcs8(der).ok()?;
    Some(Kind::Ed25519(Box::new(key)))
}

/// A key, and the name that it gives itself.
pub(super) fn from_jwk(text: &str) -> Result<(Kind, Option<String>), KeyError> {
    let jwk: Value = serde_json::from_str(text).map_err(|_| KeyError::Jwk)?;
    let part = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str)?;
        URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .ok()
            .map(Zeroizing::new)
    };
    let kind = match jwk.get("kty").and_then(Value::as_str) {
        Some("RSA") => rsa_from_parts(part),
        Some("EC") => ec_from_parts(jwk.get("crv").and_then(Value::as_str), part),
        Some("OKP") => part("d")
            .zip(part("x"))
            .and_then(|(d, x)| Ed25519KeyPair::from_seed_and_public_key(&d, &x).ok())
            .map(|key| Kind::Ed25519(Box::new(key))),
        Some("oct") => part("k").map(Kind::Shared),
        _ => None,
    };
    let kid = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
    Ok((kind.ok_or(KeyError::Jwk)?, kid))
}

fn ec_from_parts(
    curve: Option<&str>,
    part: impl Fn(&str) -> Option<Zeroizing<Vec<u8>>>,
) -> Option<Kind> {
    let (_, curve) = Curve::ALL
        .into_iter()
        .find(|(name, _)| Some(*name) == curve)?;
    // An uncompressed point (SEC 1, section 2.3.3).
    let point = [&[4_u8][..], part("x")?.as_slice(), part("y")?.as_slice()].concat();
    let key = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &part("d")?, &point);
    Some(Kind::Ec(curve, Box::new(key.ok()?)))
}

fn rsa_from_parts(part: impl Fn(&str) -> Option<Zeroizing<Vec<u8>>>) -> Option<Kind> {
    let (n, e, d) = (part("n")?, part("e")?, part("d")?);
    let (p, q) = (part("p")?, part("q")?);
    let (dp, dq, qi) = (part("dp")?, part("dq")?, part("qi")?);
    let parts = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: n.as_slice(),
            e: e.as_slice(),
        },
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    };
    let key = RsaKeyPair::from_components(&parts).ok()?;
    Some(Kind::Rsa(Box::new(key)))
}

/// Base64 in either alphabet, with or without padding, line breaks ignored.
pub(super) fn base64(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let text = Zeroizing::new(text);
    let bare = text.trim_end_matches('=');
    URL_SAFE_NO_PAD
        .decode(bare)
        .or_else(|_| STANDARD.decode(text.as_bytes()))
        .or_else(|_| STANDARD_NO_PAD.decode(bare))
        .map(Zeroizing::new)
        .map_err(|_| KeyError::Base64)
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.trim();
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    let bytes = pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
    bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

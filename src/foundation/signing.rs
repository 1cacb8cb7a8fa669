//! Private keys as operators paste them, and signatures by them. The cryptography is the
//! library's; here is only how keys are written down.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Signature algorithms, by their JOSE names (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
    Hs256,
}

impl Algorithm {
    pub const CHOICES: [(&'static str, Self); 5] = [
        ("RS256", Self::Rs256),
        ("PS256", Self::Ps256),
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
        ("HS256", Self::Hs256),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

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
    #[error("is not a private JSON Web Key of a kind that is known (RSA, P-256, Ed25519, oct)")]
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

enum Kind {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Shared(Zeroizing<Vec<u8>>),
}

/// A key that signs.
pub struct SigningKey {
    kind: Kind,
    /// A JSON Web Key may name itself.
    pub kid: Option<String>,
}

impl SigningKey {
    pub fn read(text: &str, encoding: KeyEncoding) -> Result<Self, KeyError> {
        let unnamed = |kind| Self { kind, kid: None };
        Ok(match encoding {
            KeyEncoding::Pem => unnamed(from_pem(text)?),
            KeyEncoding::Base64Pem => {
                let pem = base64(text)?;
                let pem = std::str::from_utf8(&pem).map_err(|_| KeyError::Pem)?;
                unnamed(from_pem(pem)?)
            }
            KeyEncoding::Jwk => from_jwk(text)?,
            KeyEncoding::Hex | KeyEncoding::Base64 | KeyEncoding::Utf8 => {
                unnamed(Kind::Shared(bytes(text, encoding)?))
            }
        })
    }

    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match (&self.kind, algorithm) {
            (Kind::Rsa(key), Algorithm::Rs256 | Algorithm::Ps256) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let scheme = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                key.sign(scheme, &random, message, &mut signature)
                    .map_err(|_| KeyError::Refused)?;
                Ok(signature)
            }
            (Kind::P256(key), Algorithm::Es256) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Refused),
            (Kind::Ed25519(key), Algorithm::EdDsa) => Ok(key.sign(message).as_ref().to_vec()),
            (Kind::Shared(key), Algorithm::Hs256) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key);
                Ok(hmac::sign(&key, message).as_ref().to_vec())
            }
            _ => Err(KeyError::Unfit),
        }
    }
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

/// The SHA-256 of the subject public key info (RFC 5280) of a public or private key.
pub fn spki_sha256(pem: &str) -> Result<[u8; 32], KeyError> {
    let pem = with_lines(pem);
    if let Ok(public) = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()) {
        return Ok(Sha256::digest(&public).into());
    }
    let der =
        |of: Result<Vec<u8>, aws_lc_rs::error::Unspecified>| of.map_err(|_| KeyError::PublicKey);
    let public = match from_pem(&pem).map_err(|_| KeyError::PublicKey)? {
        Kind::Rsa(key) => der(key.public_key().as_der().map(|der| der.as_ref().to_vec()))?,
        Kind::P256(key) => der(key.public_key().as_der().map(|der| der.as_ref().to_vec()))?,
        Kind::Ed25519(key) => der(key.public_key().as_der().map(|der| der.as_ref().to_vec()))?,
        Kind::Shared(_) => return Err(KeyError::PublicKey),
    };
    Ok(Sha256::digest(public).into())
}

/// A certificate as DER, for its thumbprints (RFC 7515, sections 4.1.7 and 4.1.8).
pub fn certificate(pem: &str) -> Result<Vec<u8>, KeyError> {
    CertificateDer::from_pem_slice(with_lines(pem).as_bytes())
        .map(|der| der.to_vec())
        .map_err(|_| KeyError::Certificate)
}

/// Environment variables and JSON often carry PEM with `\n` written out.
pub fn with_lines(pem: &str) -> String {
    pem.replace("\\r", "").replace("\\n", "\n")
}

fn from_pem(text: &str) -> Result<Kind, KeyError> {
    let text = Zeroizing::new(with_lines(text));
    if !text.contains("-----BEGIN") {
        return from_der(&base64(&text).map_err(|_| KeyError::Pem)?).ok_or(KeyError::Pem);
    }
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Pem)?;
    from_der(der.secret_der()).ok_or(KeyError::Pem)
}

fn from_der(der: &[u8]) -> Option<Kind> {
    let rsa = || RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
    let p256 = || EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
    if let Ok(key) = rsa() {
        return Some(Kind::Rsa(Box::new(key)));
    }
    if let Ok(key) = p256() {
        return Some(Kind::P256(Box::new(key)));
    }
    let key = Ed25519KeyPair::from_pkcs8(der).ok()?;
    Some(Kind::Ed25519(Box::new(key)))
}

fn from_jwk(text: &str) -> Result<SigningKey, KeyError> {
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
        Some("EC") => {
            let point = part("x")
                .zip(part("y"))
                .map(|(x, y)| [&[4_u8][..], x.as_slice(), y.as_slice()].concat());
            point
                .zip(part("d"))
                .and_then(|(point, d)| {
                    let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                    EcdsaKeyPair::from_private_key_and_public_key(curve, &d, &point).ok()
                })
                .map(|key| Kind::P256(Box::new(key)))
        }
        Some("OKP") => part("d")
            .zip(part("x"))
            .and_then(|(d, x)| Ed25519KeyPair::from_seed_and_public_key(&d, &x).ok())
            .map(|key| Kind::Ed25519(Box::new(key))),
        Some("oct") => part("k").map(Kind::Shared),
        _ => None,
    };
    Ok(SigningKey {
        kind: kind.ok_or(KeyError::Jwk)?,
        kid: jwk.get("kid").and_then(Value::as_str).map(str::to_owned),
    })
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
fn base64(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let text = Zeroizing::new(text);
    let bare = text.trim_end_matches('=');
    URL_SAFE_NO_PAD
        .decode(bare)
        .or_else(|_| STANDARD.decode(text.as_bytes()))
        .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(bare))
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
        UnparsedPublicKey, VerificationAlgorithm,
    };

    const RSA: &str = include_str!("../../tests/keys/rsa_private_key.pem");
    const EC: &str = include_str!("../../tests/keys/ec_private_key.pem");
    const ED: &str = include_str!("../../tests/keys/ed_private_key.pem");
    const MESSAGE: &[u8] = b"what is signed";

    fn verified(key: &SigningKey, algorithm: Algorithm, public_of: &str) -> bool {
        let signature = key.sign(algorithm, MESSAGE).unwrap();
        let public = match from_pem(public_of).unwrap() {
            Kind::Rsa(key) => key.public_key().as_ref().to_vec(),
            Kind::P256(key) => key.public_key().as_ref().to_vec(),
            Kind::Ed25519(key) => key.public_key().as_ref().to_vec(),
            Kind::Shared(_) => unreachable!(),
        };
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::EdDsa => &ED25519,
            Algorithm::Hs256 => unreachable!(),
        };
        UnparsedPublicKey::new(scheme, public)
            .verify(MESSAGE, &signature)
            .is_ok()
    }

    #[test]
    fn a_private_key_signs_in_every_form_it_is_pasted_in() {
        let bare: String = RSA.lines().filter(|line| !line.contains("-----")).collect();
        let pkcs1 = include_str!("../../tests/keys/rsa_pkcs1.pem").to_owned();
        let sec1 = include_str!("../../tests/keys/ec_sec1.pem").to_owned();
        let written_out = |pem: &str| pem.replace('\n', "\\n");
        for (text, encoding, algorithm, of) in [
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Rs256, RSA),
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Ps256, RSA),
            (pkcs1, KeyEncoding::Pem, Algorithm::Rs256, RSA),
            (bare, KeyEncoding::Pem, Algorithm::Rs256, RSA),
            (written_out(RSA), KeyEncoding::Pem, Algorithm::Rs256, RSA),
            (
                RSA.replace('\n', "\r\n"),
                KeyEncoding::Pem,
                Algorithm::Rs256,
                RSA,
            ),
            (
                STANDARD.encode(RSA),
                KeyEncoding::Base64Pem,
                Algorithm::Rs256,
                RSA,
            ),
            (EC.to_owned(), KeyEncoding::Pem, Algorithm::Es256, EC),
            (sec1, KeyEncoding::Pem, Algorithm::Es256, EC),
            (ED.to_owned(), KeyEncoding::Pem, Algorithm::EdDsa, ED),
        ] {
            let key = SigningKey::read(&text, encoding).unwrap();
            assert!(verified(&key, algorithm, of), "{algorithm:?} {encoding:?}");
        }
    }

    #[test]
    fn a_json_web_key_signs_and_names_itself() {
        for (jwk, algorithm, of, kid) in [
            (
                include_str!("../../tests/keys/rsa.jwk.json"),
                Algorithm::Rs256,
                RSA,
                "key-of-rsa",
            ),
            (
                include_str!("../../tests/keys/ec.jwk.json"),
                Algorithm::Es256,
                EC,
                "key-of-ec",
            ),
            (
                include_str!("../../tests/keys/ed.jwk.json"),
                Algorithm::EdDsa,
                ED,
                "key-of-ed",
            ),
        ] {
            let key = SigningKey::read(jwk, KeyEncoding::Jwk).unwrap();
            assert_eq!(key.kid.as_deref(), Some(kid));
            assert!(verified(&key, algorithm, of), "{algorithm:?}");
        }
        let shared = SigningKey::read(r#"{"kty":"oct","k":"AP8Q"}"#, KeyEncoding::Jwk).unwrap();
        let hex = SigningKey::read("00ff10", KeyEncoding::Hex).unwrap();
        let signed = |key: &SigningKey| key.sign(Algorithm::Hs256, MESSAGE).unwrap();
        assert_eq!(signed(&shared), signed(&hex));
    }

    #[test]
    fn what_is_no_key_or_does_not_fit_is_refused_without_being_shown() {
        for (text, encoding, why) in [
            ("canary", KeyEncoding::Pem, KeyError::Pem),
            ("", KeyEncoding::Pem, KeyError::Pem),
            (
                "-----BEGIN PRIVATE KEY-----\ncanary\n",
                KeyEncoding::Pem,
                KeyError::Pem,
            ),
            ("can ary!", KeyEncoding::Base64, KeyError::Base64),
            ("0g", KeyEncoding::Hex, KeyError::Hex),
            ("é0", KeyEncoding::Hex, KeyError::Hex),
            ("{}", KeyEncoding::Jwk, KeyError::Jwk),
            (
                r#"{"kty":"RSA","n":"AQAB"}"#,
                KeyEncoding::Jwk,
                KeyError::Jwk,
            ),
        ] {
            assert_eq!(SigningKey::read(text, encoding).err(), Some(why), "{text}");
            assert!(!why.to_string().contains("canary"));
        }
        let rsa = SigningKey::read(RSA, KeyEncoding::Pem).unwrap();
        for unfit in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
            assert_eq!(rsa.sign(unfit, MESSAGE), Err(KeyError::Unfit));
        }
    }

    #[test]
    fn the_fingerprint_of_a_private_key_is_that_of_its_public_key() {
        let public = include_str!("../../tests/keys/rsa_public_key.pem");
        let fingerprint = spki_sha256(public).unwrap();
        assert_eq!(
            STANDARD.encode(fingerprint),
            "vziCuWfQTfCuS4kPe+3m3N0/IQqqB+3jcv3cAX5Z85w="
        );
        assert_eq!(spki_sha256(RSA), Ok(fingerprint));
        assert!(spki_sha256(EC).is_ok() && spki_sha256(ED).is_ok());
        assert_eq!(spki_sha256("canary"), Err(KeyError::PublicKey));
    }
}

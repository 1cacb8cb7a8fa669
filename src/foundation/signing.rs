//! Signatures by keys as operators paste them. The cryptography is the library's.

mod written;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

use written::{Curve, Kind, base64, from_jwk, from_pem};
pub use written::{KeyEncoding, KeyError, bytes, with_lines};

/// Signature algorithms, by their JOSE names (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
    Hs256,
}

impl Algorithm {
    pub const CHOICES: [(&'static str, Self); 11] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("ES512", Self::Es512),
        ("EdDSA", Self::EdDsa),
        ("HS256", Self::Hs256),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// How a message is encoded for an RSA key (RFC 7518, sections 3.3 and 3.5).
    fn rsa_encoding(self) -> Option<&'static dyn RsaEncoding> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_SHA256),
            Self::Rs384 => Some(&RSA_PKCS1_SHA384),
            Self::Rs512 => Some(&RSA_PKCS1_SHA512),
            Self::Ps256 => Some(&RSA_PSS_SHA256),
            Self::Ps384 => Some(&RSA_PSS_SHA384),
            Self::Ps512 => Some(&RSA_PSS_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa | Self::Hs256 => None,
        }
    }

    /// The curve of the key that it takes (RFC 7518, section 3.4).
    fn curve(self) -> Option<Curve> {
        match self {
            Self::Es256 => Some(Curve::P256),
            Self::Es384 => Some(Curve::P384),
            Self::Es512 => Some(Curve::P521),
            Self::Rs256 | Self::Rs384 | Self::Rs512 => None,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => None,
            Self::EdDsa | Self::Hs256 => None,
        }
    }

    /// Whether the provider has the same key.
    pub fn is_shared(self) -> bool {
        self == Self::Hs256
    }
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
            KeyEncoding::Jwk => {
                let (kind, kid) = from_jwk(text)?;
                Self { kind, kid }
            }
            KeyEncoding::Hex | KeyEncoding::Base64 | KeyEncoding::Utf8 => {
                unnamed(Kind::Shared(bytes(text, encoding)?))
            }
        })
    }

    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match (&self.kind, algorithm) {
            (Kind::Rsa(key), _) => {
                let encoding = algorithm.rsa_encoding().ok_or(KeyError::Unfit)?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(|_| KeyError::Refused)?;
                Ok(signature)
            }
            (Kind::Ec(curve, key), _) if algorithm.curve() == Some(*curve) => key
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
        Kind::Ec(_, key) => der(key.public_key().as_der().map(|der| der.as_ref().to_vec()))?,
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        UnparsedPublicKey, VerificationAlgorithm,
    };
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const RSA: &str = include_str!("../../tests/keys/rsa_private_key.pem");
    const EC: &str = include_str!("../../tests/keys/ec_private_key.pem");
    const EC384: &str = include_str!("../../tests/keys/ec384_private_key.pem");
    const EC521: &str = include_str!("../../tests/keys/ec521_private_key.pem");
    const ED: &str = include_str!("../../tests/keys/ed_private_key.pem");
    const MESSAGE: &[u8] = b"what is signed";

    fn verified(key: &SigningKey, algorithm: Algorithm, public_of: &str) -> bool {
        let signature = key.sign(algorithm, MESSAGE).unwrap();
        let public = match from_pem(public_of).unwrap() {
            Kind::Rsa(key) => key.public_key().as_ref().to_vec(),
            Kind::Ec(_, key) => key.public_key().as_ref().to_vec(),
            Kind::Ed25519(key) => key.public_key().as_ref().to_vec(),
            Kind::Shared(_) => unreachable!(),
        };
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED,
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
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Rs384, RSA),
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Rs512, RSA),
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Ps256, RSA),
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Ps384, RSA),
            (RSA.to_owned(), KeyEncoding::Pem, Algorithm::Ps512, RSA),
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
            (EC384.to_owned(), KeyEncoding::Pem, Algorithm::Es384, EC384),
            (EC521.to_owned(), KeyEncoding::Pem, Algorithm::Es512, EC521),
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
                include_str!("../../tests/keys/ec384.jwk.json"),
                Algorithm::Es384,
                EC384,
                "key-of-ec384",
            ),
            (
                include_str!("../../tests/keys/ec521.jwk.json"),
                Algorithm::Es512,
                EC521,
                "key-of-ec521",
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
        // Each curve has an algorithm of its own.
        let ec = SigningKey::read(EC, KeyEncoding::Pem).unwrap();
        for unfit in [Algorithm::Es384, Algorithm::Es512, Algorithm::Rs256] {
            assert_eq!(ec.sign(unfit, MESSAGE), Err(KeyError::Unfit));
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

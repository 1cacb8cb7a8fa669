//! Tells a served token from another one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::expiry::Expiry;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{Generation, SecretId};

/// Of the digest, in bytes: enough that no two tokens of a secret have the same.
const DIGEST_BYTES: usize = 12;
const PREFIX: &[u8] = b"W/";
/// Of the tag: the prefix, and the digest in Base64 and quotes.
const LENGTH: usize = PREFIX.len() + 1 + DIGEST_BYTES / 3 * 4 + 1;

/// An entity tag (RFC 9110, section 8.8.3). Answers of the same tag hold the same token of the same
/// expiry. It is a weak one: they may say another `expires_in`, and another `source`.
///
/// It is made of what comes with each token that is stored, and not of the token, about which it
/// must say nothing: other replicas make the same, and neither a token that was restored from a
/// backup nor a secret that was made again under its name has the tag of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedTag([u8; LENGTH]);

impl ServedTag {
    pub fn of(
        secret: SecretId,
        generation: Generation,
        obtained_at: EpochMs,
        expiry: Expiry,
    ) -> Self {
        let mut digest = Sha256::new();
        let expires_at = expiry.at().map_or(i64::MAX, |at| at.0);
        for number in [secret.0, generation.0, obtained_at.0, expires_at] {
            digest.update(number.to_be_bytes());
        }
        let digest = URL_SAFE_NO_PAD.encode(&digest.finalize()[..DIGEST_BYTES]);
        let tag = [PREFIX, b"\"", digest.as_bytes(), b"\""].concat();
        Self(tag.try_into().expect("Base64 of so many bytes is as long"))
    }

    /// As `ETag` has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// In its quotes, without what says that it is weak.
    pub fn opaque(&self) -> &[u8] {
        &self.0[PREFIX.len()..]
    }
}

impl fmt::Display for ServedTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_another_token_differs_in_its_tag_is_another_one() {
        let tag = |secret, generation, obtained_at, expiry| {
            ServedTag::of(
                SecretId(secret),
                Generation(generation),
                EpochMs(obtained_at),
                expiry,
            )
        };
        let one = tag(1, 2, 3, Expiry::At(EpochMs(4)));
        assert_eq!(one, tag(1, 2, 3, Expiry::At(EpochMs(4))));
        for other in [
            tag(9, 2, 3, Expiry::At(EpochMs(4))),
            tag(1, 9, 3, Expiry::At(EpochMs(4))),
            tag(1, 2, 9, Expiry::At(EpochMs(4))),
            tag(1, 2, 3, Expiry::At(EpochMs(9))),
            tag(1, 2, 3, Expiry::Never),
        ] {
            assert_ne!(one, other);
        }
        let text = std::str::from_utf8(one.as_bytes()).unwrap();
        assert_eq!(text.len(), "W/\"\"".len() + 16, "{text}");
        assert_eq!(text.as_bytes(), [PREFIX, one.opaque()].concat());
    }
}

//! The cryptography of pushes, as the providers document it: sorted SHA-1 and AES-256-CBC
//! of WeChat and WeCom, SHA-256 and AES-256-CBC of Feishu.
//!
//! CBC is not authenticated. Whoever decrypts has checked a signature first, or answers
//! every failure alike.

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::foundation::hex;

const BLOCK_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// WeChat and WeCom pad to twice the cipher's block.
const WECHAT_PADDING_MAX: usize = 32;
const FEISHU_PADDING_MAX: usize = BLOCK_BYTES;
/// `random (16), length of the message (4, big-endian), message, receive id`.
const FRAME_RANDOM_BYTES: usize = 16;

/// An EncodingAESKey is 43 random characters, so the two bits that 32 bytes leave over in
/// the last one may be set.
const ENCODING_AES_KEY: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

pub struct AesKey(Zeroizing<[u8; KEY_BYTES]>);

impl AesKey {
    /// The EncodingAESKey of WeChat and WeCom.
    pub fn of_wechat(encoding_aes_key: &SecretString) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let length = ENCODING_AES_KEY
            .decode_slice(encoding_aes_key.expose_secret(), key.as_mut_slice())
            .ok()?;
        (length == KEY_BYTES).then_some(Self(key))
    }

    /// The Encrypt Key of Feishu: any text.
    pub fn of_feishu(encrypt_key: &SecretString) -> Self {
        let digest = Sha256::digest(encrypt_key.expose_secret());
        Self(Zeroizing::new(digest.into()))
    }
}

/// What stands in a decrypted push of WeChat or WeCom.
pub struct Frame<'a> {
    pub message: &'a [u8],
    pub receive_id: &'a [u8],
}

impl<'a> Frame<'a> {
    pub fn of(plain: &'a [u8]) -> Option<Self> {
        let (_, rest) = plain.split_at_checked(FRAME_RANDOM_BYTES)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, receive_id) = rest.split_at_checked(length)?;
        Some(Self {
            message,
            receive_id,
        })
    }
}

/// Decrypts `Encrypt` or `echostr`; the initialization vector is the key's first half.
pub fn decrypt_wechat(key: &AesKey, encrypted: &str) -> Option<Zeroizing<Vec<u8>>> {
    let buffer = Zeroizing::new(STANDARD.decode(encrypted).ok()?);
    let iv = key.0.first_chunk::<BLOCK_BYTES>()?;
    decrypt(key, iv, &buffer, WECHAT_PADDING_MAX)
}

/// Decrypts `encrypt`; the initialization vector stands before the ciphertext.
pub fn decrypt_feishu(key: &AesKey, encrypted: &str) -> Option<Zeroizing<Vec<u8>>> {
    let buffer = STANDARD.decode(encrypted).ok()?;
    let (iv, ciphertext) = buffer.split_first_chunk::<BLOCK_BYTES>()?;
    decrypt(key, iv, ciphertext, FEISHU_PADDING_MAX)
}

fn decrypt(
    key: &AesKey,
    iv: &[u8; BLOCK_BYTES],
    ciphertext: &[u8],
    padding_max: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    cbc::Decryptor::<Aes256>::new((&*key.0).into(), iv.into())
        .decrypt_padded::<NoPadding>(&mut plain)
        .ok()?;
    let padding = usize::from(*plain.last()?);
    let length = plain.len().checked_sub(padding)?;
    let good = (1..=padding_max).contains(&padding)
        && plain[length..]
            .iter()
            .all(|byte| usize::from(*byte) == padding);
    plain.truncate(length);
    good.then_some(plain)
}

/// `msg_signature`, and `signature` where nothing is encrypted: SHA-1 of the sorted parts.
pub fn sorted_sha1<const N: usize>(mut parts: [&str; N]) -> String {
    parts.sort_unstable();
    let mut digest = Sha1::new();
    parts.iter().for_each(|part| digest.update(part));
    hex(&digest.finalize())
}

/// `X-Lark-Signature`.
pub fn feishu_signature(
    timestamp: &str,
    nonce: &str,
    encrypt_key: &SecretString,
    body: &[u8],
) -> String {
    let digest = Sha256::new()
        .chain_update(timestamp)
        .chain_update(nonce)
        .chain_update(encrypt_key.expose_secret())
        .chain_update(body);
    hex(&digest.finalize())
}

/// Compares in a time that does not tell where two texts differ.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn encrypted(plain: &[u8]) -> Vec<u8> {
        use aes::cipher::BlockModeEncrypt;
        let mut buffer = plain.to_vec();
        let length = buffer.len();
        cbc::Encryptor::<Aes256>::new(&[1; KEY_BYTES].into(), &[2; BLOCK_BYTES].into())
            .encrypt_padded::<NoPadding>(&mut buffer, length)
            .unwrap();
        buffer
    }

    fn decrypted(ciphertext: &[u8], padding_max: usize) -> Option<Vec<u8>> {
        let key = AesKey(Zeroizing::new([1; KEY_BYTES]));
        decrypt(&key, &[2; BLOCK_BYTES], ciphertext, padding_max).map(|plain| plain.to_vec())
    }

    /// The example of Feishu's page on decryption.
    #[test]
    fn feishus_published_ciphertext_is_decrypted() {
        let encrypted = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=";
        let plain = decrypt_feishu(&AesKey::of_feishu(&secret("test key")), encrypted);
        assert_eq!(plain.unwrap().as_slice(), b"hello world");
        assert!(decrypt_feishu(&AesKey::of_feishu(&secret("test kez")), encrypted).is_none());
    }

    /// Computed with `printf … | sha256sum`.
    #[test]
    fn feishus_signature_is_over_timestamp_nonce_key_and_body() {
        let signature = feishu_signature("1502199207", "nonce", &secret("key"), b"{}");
        assert_eq!(
            signature,
            "617f3be124433ea162921235a4d928774843c63665b1e6e863a787a7d1052f32"
        );
    }

    #[test]
    fn an_encoding_aes_key_is_43_characters_whatever_the_last_two_bits() {
        for key in [
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA9",
        ] {
            assert!(AesKey::of_wechat(&secret(key)).is_some(), "{key}");
        }
        for key in [
            "",
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2",
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C=",
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2CA",
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2_",
        ] {
            assert!(AesKey::of_wechat(&secret(key)).is_none(), "{key}");
        }
    }

    #[test]
    fn paddings_are_checked_byte_by_byte_and_up_to_their_length() {
        let with = |tail: &[u8]| {
            let mut plain = vec![7; 64 - tail.len()];
            plain.extend_from_slice(tail);
            encrypted(&plain)
        };
        assert_eq!(decrypted(&with(&[1]), 16), Some(vec![7; 63]));
        assert_eq!(decrypted(&with(&[16; 16]), 16), Some(vec![7; 48]));
        assert_eq!(decrypted(&with(&[17; 17]), 16), None);
        assert_eq!(decrypted(&with(&[32; 32]), 32), Some(vec![7; 32]));
        assert_eq!(decrypted(&with(&[33; 33]), 32), None);
        assert_eq!(decrypted(&with(&[0]), 32), None);
        assert_eq!(decrypted(&with(&[3, 2, 3]), 32), None);
        assert_eq!(
            decrypted(&encrypted(&[32; 16]), 32),
            None,
            "longer than all"
        );
    }

    #[test]
    fn what_is_no_whole_blocks_or_no_base64_is_not_decrypted() {
        assert_eq!(decrypted(&[], 32), None);
        assert_eq!(decrypted(&[0; 17], 32), None);
        let key = AesKey(Zeroizing::new([1; KEY_BYTES]));
        for encrypted in ["", "?", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert!(decrypt_wechat(&key, encrypted).is_none(), "{encrypted}");
            assert!(decrypt_feishu(&key, encrypted).is_none(), "{encrypted}");
        }
    }

    #[test]
    fn a_frame_whose_length_is_beyond_its_end_is_none() {
        let frame = |length: u32| {
            let mut plain = vec![0; FRAME_RANDOM_BYTES];
            plain.extend(length.to_be_bytes());
            plain.extend(b"messageid");
            plain
        };
        let good = frame(7);
        let read = Frame::of(&good).unwrap();
        assert_eq!(
            (read.message, read.receive_id),
            (&b"message"[..], &b"id"[..])
        );
        assert!(Frame::of(&frame(9)).unwrap().receive_id.is_empty());
        assert!(Frame::of(&frame(10)).is_none());
        assert!(Frame::of(&frame(u32::MAX)).is_none());
        assert!(Frame::of(&good[..19]).is_none());
    }
}

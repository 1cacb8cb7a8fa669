//! What is signed and encrypted in a push and in a check of a URL.

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::ticket::crypto::{self, AesKey};
use crate::ticket::push::{Push, PushFault, PushKeys, Stamp, Window};

/// Checks `msg_signature`. WeChat sends `signature`, too, which covers nothing of the body.
pub fn verify(
    keys: PushKeys<'_>,
    push: &Push<'_>,
    encrypted: &str,
    window: Window,
) -> Result<i64, PushFault> {
    let stamp = stamp(push)?;
    let token = keys.token.expose_secret();
    let expected = crypto::sorted_sha1([token, stamp.timestamp, stamp.nonce, encrypted]);
    stamp.check(query(push, "msg_signature")?, &expected, window)
}

pub fn decrypt(keys: PushKeys<'_>, encrypted: &str) -> Result<Zeroizing<Vec<u8>>, PushFault> {
    let key = keys.aes_key.and_then(AesKey::of_wechat);
    crypto::decrypt_wechat(&key.ok_or(PushFault::NoKey)?, encrypted).ok_or(PushFault::Undecryptable)
}

pub fn stamp<'a>(push: &Push<'a>) -> Result<Stamp<'a>, PushFault> {
    Ok(Stamp {
        timestamp: query(push, "timestamp")?,
        nonce: query(push, "nonce")?,
    })
}

pub fn query<'a>(push: &Push<'a>, name: &'static str) -> Result<&'a str, PushFault> {
    push.query
        .iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.as_str())
        .ok_or(PushFault::Missing(name))
}

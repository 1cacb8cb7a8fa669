//! What the formats of pushes share: a push as it came, and what it turned out to be.

use secrecy::SecretString;

use super::crypto;

/// A ticket's push is about a thousand bytes; other events of the same URL are longer.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// WeCom says 512 at most; the others say nothing.
pub(super) const TICKET_MAX_BYTES: usize = 2048;

const CHALLENGE_MAX_BYTES: usize = 256;

/// What an app and its provider share.
#[derive(Clone, Copy)]
pub struct PushKeys<'a> {
    /// WeChat's component_appid, WeCom's suite id, Feishu's app id.
    pub app_id: &'a str,
    /// Token of WeChat and WeCom, Verification Token of Feishu.
    pub token: &'a SecretString,
    /// EncodingAESKey of WeChat and WeCom; Encrypt Key of Feishu, which need not have one.
    pub aes_key: Option<&'a SecretString>,
}

/// A request as it came.
#[derive(Clone, Copy)]
pub struct Push<'a> {
    /// Names and values, decoded once.
    pub query: &'a [(String, String)],
    pub headers: FeishuHeaders<'a>,
    /// As it was sent, byte by byte. Empty where a URL is checked by a GET.
    pub body: &'a [u8],
}

impl Push<'_> {
    /// A copy, for another thread.
    pub(super) fn copied(self) -> OwnedPush {
        OwnedPush {
            query: self.query.to_vec(),
            timestamp: self.headers.timestamp.map(str::to_owned),
            nonce: self.headers.nonce.map(str::to_owned),
            signature: self.headers.signature.map(str::to_owned),
            body: self.body.to_vec(),
        }
    }
}

/// The same, by itself.
pub(super) struct OwnedPush {
    query: Vec<(String, String)>,
    timestamp: Option<String>,
    nonce: Option<String>,
    signature: Option<String>,
    body: Vec<u8>,
}

impl OwnedPush {
    pub fn borrowed(&self) -> Push<'_> {
        Push {
            query: &self.query,
            headers: FeishuHeaders {
                timestamp: self.timestamp.as_deref(),
                nonce: self.nonce.as_deref(),
                signature: self.signature.as_deref(),
            },
            body: &self.body,
        }
    }
}

/// There are none where Feishu checks a URL, nor where the app has no Encrypt Key.
#[derive(Clone, Copy, Default)]
pub struct FeishuHeaders<'a> {
    pub timestamp: Option<&'a str>,
    pub nonce: Option<&'a str>,
    pub signature: Option<&'a str>,
}

impl<'a> FeishuHeaders<'a> {
    pub fn read(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            timestamp: header("x-lark-request-timestamp"),
            nonce: header("x-lark-request-nonce"),
            signature: header("x-lark-signature"),
        }
    }
}

/// Which pushes are neither too old nor from the future.
///
/// Feishu sends an event again after 15 seconds, 5 minutes, 1 hour and 6 hours. That it
/// signs anew is not documented; a ticket that was missed is followed by one every hour.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Seconds since the epoch.
    pub now_s: i64,
    pub tolerance_s: u32,
}

impl Window {
    pub(super) fn admit(self, sent_at_s: i64) -> Result<(), PushFault> {
        if self.now_s.abs_diff(sent_at_s) <= u64::from(self.tolerance_s) {
            Ok(())
        } else {
            Err(PushFault::Stale)
        }
    }
}

/// What a push turned out to be.
#[derive(Debug)]
pub enum Pushed {
    /// Pushes overtake each other: a ticket must not replace one that was sent after it.
    Ticket { value: SecretString, sent_at_s: i64 },
    /// The provider checks the URL and wants this answer.
    Challenge(PushReply),
    /// An event of no interest here. It is acknowledged, or it would come again.
    Other,
}

impl Pushed {
    pub(super) fn ticket(
        name: &'static str,
        value: Option<&str>,
        sent_at_s: i64,
    ) -> Result<Self, PushFault> {
        match value {
            None | Some("") => Err(PushFault::Missing(name)),
            Some(value) if value.len() > TICKET_MAX_BYTES => Err(PushFault::Malformed(name)),
            Some(value) => Ok(Self::Ticket {
                value: SecretString::from(value),
                sent_at_s,
            }),
        }
    }
}

/// What the provider wants to read, with HTTP status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReply {
    pub content_type: &'static str,
    pub body: String,
}

impl PushReply {
    pub(super) fn text(body: &str) -> Self {
        Self {
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    pub(super) fn json(body: String) -> Self {
        Self {
            content_type: "application/json; charset=utf-8",
            body,
        }
    }
}

/// Why a push is refused. Never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushFault {
    #[error("the body is longer than {BODY_MAX_BYTES} bytes")]
    TooLarge,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} cannot be read")]
    Malformed(&'static str),
    #[error("the signature does not fit the app's token or encryption key")]
    BadSignature,
    #[error("the verification token is not the app's")]
    BadToken,
    #[error("it was sent too long ago, or is dated in the future")]
    Stale,
    #[error("the app has no encryption key of this format")]
    NoKey,
    #[error("it cannot be decrypted with the app's encryption key")]
    Undecryptable,
    #[error("it is meant for another app")]
    WrongReceiver,
}

/// What is signed together with the content.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub timestamp: &'a str,
    pub nonce: &'a str,
}

impl Stamp<'_> {
    /// The timestamp, in seconds since the epoch, when it is signed and within the window.
    pub fn check(self, signature: &str, expected: &str, window: Window) -> Result<i64, PushFault> {
        if !crypto::same(signature, expected) {
            return Err(PushFault::BadSignature);
        }
        let sent_at_s = seconds(self.timestamp).ok_or(PushFault::Malformed("timestamp"))?;
        window.admit(sent_at_s)?;
        Ok(sent_at_s)
    }
}

/// Seconds since the epoch: exactly ten digits, as they are until 2286. What is signed is
/// joined without separators, and no digit must move from one part into the next.
pub(super) fn seconds(text: &str) -> Option<i64> {
    if text.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether a text may be echoed to whoever checks a URL: nothing that could be a message or
/// markup.
pub(super) fn is_word(text: &str) -> bool {
    let is_in_a_word = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    (1..=CHALLENGE_MAX_BYTES).contains(&text.len()) && text.chars().all(is_in_a_word)
}

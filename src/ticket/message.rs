//! Pushed tickets: WeChat Open Platform, WeCom suites and Feishu store apps send a ticket
//! to a URL every ten minutes or every hour, and give no token without it. Here a push is
//! verified, decrypted and read; nothing is stored.

use secrecy::{ExposeSecret, SecretString};

use super::crypto::{self, AesKey};
use super::{feishu, wechat};
use crate::realm::document::TicketFormat;

/// A ticket's push is about a thousand bytes; other events of the same URL are longer.
pub const BODY_MAX_BYTES: usize = 64 * 1024;
/// WeCom says 512 at most; the others say nothing.
const TICKET_MAX_BYTES: usize = 2048;
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
    pub(super) fn admit(self, sent_at_s: i64) -> Result<(), Refused> {
        if self.now_s.abs_diff(sent_at_s) <= u64::from(self.tolerance_s) {
            Ok(())
        } else {
            Err(Refused::Stale)
        }
    }
}

/// What a push turned out to be.
#[derive(Debug)]
pub enum Pushed {
    /// Pushes overtake each other: a ticket must not replace one that was sent after it.
    Ticket { value: SecretString, sent_at_s: i64 },
    /// The provider checks the URL and wants this answer.
    Challenge(Answer),
    /// An event of no interest here. It is acknowledged, or it would come again.
    Other,
}

impl Pushed {
    pub(super) fn ticket(
        name: &'static str,
        value: Option<&str>,
        sent_at_s: i64,
    ) -> Result<Self, Refused> {
        match value {
            None | Some("") => Err(Refused::Missing(name)),
            Some(value) if value.len() > TICKET_MAX_BYTES => Err(Refused::Malformed(name)),
            Some(value) => Ok(Self::Ticket {
                value: SecretString::from(value),
                sent_at_s,
            }),
        }
    }
}

/// What the provider wants to read, with HTTP status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
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
pub enum Refused {
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

/// How a push is answered that was taken or dropped.
pub fn acknowledgement(format: TicketFormat) -> Answer {
    match format {
        // Any other word counts as an error.
        TicketFormat::WechatXml | TicketFormat::WecomXml => Answer::text("success"),
        TicketFormat::FeishuJson => Answer::json("{}".to_owned()),
    }
}

/// Whether a text can be the encryption key of this format.
pub fn is_aes_key(format: TicketFormat, key: &SecretString) -> bool {
    match format {
        TicketFormat::WechatXml | TicketFormat::WecomXml => AesKey::of_wechat(key).is_some(),
        TicketFormat::FeishuJson => !key.expose_secret().is_empty(),
    }
}

/// The app a push says it is for. Nothing is verified: it serves to find the keys by.
/// Checks of a URL by a GET do not say, nor do encrypted pushes of Feishu.
pub fn claimed_app_id(format: TicketFormat, push: &Push<'_>) -> Result<Option<String>, Refused> {
    check_size(push)?;
    match format {
        _ if push.body.is_empty() => Ok(None),
        TicketFormat::WechatXml => wechat::claim(push.body, "AppId"),
        TicketFormat::WecomXml => wechat::claim(push.body, "ToUserName"),
        TicketFormat::FeishuJson => feishu::claim(push.body),
    }
}

/// Verifies, decrypts and reads a push.
pub fn open(
    format: TicketFormat,
    keys: PushKeys<'_>,
    push: &Push<'_>,
    window: Window,
) -> Result<Pushed, Refused> {
    check_size(push)?;
    match format {
        TicketFormat::WechatXml => wechat::open(&wechat::WECHAT, keys, push, window),
        TicketFormat::WecomXml => wechat::open(&wechat::WECOM, keys, push, window),
        TicketFormat::FeishuJson => feishu::open(keys, push, window),
    }
}

fn check_size(push: &Push<'_>) -> Result<(), Refused> {
    if push.body.len() > BODY_MAX_BYTES {
        return Err(Refused::TooLarge);
    }
    Ok(())
}

/// What is signed together with the content.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub timestamp: &'a str,
    pub nonce: &'a str,
}

impl Stamp<'_> {
    /// The timestamp, in seconds since the epoch, when it is signed and within the window.
    pub fn check(self, signature: &str, expected: &str, window: Window) -> Result<i64, Refused> {
        if !crypto::same(signature, expected) {
            return Err(Refused::BadSignature);
        }
        let sent_at_s = seconds(self.timestamp).ok_or(Refused::Malformed("timestamp"))?;
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

/// The integration tests' pushes.
#[cfg(test)]
#[path = "../../tests/it/kit/push.rs"]
#[expect(dead_code, reason = "some of it is for the integration tests only")]
pub(super) mod forge;

#[cfg(test)]
pub(super) mod tests {
    use super::forge::{PushRequest, PushingApp};
    use super::*;

    pub const NOW_S: i64 = 1_700_000_000;
    pub const AES_KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
    const FORMATS: [TicketFormat; 3] = [
        TicketFormat::WechatXml,
        TicketFormat::WecomXml,
        TicketFormat::FeishuJson,
    ];

    /// What a test sees of a push.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Seen {
        Ticket(String, i64),
        Challenge(Answer),
        Other,
    }

    pub fn app() -> PushingApp {
        PushingApp::new("an-app-id", "a-token", Some(AES_KEY))
    }

    pub fn see(
        format: TicketFormat,
        app: &PushingApp,
        request: &PushRequest,
    ) -> Result<Seen, Refused> {
        see_at(format, app, request, NOW_S)
    }

    pub fn see_at(
        format: TicketFormat,
        app: &PushingApp,
        request: &PushRequest,
        now_s: i64,
    ) -> Result<Seen, Refused> {
        let token = SecretString::from(app.token.as_str());
        let aes_key = app.aes_key.as_deref().map(SecretString::from);
        let keys = PushKeys {
            app_id: &app.app_id,
            token: &token,
            aes_key: aes_key.as_ref(),
        };
        let window = Window {
            now_s,
            tolerance_s: 600,
        };
        with_push(request, |push| match open(format, keys, push, window)? {
            Pushed::Ticket { value, sent_at_s } => {
                Ok(Seen::Ticket(value.expose_secret().to_owned(), sent_at_s))
            }
            Pushed::Challenge(answer) => Ok(Seen::Challenge(answer)),
            Pushed::Other => Ok(Seen::Other),
        })
    }

    fn with_push<T>(request: &PushRequest, look: impl FnOnce(&Push<'_>) -> T) -> T {
        let header = |name: &str| {
            let found = request.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_str())
        };
        look(&Push {
            query: &request.query,
            headers: FeishuHeaders::read(header),
            body: &request.body,
        })
    }

    fn ticket(format: TicketFormat, at_s: i64) -> PushRequest {
        match format {
            TicketFormat::WechatXml => app().wechat_ticket("ticket@@@one", at_s),
            TicketFormat::WecomXml => app().wecom_ticket("ticket@@@one", at_s),
            TicketFormat::FeishuJson => app().feishu_ticket("ticket@@@one", at_s),
        }
    }

    fn the_ticket() -> Seen {
        Seen::Ticket("ticket@@@one".to_owned(), NOW_S)
    }

    #[test]
    fn a_ticket_is_read_in_every_format() {
        for format in FORMATS {
            assert_eq!(
                see(format, &app(), &ticket(format, NOW_S)),
                Ok(the_ticket())
            );
        }
    }

    #[test]
    fn with_another_token_or_key_a_ticket_is_refused() {
        let other_token = PushingApp::new("an-app-id", "b-token", Some(AES_KEY));
        let other_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let other_key = PushingApp::new("an-app-id", "a-token", Some(other_key));
        let no_key = PushingApp::new("an-app-id", "a-token", None);
        for (format, by_token, by_key) in [
            (
                TicketFormat::WechatXml,
                Refused::BadSignature,
                Refused::Undecryptable,
            ),
            (
                TicketFormat::WecomXml,
                Refused::BadSignature,
                Refused::Undecryptable,
            ),
            (
                TicketFormat::FeishuJson,
                Refused::BadToken,
                Refused::BadSignature,
            ),
        ] {
            let ticket = ticket(format, NOW_S);
            assert_eq!(see(format, &other_token, &ticket), Err(by_token));
            assert_eq!(see(format, &other_key, &ticket), Err(by_key));
            assert_eq!(see(format, &no_key, &ticket), Err(Refused::NoKey));
        }
    }

    #[test]
    fn a_ticket_for_another_app_with_the_same_keys_is_refused() {
        let mut other = app();
        other.app_id = "another-app-id".to_owned();
        for format in FORMATS {
            assert_eq!(
                see(format, &other, &ticket(format, NOW_S)),
                Err(Refused::WrongReceiver)
            );
        }
    }

    #[test]
    fn a_ticket_that_is_too_old_or_from_the_future_is_refused() {
        for format in FORMATS {
            for (seconds, expected) in [
                (-601, Err(Refused::Stale)),
                (-600, Ok(())),
                (600, Ok(())),
                (601, Err(Refused::Stale)),
            ] {
                let seen = see_at(format, &app(), &ticket(format, NOW_S), NOW_S + seconds);
                assert_eq!(seen.map(|_| ()), expected, "{format:?} {seconds}");
            }
        }
    }

    #[test]
    fn with_any_byte_of_the_body_changed_a_ticket_is_refused() {
        for format in FORMATS {
            let good = ticket(format, NOW_S);
            // The envelope's claim is not signed, and nothing relies on it.
            let text = String::from_utf8(good.body.clone()).unwrap();
            let claim = text
                .find("<Encrypt>")
                .map_or(0..0, |end| "<xml>".len()..end);
            assert_eq!(claim.is_empty(), format == TicketFormat::FeishuJson);
            for (index, bit) in (0..good.body.len()).flat_map(|index| [(index, 1), (index, 32)]) {
                let mut changed = good.clone();
                changed.body[index] ^= bit;
                let seen = see(format, &app(), &changed);
                let is_harmless = claim.contains(&index) && seen == Ok(the_ticket());
                assert!(seen.is_err() || is_harmless, "{format:?} {index} {bit}");
            }
        }
    }

    #[test]
    fn with_any_byte_of_what_is_signed_beside_the_body_changed_it_is_refused() {
        for format in FORMATS {
            let good = ticket(format, NOW_S);
            let ignored = ["signature", "encrypt_type"];
            for field in 0..good.query.len().max(good.headers.len()) {
                let length = match good.query.get(field) {
                    Some((name, _)) if ignored.contains(&name.as_str()) => continue,
                    Some((_, value)) => value.len(),
                    None => good.headers[field].1.len(),
                };
                for index in 0..length {
                    let mut changed = good.clone();
                    let value = match changed.query.get_mut(field) {
                        Some((_, value)) => value,
                        None => &mut changed.headers[field].1,
                    };
                    let flipped = char::from(value.as_bytes()[index] ^ 1).to_string();
                    value.replace_range(index..=index, &flipped);
                    assert_eq!(see(format, &app(), &changed), Err(Refused::BadSignature));
                }
            }
        }
    }

    #[test]
    fn what_is_missing_beside_the_body_is_named() {
        for (format, names) in [
            (
                TicketFormat::WechatXml,
                &["timestamp", "nonce", "msg_signature"][..],
            ),
            (
                TicketFormat::WecomXml,
                &["timestamp", "nonce", "msg_signature"],
            ),
            (
                TicketFormat::FeishuJson,
                &[
                    "x-lark-request-timestamp",
                    "x-lark-request-nonce",
                    "x-lark-signature",
                ],
            ),
        ] {
            for missing in names {
                let mut ticket = ticket(format, NOW_S);
                ticket.query.retain(|(name, _)| name != missing);
                ticket.headers.retain(|(name, _)| name != missing);
                assert_eq!(see(format, &app(), &ticket), Err(Refused::Missing(missing)));
            }
        }
    }

    #[test]
    fn no_digit_moves_between_timestamp_and_nonce() {
        let mut ticket = ticket(TicketFormat::WechatXml, NOW_S);
        for (name, value) in &mut ticket.query {
            // Together they read the same as before.
            match name.as_str() {
                "nonce" => *value = "13726231491".to_owned(),
                "timestamp" => *value = "700000000".to_owned(),
                _ => {}
            }
        }
        assert_eq!(
            see(TicketFormat::WechatXml, &app(), &ticket),
            Err(Refused::Malformed("timestamp"))
        );
    }

    #[test]
    fn tickets_and_bodies_have_a_limit() {
        for format in FORMATS {
            let long = "x".repeat(TICKET_MAX_BYTES + 1);
            let ticket = match format {
                TicketFormat::WechatXml => app().wechat_ticket(&long, NOW_S),
                TicketFormat::WecomXml => app().wecom_ticket(&long, NOW_S),
                TicketFormat::FeishuJson => app().feishu_ticket(&long, NOW_S),
            };
            assert!(matches!(
                see(format, &app(), &ticket),
                Err(Refused::Malformed(_))
            ));
            let mut large = ticket;
            large.body.resize(BODY_MAX_BYTES + 1, b' ');
            assert_eq!(see(format, &app(), &large), Err(Refused::TooLarge));
            let claim = with_push(&large, |push| claimed_app_id(format, push));
            assert_eq!(claim, Err(Refused::TooLarge));
        }
    }

    #[test]
    fn a_body_that_is_not_of_the_format_is_refused() {
        for format in FORMATS {
            for body in ["{", "<xml>", "<a/>", "\u{0}", "{}", "[]", "<xml></xml>"] {
                let mut push = ticket(format, NOW_S);
                push.body = body.as_bytes().to_vec();
                let seen = see(format, &app(), &push);
                assert!(
                    matches!(seen, Err(Refused::Malformed(_) | Refused::Missing(_))),
                    "{format:?} {body} {seen:?}"
                );
            }
        }
    }

    #[test]
    fn a_push_says_which_app_it_is_for_where_it_can() {
        let plain = PushingApp::new("an-app-id", "a-token", None);
        let claims = [
            (
                TicketFormat::WechatXml,
                ticket(TicketFormat::WechatXml, NOW_S),
                true,
            ),
            (
                TicketFormat::WecomXml,
                ticket(TicketFormat::WecomXml, NOW_S),
                true,
            ),
            (
                TicketFormat::WecomXml,
                app().wecom_url_check("corp", "1", NOW_S),
                false,
            ),
            (
                TicketFormat::FeishuJson,
                ticket(TicketFormat::FeishuJson, NOW_S),
                false,
            ),
            (
                TicketFormat::FeishuJson,
                plain.feishu_ticket("one", NOW_S),
                true,
            ),
            (
                TicketFormat::FeishuJson,
                plain.feishu_url_check("one"),
                false,
            ),
        ];
        for (format, push, says) in claims {
            let claim = with_push(&push, |push| claimed_app_id(format, push));
            assert_eq!(claim, Ok(says.then(|| "an-app-id".to_owned())));
        }
    }

    #[test]
    fn nothing_that_was_sent_is_shown() {
        let pushed = Pushed::ticket("app_ticket", Some("ticket@@@one"), NOW_S).unwrap();
        assert!(!format!("{pushed:?}").contains("@@@"));
    }
}

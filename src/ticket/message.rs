//! Pushed tickets: WeChat Open Platform, WeCom suites and Feishu store apps send a ticket
//! to a URL every ten minutes or every hour, and give no token without it. Here a push is
//! verified, decrypted and read; nothing is stored.

use secrecy::{ExposeSecret, SecretString};

use super::crypto::AesKey;
use super::push::{BODY_MAX_BYTES, Push, PushFault, PushKeys, PushReply, Pushed, Window};
use super::{feishu, wechat};
use crate::realm::document::TicketFormat;

/// How a push is answered that was taken or dropped.
pub fn acknowledgement(format: TicketFormat) -> PushReply {
    match format {
        // Any other word counts as an error.
        TicketFormat::WechatXml | TicketFormat::WecomXml => PushReply::text("success"),
        TicketFormat::FeishuJson => PushReply::json("{}".to_owned()),
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
pub fn claimed_app_id(format: TicketFormat, push: &Push<'_>) -> Result<Option<String>, PushFault> {
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
) -> Result<Pushed, PushFault> {
    check_size(push)?;
    match format {
        TicketFormat::WechatXml => wechat::open(&wechat::WECHAT, keys, push, window),
        TicketFormat::WecomXml => wechat::open(&wechat::WECOM, keys, push, window),
        TicketFormat::FeishuJson => feishu::open(keys, push, window),
    }
}

fn check_size(push: &Push<'_>) -> Result<(), PushFault> {
    if push.body.len() > BODY_MAX_BYTES {
        return Err(PushFault::TooLarge);
    }
    Ok(())
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
    use crate::ticket::push::{FeishuHeaders, TICKET_MAX_BYTES};

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
        Challenge(PushReply),
        Other,
    }

    pub fn app() -> PushingApp {
        PushingApp::new("an-app-id", "a-token", Some(AES_KEY))
    }

    pub fn see(
        format: TicketFormat,
        app: &PushingApp,
        request: &PushRequest,
    ) -> Result<Seen, PushFault> {
        see_at(format, app, request, NOW_S)
    }

    pub fn see_at(
        format: TicketFormat,
        app: &PushingApp,
        request: &PushRequest,
        now_s: i64,
    ) -> Result<Seen, PushFault> {
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
                PushFault::BadSignature,
                PushFault::Undecryptable,
            ),
            (
                TicketFormat::WecomXml,
                PushFault::BadSignature,
                PushFault::Undecryptable,
            ),
            (
                TicketFormat::FeishuJson,
                PushFault::BadToken,
                PushFault::BadSignature,
            ),
        ] {
            let ticket = ticket(format, NOW_S);
            assert_eq!(see(format, &other_token, &ticket), Err(by_token));
            assert_eq!(see(format, &other_key, &ticket), Err(by_key));
            assert_eq!(see(format, &no_key, &ticket), Err(PushFault::NoKey));
        }
    }

    #[test]
    fn a_ticket_for_another_app_with_the_same_keys_is_refused() {
        let mut other = app();
        other.app_id = "another-app-id".to_owned();
        for format in FORMATS {
            assert_eq!(
                see(format, &other, &ticket(format, NOW_S)),
                Err(PushFault::WrongReceiver)
            );
        }
    }

    #[test]
    fn a_ticket_that_is_too_old_or_from_the_future_is_refused() {
        for format in FORMATS {
            for (seconds, expected) in [
                (-601, Err(PushFault::Stale)),
                (-600, Ok(())),
                (600, Ok(())),
                (601, Err(PushFault::Stale)),
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
                    assert_eq!(see(format, &app(), &changed), Err(PushFault::BadSignature));
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
                assert_eq!(
                    see(format, &app(), &ticket),
                    Err(PushFault::Missing(missing))
                );
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
            Err(PushFault::Malformed("timestamp"))
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
                Err(PushFault::Malformed(_))
            ));
            let mut large = ticket;
            large.body.resize(BODY_MAX_BYTES + 1, b' ');
            assert_eq!(see(format, &app(), &large), Err(PushFault::TooLarge));
            let claim = with_push(&large, |push| claimed_app_id(format, push));
            assert_eq!(claim, Err(PushFault::TooLarge));
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
                    matches!(seen, Err(PushFault::Malformed(_) | PushFault::Missing(_))),
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

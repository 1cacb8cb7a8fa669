//! Pushes of Feishu and Lark: JSON, encrypted and signed where the app has an Encrypt Key.
//!
//! Sources: the pages
//! <https://open.feishu.cn/document/ukTMukTMukTM/uYDNxYjL2QTM24iN0EjN/event-subscription-configure-/encrypt-key-encryption-configuration-case>
//! and <https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/application-v6/event/app_ticket-events>.

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::crypto::{self, AesKey};
use super::push::{Push, PushFault, PushKeys, PushReply, Pushed, Stamp, Window, is_word, seconds};

pub fn claim(body: &[u8]) -> Result<Option<String>, PushFault> {
    let body = parse(body)?;
    let claimed = text(&body, "/header/app_id").or_else(|| text(&body, "/event/app_id"));
    Ok(claimed.map(str::to_owned))
}

pub fn open(keys: PushKeys<'_>, push: &Push<'_>, window: Window) -> Result<Pushed, PushFault> {
    let body = parse(push.body)?;
    let (encrypted, encrypt_key) = match (text(&body, "/encrypt"), keys.aes_key) {
        (Some(encrypted), Some(key)) => (encrypted, key),
        (Some(_), None) => return Err(PushFault::NoKey),
        // Whoever knows only the verification token must not get around the key.
        (None, Some(_)) => return Err(PushFault::Missing("encrypt")),
        (None, None) => return read(&body, keys, None, window),
    };
    let decrypt = || {
        let key = AesKey::of_feishu(encrypt_key);
        let plain = crypto::decrypt_feishu(&key, encrypted).ok_or(PushFault::Undecryptable)?;
        parse(&plain).map_err(|_| PushFault::Undecryptable)
    };
    let Some(signature) = push.headers.signature else {
        // Only a check of the URL comes without a signature. All else has one answer:
        // ciphertexts could be changed until different answers tell what is in them.
        return match decrypt().and_then(|event| read(&event, keys, None, window)) {
            Ok(challenge @ Pushed::Challenge(_)) => Ok(challenge),
            _ => Err(PushFault::Missing("x-lark-signature")),
        };
    };
    let missing = PushFault::Missing;
    let stamp = Stamp {
        timestamp: (push.headers.timestamp).ok_or(missing("x-lark-request-timestamp"))?,
        nonce: (push.headers.nonce).ok_or(missing("x-lark-request-nonce"))?,
    };
    let expected = crypto::feishu_signature(stamp.timestamp, stamp.nonce, encrypt_key, push.body);
    let pushed_at_s = stamp.check(signature, &expected, window)?;
    read(&decrypt()?, keys, Some(pushed_at_s), window)
}

/// Reads a decrypted event; `pushed_at_s` is there where it was signed.
fn read(
    event: &Value,
    keys: PushKeys<'_>,
    pushed_at_s: Option<i64>,
    window: Window,
) -> Result<Pushed, PushFault> {
    // Version 2.0 of events has a header; app_ticket and checks of a URL are of version 1.0.
    let token = text(event, "/header/token").or_else(|| text(event, "/token"));
    let token = token.ok_or(PushFault::Missing("token"))?;
    if !crypto::same(token, keys.token.expose_secret()) {
        return Err(PushFault::BadToken);
    }
    if text(event, "/type") == Some("url_verification") {
        let challenge = text(event, "/challenge").ok_or(PushFault::Missing("challenge"))?;
        if !is_word(challenge) {
            return Err(PushFault::Malformed("challenge"));
        }
        let answer = json!({ "challenge": challenge });
        return Ok(Pushed::Challenge(PushReply::json(answer.to_string())));
    }
    if text(event, "/event/type") != Some("app_ticket") {
        return Ok(Pushed::Other);
    }
    if text(event, "/event/app_id").ok_or(PushFault::Missing("app_id"))? != keys.app_id {
        return Err(PushFault::WrongReceiver);
    }
    // Seconds with a fraction, such as 1502199207.7171419.
    let ts = text(event, "/ts").map(|ts| ts.split_once('.').map_or(ts, |(whole, _)| whole));
    let ts = ts.map(|ts| seconds(ts).ok_or(PushFault::Malformed("ts")));
    let sent_at_s = ts.transpose()?.or(pushed_at_s);
    let sent_at_s = sent_at_s.ok_or(PushFault::Missing("ts"))?;
    if pushed_at_s.is_none() {
        window.admit(sent_at_s)?;
    }
    Pushed::ticket("app_ticket", text(event, "/event/app_ticket"), sent_at_s)
}

fn parse(body: &[u8]) -> Result<Value, PushFault> {
    serde_json::from_slice(body).map_err(|_| PushFault::Malformed("the body"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::super::message::forge::{PushRequest, PushingApp};
    use super::super::message::tests::{NOW_S, Seen, app, see as see_format, see_at};
    use super::*;
    use crate::realm::document::TicketFormat;

    fn see(app: &PushingApp, push: &PushRequest) -> Result<Seen, PushFault> {
        see_format(TicketFormat::FeishuJson, app, push)
    }

    fn plain() -> PushingApp {
        PushingApp::new("an-app-id", "a-token", None)
    }

    fn challenge(word: &str) -> Result<Seen, PushFault> {
        let body = format!("{{\"challenge\":\"{word}\"}}");
        Ok(Seen::Challenge(PushReply::json(body)))
    }

    #[test]
    fn without_an_encrypt_key_the_token_in_the_body_is_checked() {
        let ticket = plain().feishu_ticket("one", NOW_S);
        assert_eq!(
            see(&plain(), &ticket),
            Ok(Seen::Ticket("one".to_owned(), NOW_S))
        );
        let other = PushingApp::new("an-app-id", "b-token", None);
        assert_eq!(see(&other, &ticket), Err(PushFault::BadToken));
        let stale = see_at(TicketFormat::FeishuJson, &plain(), &ticket, NOW_S + 601);
        assert_eq!(stale, Err(PushFault::Stale));
    }

    #[test]
    fn with_an_encrypt_key_a_plain_push_is_refused() {
        let ticket = plain().feishu_ticket("one", NOW_S);
        assert_eq!(see(&app(), &ticket), Err(PushFault::Missing("encrypt")));
        let check = plain().feishu_url_check("one");
        assert_eq!(see(&app(), &check), Err(PushFault::Missing("encrypt")));
    }

    #[test]
    fn a_check_of_the_url_is_answered_encrypted_or_not_and_without_a_signature() {
        for app in [app(), plain()] {
            let check = app.feishu_url_check("ajls384kdj");
            assert_eq!(see(&app, &check), challenge("ajls384kdj"));
            let other = PushingApp {
                token: "b-token".to_owned(),
                ..app
            };
            assert!(see(&other, &check).is_err());
        }
        for odd in ["", "two words", "\u{e9}", &"x".repeat(257)] {
            let check = plain().feishu_url_check(odd);
            assert_eq!(
                see(&plain(), &check),
                Err(PushFault::Malformed("challenge"))
            );
        }
    }

    #[test]
    fn all_that_is_encrypted_but_not_signed_has_one_answer() {
        let refused = Err(PushFault::Missing("x-lark-signature"));
        let mut ticket = app().feishu_ticket("one", NOW_S);
        ticket.headers.clear();
        assert_eq!(see(&app(), &ticket), refused);
        let mut event = app().feishu_event(&json!({ "token": "a-token" }), NOW_S);
        event.headers.clear();
        assert_eq!(see(&app(), &event), refused);
        let other = PushingApp {
            token: "b-token".to_owned(),
            ..app()
        };
        assert_eq!(see(&app(), &other.feishu_url_check("one")), refused);
        for encrypted in ["", "AAAA", "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="] {
            let mut push = ticket.clone();
            push.body = json!({ "encrypt": encrypted }).to_string().into_bytes();
            assert_eq!(see(&app(), &push), refused);
        }
    }

    #[test]
    fn other_events_are_dropped_whatever_their_version() {
        for event in [
            json!({ "token": "a-token", "type": "event_callback", "event": { "type": "app_open" } }),
            json!({
                "schema": "2.0",
                "header": { "token": "a-token", "event_type": "contact.user.created_v3" },
                "event": { "type": 1 },
            }),
        ] {
            for app in [app(), plain()] {
                let push = app.feishu_event(&event, NOW_S);
                assert_eq!(see(&app, &push), Ok(Seen::Other));
            }
        }
    }

    #[test]
    fn what_is_missing_or_odd_in_a_ticket_is_named() {
        let event = json!({
            "token": "a-token",
            "ts": format!("{NOW_S}.5"),
            "event": { "type": "app_ticket", "app_id": "an-app-id", "app_ticket": "one" },
        });
        let without = |pointer: &str, name: &str| {
            let mut event = event.clone();
            event
                .pointer_mut(pointer)
                .and_then(Value::as_object_mut)
                .unwrap()
                .remove(name);
            event
        };
        let see_plain = |event: &Value| see(&plain(), &plain().feishu_event(event, NOW_S));
        for (pointer, name) in [
            ("", "token"),
            ("", "ts"),
            ("/event", "app_id"),
            ("/event", "app_ticket"),
        ] {
            assert_eq!(
                see_plain(&without(pointer, name)),
                Err(PushFault::Missing(name))
            );
        }
        let mut odd = event.clone();
        odd["ts"] = json!("soon");
        assert_eq!(see_plain(&odd), Err(PushFault::Malformed("ts")));
        // The signed header stands in for it.
        let push = app().feishu_event(&without("", "ts"), NOW_S + 1);
        assert_eq!(
            see(&app(), &push),
            Ok(Seen::Ticket("one".to_owned(), NOW_S + 1))
        );
    }
}

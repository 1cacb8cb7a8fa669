//! Pushes of WeChat Open Platform and of WeCom suites, which are alike: XML around
//! encrypted XML, and a signature in the query.
//!
//! Sources: WeChat's pages
//! <https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/message_push.html>
//! and `component_verify_ticket.html` beside it; WeCom's pages
//! <https://developer.work.weixin.qq.com/document/path/91144> (encryption) and 97172
//! (callbacks).

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::crypto::{self, AesKey, Frame};
use super::push::{Answer, Push, PushKeys, Pushed, Refused, Stamp, Window, is_word, seconds};
use super::xml;

/// Where the two differ.
pub struct Dialect {
    info_type: &'static str,
    app_id: &'static str,
    ticket: &'static str,
    sent_at: &'static str,
    /// Suites of individual developers have an empty receive id.
    may_lack_receive_id: bool,
    /// Whether a URL may be checked without encryption.
    has_plain_check: bool,
}

pub const WECHAT: Dialect = Dialect {
    info_type: "component_verify_ticket",
    app_id: "AppId",
    ticket: "ComponentVerifyTicket",
    sent_at: "CreateTime",
    may_lack_receive_id: false,
    has_plain_check: true,
};

pub const WECOM: Dialect = Dialect {
    info_type: "suite_ticket",
    app_id: "SuiteId",
    ticket: "SuiteTicket",
    sent_at: "TimeStamp",
    may_lack_receive_id: true,
    has_plain_check: false,
};

pub fn claim(body: &[u8], name: &'static str) -> Result<Option<String>, Refused> {
    let [claimed] = xml::texts(body, [name]).map_err(|_| Refused::Malformed("the body"))?;
    Ok(claimed.map(|claimed| claimed.as_str().to_owned()))
}

pub fn open(
    dialect: &Dialect,
    keys: PushKeys<'_>,
    push: &Push<'_>,
    window: Window,
) -> Result<Pushed, Refused> {
    if push.body.is_empty() {
        return answer_check(dialect, keys, push, window);
    }
    let [encrypted] =
        xml::texts(push.body, ["Encrypt"]).map_err(|_| Refused::Malformed("the body"))?;
    let encrypted = encrypted.ok_or(Refused::Missing("Encrypt"))?;
    let pushed_at_s = verify(keys, push, &encrypted, window)?;
    let plain = decrypt(keys, &encrypted)?;
    let frame = Frame::of(&plain).ok_or(Refused::Undecryptable)?;
    let names = ["InfoType", dialect.app_id, dialect.ticket, dialect.sent_at];
    let [info_type, app_id, ticket, sent_at] =
        xml::texts(frame.message, names).map_err(|_| Refused::Malformed("the message"))?;
    if info_type.is_none_or(|info_type| *info_type != dialect.info_type) {
        // Whoever it is for: WeCom sends some events with the receive id of a company.
        return Ok(Pushed::Other);
    }
    let app_id = app_id.ok_or(Refused::Missing(dialect.app_id))?;
    let is_received = frame.receive_id == keys.app_id.as_bytes()
        || (dialect.may_lack_receive_id && frame.receive_id.is_empty());
    if !is_received || *app_id != keys.app_id {
        return Err(Refused::WrongReceiver);
    }
    let sent_at_s = match sent_at {
        Some(sent_at) => seconds(&sent_at).ok_or(Refused::Malformed(dialect.sent_at))?,
        None => pushed_at_s,
    };
    Pushed::ticket(
        dialect.ticket,
        ticket.as_ref().map(|ticket| ticket.as_str()),
        sent_at_s,
    )
}

/// WeCom checks a URL with the provider's own corp id as receive id. Nobody told it to this
/// server, so the receive id is not looked at.
fn answer_check(
    dialect: &Dialect,
    keys: PushKeys<'_>,
    push: &Push<'_>,
    window: Window,
) -> Result<Pushed, Refused> {
    let echo = query(push, "echostr")?;
    if dialect.has_plain_check && query(push, "msg_signature").is_err() {
        let stamp = stamp(push)?;
        let token = keys.token.expose_secret();
        let expected = crypto::sorted_sha1([token, stamp.timestamp, stamp.nonce]);
        stamp.check(query(push, "signature")?, &expected, window)?;
        return echo_of(echo);
    }
    verify(keys, push, echo, window)?;
    let plain = decrypt(keys, echo)?;
    let frame = Frame::of(&plain).ok_or(Refused::Undecryptable)?;
    echo_of(std::str::from_utf8(frame.message).map_err(|_| Refused::Malformed("echostr"))?)
}

/// What is signed does not tell a push from a check of the URL, so whoever has seen a push
/// could have its ticket decrypted here; but XML is no word.
fn echo_of(word: &str) -> Result<Pushed, Refused> {
    if !is_word(word) {
        return Err(Refused::Malformed("echostr"));
    }
    Ok(Pushed::Challenge(Answer::text(word)))
}

/// Checks `msg_signature`. WeChat sends `signature`, too, which covers nothing of the body.
fn verify(
    keys: PushKeys<'_>,
    push: &Push<'_>,
    encrypted: &str,
    window: Window,
) -> Result<i64, Refused> {
    let stamp = stamp(push)?;
    let token = keys.token.expose_secret();
    let expected = crypto::sorted_sha1([token, stamp.timestamp, stamp.nonce, encrypted]);
    stamp.check(query(push, "msg_signature")?, &expected, window)
}

fn decrypt(keys: PushKeys<'_>, encrypted: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let key = keys.aes_key.and_then(AesKey::of_wechat);
    crypto::decrypt_wechat(&key.ok_or(Refused::NoKey)?, encrypted).ok_or(Refused::Undecryptable)
}

fn stamp<'a>(push: &Push<'a>) -> Result<Stamp<'a>, Refused> {
    Ok(Stamp {
        timestamp: query(push, "timestamp")?,
        nonce: query(push, "nonce")?,
    })
}

fn query<'a>(push: &Push<'a>, name: &'static str) -> Result<&'a str, Refused> {
    push.query
        .iter()
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.as_str())
        .ok_or(Refused::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::super::message::forge::{PushRequest, PushingApp};
    use super::super::message::tests::{NOW_S, Seen, app, see, see_at};
    use super::*;
    use crate::realm::document::TicketFormat;

    fn with_query(mut push: PushRequest, query: &[(&str, &str)]) -> PushRequest {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        push.query = query.iter().map(owned).collect();
        push
    }

    fn challenge(word: &str) -> Result<Seen, Refused> {
        Ok(Seen::Challenge(Answer::text(word)))
    }

    /// WeChat's page on message_push: an event for a third-party platform, whose outer
    /// element is the official account's and whose receive id is the platform's.
    #[test]
    fn wechats_published_push_is_verified_and_decrypted() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let platform = PushingApp::new("wx134c8103faa5a59e", "AAAAA", Some(key));
        let encrypted = "D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg==";
        let push = PushRequest {
            query: Vec::new(),
            headers: Vec::new(),
            body: format!(
                "<xml>\n    <ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName>\n    \
                 <Encrypt><![CDATA[{encrypted}]]></Encrypt>\n</xml>\n"
            )
            .into_bytes(),
        };
        let query = |msg_signature| {
            [
                ("signature", "cc0c594499c1634947d5b502f158ee518947db27"),
                ("timestamp", "1715943329"),
                ("nonce", "1590219412"),
                ("openid", "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"),
                ("encrypt_type", "aes"),
                ("msg_signature", msg_signature),
            ]
        };
        let good = query("6c12a4205838198b8fa631b3220723bb07f1015c");
        let good = with_query(push.clone(), &good);
        let see =
            |push: &PushRequest| see_at(TicketFormat::WechatXml, &platform, push, 1_715_943_330);
        assert_eq!(see(&good), Ok(Seen::Other));
        let key = AesKey::of_wechat(&key.into()).unwrap();
        let plain = crypto::decrypt_wechat(&key, encrypted).unwrap();
        let frame = Frame::of(&plain).unwrap();
        assert_eq!(frame.receive_id, b"wx134c8103faa5a59e");
        assert_eq!(frame.message.len(), 292);
        let [event] = xml::texts(frame.message, ["Event"]).unwrap();
        assert_eq!(*event.unwrap(), "debug_demo");
        // The signature that covers no body does not do.
        let bad = with_query(push, &query("cc0c594499c1634947d5b502f158ee518947db27"));
        assert_eq!(see(&bad), Err(Refused::BadSignature));
    }

    /// The same page for an app of one's own.
    #[test]
    fn wechats_published_check_of_a_url_is_answered() {
        let check = |echo| {
            let push = PushingApp::new("", "", None).wechat_url_check("", 0);
            let query = [
                ("signature", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
                ("echostr", echo),
                ("timestamp", "1714036504"),
                ("nonce", "1514711492"),
            ];
            with_query(push, &query)
        };
        let echo = "4375120948345356249";
        let see = |format, token: &str, check: &PushRequest| {
            see_at(
                format,
                &PushingApp::new("an-app-id", token, None),
                check,
                1_714_036_504,
            )
        };
        assert_eq!(
            see(TicketFormat::WechatXml, "AAAAA", &check(echo)),
            challenge(echo)
        );
        assert_eq!(
            see(TicketFormat::WechatXml, "AAAAB", &check(echo)),
            Err(Refused::BadSignature)
        );
        assert_eq!(
            see(TicketFormat::WechatXml, "AAAAA", &check("<script>")),
            Err(Refused::Malformed("echostr"))
        );
        assert_eq!(
            see(TicketFormat::WecomXml, "AAAAA", &check(echo)),
            Err(Refused::Missing("msg_signature"))
        );
    }

    /// The samples of WeCom's libraries.
    #[test]
    fn wecoms_published_push_and_check_of_a_url_are_read() {
        let corp = PushingApp {
            app_id: "wx5823bf96d3bd56c7".to_owned(),
            token: "QDG6eK".to_owned(),
            ..app()
        };
        let encrypted = "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q==";
        let push = PushRequest {
            query: Vec::new(),
            headers: Vec::new(),
            body: format!(
                "<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName>\
                 <Encrypt><![CDATA[{encrypted}]]></Encrypt>\
                 <AgentID><![CDATA[218]]></AgentID></xml>"
            )
            .into_bytes(),
        };
        let query = [
            ("msg_signature", "477715d11cdb4164915debcba66cb864d751f3e6"),
            ("timestamp", "1409659813"),
            ("nonce", "1372623149"),
        ];
        let see = |push: &PushRequest| see_at(TicketFormat::WecomXml, &corp, push, 1_409_659_813);
        assert_eq!(see(&with_query(push, &query)), Ok(Seen::Other));
        let check = corp.wecom_url_check("", "", 0);
        let echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==";
        let query = [
            ("msg_signature", "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"),
            ("timestamp", "1409659589"),
            ("nonce", "263014780"),
            ("echostr", echo),
        ];
        assert_eq!(
            see(&with_query(check, &query)),
            challenge("1616140317555161061")
        );
    }

    #[test]
    fn a_check_of_a_url_is_answered_whatever_corp_it_is_for() {
        let check = app().wecom_url_check("the-providers-corp-id", "1616140317555161061", NOW_S);
        assert_eq!(
            see(TicketFormat::WecomXml, &app(), &check),
            challenge("1616140317555161061")
        );
        let check = app().wechat_url_check("1616140317555161061", NOW_S);
        assert_eq!(
            see(TicketFormat::WechatXml, &app(), &check),
            challenge("1616140317555161061")
        );
    }

    #[test]
    fn a_push_sent_again_as_a_check_of_a_url_is_not_decrypted_for_the_sender() {
        for (format, mut push) in [
            (TicketFormat::WechatXml, app().wechat_ticket("one", NOW_S)),
            (TicketFormat::WecomXml, app().wecom_ticket("one", NOW_S)),
        ] {
            let [encrypted] = xml::texts(&push.body, ["Encrypt"]).unwrap();
            let echo = encrypted.unwrap().as_str().to_owned();
            push.query.push(("echostr".to_owned(), echo));
            push.body.clear();
            assert_eq!(
                see(format, &app(), &push),
                Err(Refused::Malformed("echostr"))
            );
        }
    }

    #[test]
    fn other_events_are_dropped_whoever_they_are_for() {
        let event = app().wechat_event("authorized", "<AuthorizerAppid>a</AuthorizerAppid>", NOW_S);
        assert_eq!(
            see(TicketFormat::WechatXml, &app(), &event),
            Ok(Seen::Other)
        );
        let event = app().wecom_event("cancel_auth", "<A><B>1</B></A>", NOW_S);
        assert_eq!(see(TicketFormat::WecomXml, &app(), &event), Ok(Seen::Other));
        let message = "<xml><InfoType>create_auth</InfoType></xml>";
        let event = app().xml("ToUserName", message, "the-providers-corp-id", NOW_S);
        assert_eq!(see(TicketFormat::WecomXml, &app(), &event), Ok(Seen::Other));
    }

    #[test]
    fn a_ticket_must_name_the_app_in_its_receive_id_and_in_its_message() {
        let wecom = |app_id: &str, receive_id: &str| {
            let message = format!(
                "<xml><SuiteId>{app_id}</SuiteId><InfoType>suite_ticket</InfoType>\
                 <SuiteTicket>one</SuiteTicket></xml>"
            );
            let push = app().xml("ToUserName", &message, receive_id, NOW_S);
            see(TicketFormat::WecomXml, &app(), &push)
        };
        let ticket = || Ok(Seen::Ticket("one".to_owned(), NOW_S));
        assert_eq!(wecom("an-app-id", "an-app-id"), ticket());
        assert_eq!(wecom("an-app-id", ""), ticket());
        for (app_id, receive_id) in [
            ("an-app-id", "a-corp-id"),
            ("another", "an-app-id"),
            ("another", ""),
        ] {
            assert_eq!(wecom(app_id, receive_id), Err(Refused::WrongReceiver));
        }
        let message = "<xml><AppId>an-app-id</AppId><InfoType>component_verify_ticket</InfoType>\
                       <ComponentVerifyTicket>one</ComponentVerifyTicket></xml>";
        let push = app().xml("AppId", message, "", NOW_S);
        assert_eq!(
            see(TicketFormat::WechatXml, &app(), &push),
            Err(Refused::WrongReceiver)
        );
    }

    #[test]
    fn what_is_missing_or_odd_in_a_ticket_is_named() {
        let head = "<InfoType>suite_ticket</InfoType>";
        for (rest, refused) in [
            (
                "<SuiteTicket>one</SuiteTicket>",
                Refused::Missing("SuiteId"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId>",
                Refused::Missing("SuiteTicket"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId><SuiteTicket/>",
                Refused::Missing("SuiteTicket"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId><TimeStamp>1</TimeStamp>",
                Refused::Malformed("TimeStamp"),
            ),
            ("<SuiteId>", Refused::Malformed("the message")),
        ] {
            let message = format!("<xml>{head}{rest}</xml>");
            let push = app().xml("ToUserName", &message, "an-app-id", NOW_S);
            assert_eq!(see(TicketFormat::WecomXml, &app(), &push), Err(refused));
        }
    }

    #[test]
    fn a_document_type_is_refused_within_and_without() {
        let message = "<!DOCTYPE xml [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>\
                       <xml><InfoType>suite_ticket</InfoType><SuiteTicket>&a;</SuiteTicket></xml>";
        let push = app().xml("ToUserName", message, "an-app-id", NOW_S);
        assert_eq!(
            see(TicketFormat::WecomXml, &app(), &push),
            Err(Refused::Malformed("the message"))
        );
        let mut push = app().wecom_ticket("one", NOW_S);
        push.body.splice(0..0, *b"<!DOCTYPE xml>");
        assert_eq!(
            see(TicketFormat::WecomXml, &app(), &push),
            Err(Refused::Malformed("the body"))
        );
    }
}

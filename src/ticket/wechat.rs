//! Pushes of WeChat Open Platform and of WeCom suites, which are alike: XML around
//! encrypted XML, and a signature in the query.
//!
//! Sources: WeChat's pages
//! <https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/message_push.html>
//! and `component_verify_ticket.html` beside it; WeCom's pages
//! <https://developer.work.weixin.qq.com/document/path/91144> (encryption) and 97172
//! (callbacks).

mod signed;
mod url_check;

use super::crypto::Frame;
use super::push::{Push, PushFault, PushKeys, Pushed, Window, seconds};
use super::xml;
use signed::{decrypt, verify};
use url_check::answer_check;

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

pub fn claim(body: &[u8], name: &'static str) -> Result<Option<String>, PushFault> {
    let [claimed] = xml::texts(body, [name]).map_err(|_| PushFault::Malformed("the body"))?;
    Ok(claimed.map(|claimed| claimed.as_str().to_owned()))
}

pub fn open(
    dialect: &Dialect,
    keys: PushKeys<'_>,
    push: &Push<'_>,
    window: Window,
) -> Result<Pushed, PushFault> {
    if push.body.is_empty() {
        return answer_check(dialect.has_plain_check, keys, push, window);
    }
    let [encrypted] =
        xml::texts(push.body, ["Encrypt"]).map_err(|_| PushFault::Malformed("the body"))?;
    let encrypted = encrypted.ok_or(PushFault::Missing("Encrypt"))?;
    let pushed_at_s = verify(keys, push, &encrypted, window)?;
    let plain = decrypt(keys, &encrypted)?;
    let frame = Frame::of(&plain).ok_or(PushFault::Undecryptable)?;
    let names = ["InfoType", dialect.app_id, dialect.ticket, dialect.sent_at];
    let [info_type, app_id, ticket, sent_at] =
        xml::texts(frame.message, names).map_err(|_| PushFault::Malformed("the message"))?;
    if info_type.is_none_or(|info_type| *info_type != dialect.info_type) {
        // Whoever it is for: WeCom sends some events with the receive id of a company.
        return Ok(Pushed::Other);
    }
    let app_id = app_id.ok_or(PushFault::Missing(dialect.app_id))?;
    let is_received = frame.receive_id == keys.app_id.as_bytes()
        || (dialect.may_lack_receive_id && frame.receive_id.is_empty());
    if !is_received || *app_id != keys.app_id {
        return Err(PushFault::WrongReceiver);
    }
    let sent_at_s = match sent_at {
        Some(sent_at) => seconds(&sent_at).ok_or(PushFault::Malformed(dialect.sent_at))?,
        None => pushed_at_s,
    };
    Pushed::ticket(
        dialect.ticket,
        ticket.as_ref().map(|ticket| ticket.as_str()),
        sent_at_s,
    )
}

#[cfg(test)]
mod tests {
    use super::super::crypto::{self, AesKey};
    use super::super::message::forge::{PushRequest, PushingApp};
    use super::super::message::tests::{NOW_S, Seen, app, see, see_at};
    use super::*;
    use crate::realm::document::TicketFormat;

    pub(super) fn with_query(mut push: PushRequest, query: &[(&str, &str)]) -> PushRequest {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        push.query = query.iter().map(owned).collect();
        push
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
        assert_eq!(see(&bad), Err(PushFault::BadSignature));
    }

    /// The samples of WeCom's libraries.
    #[test]
    fn wecoms_published_push_is_verified_and_decrypted() {
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
            assert_eq!(wecom(app_id, receive_id), Err(PushFault::WrongReceiver));
        }
        let message = "<xml><AppId>an-app-id</AppId><InfoType>component_verify_ticket</InfoType>\
                       <ComponentVerifyTicket>one</ComponentVerifyTicket></xml>";
        let push = app().xml("AppId", message, "", NOW_S);
        assert_eq!(
            see(TicketFormat::WechatXml, &app(), &push),
            Err(PushFault::WrongReceiver)
        );
    }

    #[test]
    fn what_is_missing_or_odd_in_a_ticket_is_named() {
        let head = "<InfoType>suite_ticket</InfoType>";
        for (rest, refused) in [
            (
                "<SuiteTicket>one</SuiteTicket>",
                PushFault::Missing("SuiteId"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId>",
                PushFault::Missing("SuiteTicket"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId><SuiteTicket/>",
                PushFault::Missing("SuiteTicket"),
            ),
            (
                "<SuiteId>an-app-id</SuiteId><TimeStamp>1</TimeStamp>",
                PushFault::Malformed("TimeStamp"),
            ),
            ("<SuiteId>", PushFault::Malformed("the message")),
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
            Err(PushFault::Malformed("the message"))
        );
        let mut push = app().wecom_ticket("one", NOW_S);
        push.body.splice(0..0, *b"<!DOCTYPE xml>");
        assert_eq!(
            see(TicketFormat::WecomXml, &app(), &push),
            Err(PushFault::Malformed("the body"))
        );
    }
}

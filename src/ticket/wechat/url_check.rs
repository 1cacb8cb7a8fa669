//! The check that an administrator's console makes of the URL before it pushes there.

use secrecy::ExposeSecret;

use super::signed::{decrypt, query, stamp, verify};
use crate::ticket::crypto::{self, Frame};
use crate::ticket::push::{Push, PushFault, PushKeys, PushReply, Pushed, Window, is_word};

/// WeCom checks a URL with the provider's own corp id as receive id. Nobody told it to this
/// server, so the receive id is not looked at.
pub fn answer_check(
    may_be_plain: bool,
    keys: PushKeys<'_>,
    push: &Push<'_>,
    window: Window,
) -> Result<Pushed, PushFault> {
    let echo = query(push, "echostr")?;
    if may_be_plain && query(push, "msg_signature").is_err() {
        let stamp = stamp(push)?;
        let token = keys.token.expose_secret();
        let expected = crypto::sorted_sha1([token, stamp.timestamp, stamp.nonce]);
        stamp.check(query(push, "signature")?, &expected, window)?;
        return echo_of(echo);
    }
    verify(keys, push, echo, window)?;
    let plain = decrypt(keys, echo)?;
    let frame = Frame::of(&plain).ok_or(PushFault::Undecryptable)?;
    echo_of(std::str::from_utf8(frame.message).map_err(|_| PushFault::Malformed("echostr"))?)
}

/// What is signed does not tell a push from a check of the URL, so whoever has seen a push
/// could have its ticket decrypted here; but XML is no word.
fn echo_of(word: &str) -> Result<Pushed, PushFault> {
    if !is_word(word) {
        return Err(PushFault::Malformed("echostr"));
    }
    Ok(Pushed::Challenge(PushReply::text(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realm::document::TicketFormat;
    use crate::ticket::message::forge::{PushRequest, PushingApp};
    use crate::ticket::message::tests::{NOW_S, Seen, app, see, see_at};
    use crate::ticket::wechat::tests::with_query;
    use crate::ticket::xml;

    fn challenge(word: &str) -> Result<Seen, PushFault> {
        Ok(Seen::Challenge(PushReply::text(word)))
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
            Err(PushFault::BadSignature)
        );
        assert_eq!(
            see(TicketFormat::WechatXml, "AAAAA", &check("<script>")),
            Err(PushFault::Malformed("echostr"))
        );
        assert_eq!(
            see(TicketFormat::WecomXml, "AAAAA", &check(echo)),
            Err(PushFault::Missing("msg_signature"))
        );
    }

    /// The samples of WeCom's libraries.
    #[test]
    fn wecoms_published_check_of_a_url_is_answered() {
        let corp = PushingApp {
            app_id: "wx5823bf96d3bd56c7".to_owned(),
            token: "QDG6eK".to_owned(),
            ..app()
        };
        let see = |push: &PushRequest| see_at(TicketFormat::WecomXml, &corp, push, 1_409_659_813);
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
                Err(PushFault::Malformed("echostr"))
            );
        }
    }
}

//! Pushes of tickets: as they come, and as somebody who has the keys could make them.

use std::sync::LazyLock;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use token_server::realm::document::TicketFormat;
use token_server::ticket::message::{claimed_app_id, open};
use token_server::ticket::push::{FeishuHeaders, Push, PushKeys, Pushed, Window};

use super::pushes::{PushRequest, PushingApp};
use super::seeds::{PUSHED_AT_S, pushing_app};

static APP: LazyLock<PushingApp> = LazyLock::new(pushing_app);
static TOKEN: LazyLock<SecretString> = LazyLock::new(|| APP.token.as_str().into());
static KEY: LazyLock<Option<SecretString>> =
    LazyLock::new(|| APP.aes_key.as_deref().map(SecretString::from));

/// Opens an input as a push.
pub fn fuzz(input: &[u8]) {
    let [format, way, rest @ ..] = input else {
        return;
    };
    let format = match format % 3 {
        0 => TicketFormat::WechatXml,
        1 => TicketFormat::WecomXml,
        _ => TicketFormat::FeishuJson,
    };
    let key = if way & 0x80 == 0 { KEY.as_ref() } else { None };
    let request = match way % 3 {
        0 => raw(rest),
        1 => sealed(format, &String::from_utf8_lossy(rest)),
        _ => check(format, &String::from_utf8_lossy(rest)),
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    };
    let push = Push {
        query: &request.query,
        headers: FeishuHeaders::read(header),
        body: &request.body,
    };
    let keys = PushKeys {
        app_id: &APP.app_id,
        token: &TOKEN,
        aes_key: key,
    };
    let window = Window {
        now_s: PUSHED_AT_S,
        tolerance_s: 600,
    };
    let _ = claimed_app_id(format, &push);
    match open(format, keys, &push, window) {
        Ok(Pushed::Ticket { value, .. }) => {
            let length = value.expose_secret().len();
            assert!((1..=2048).contains(&length), "a ticket of {length} bytes");
        }
        Ok(Pushed::Challenge(answer)) => {
            assert!(answer.body.len() <= 512, "{} bytes", answer.body.len());
            assert!(!answer.body.contains(['<', '>']), "markup is echoed");
        }
        Ok(Pushed::Other) => {}
        Err(refused) => assert!(refused.to_string().len() < 200),
    }
}

/// Lines of query and headers, an empty line, the body.
fn raw(mut rest: &[u8]) -> PushRequest {
    let mut request = PushRequest {
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once('=') {
            request.query.push((name.to_owned(), value.to_owned()));
        } else if let Some((name, value)) = line.split_once(": ") {
            let known = [
                "x-lark-request-timestamp",
                "x-lark-request-nonce",
                "x-lark-signature",
            ];
            let known = known.into_iter().find(|known| *known == name);
            request
                .headers
                .extend(known.map(|name| (name, value.to_owned())));
        }
    }
    request.body = rest.to_vec();
    request
}

/// Any message, encrypted and signed.
fn sealed(format: TicketFormat, message: &str) -> PushRequest {
    match format {
        TicketFormat::WechatXml => APP.xml("AppId", message, &APP.app_id, PUSHED_AT_S),
        TicketFormat::WecomXml => APP.xml("ToUserName", message, &APP.app_id, PUSHED_AT_S),
        TicketFormat::FeishuJson => {
            let event = serde_json::from_str(message);
            APP.feishu_event(&event.unwrap_or_else(|_| Value::from(message)), PUSHED_AT_S)
        }
    }
}

/// A check of the URL with any echo.
fn check(format: TicketFormat, echo: &str) -> PushRequest {
    match format {
        TicketFormat::WechatXml => APP.wechat_url_check(echo, PUSHED_AT_S),
        TicketFormat::WecomXml => APP.wecom_url_check("corp", echo, PUSHED_AT_S),
        TicketFormat::FeishuJson => APP.feishu_url_check(echo),
    }
}

//! How the bytes of an answer become characters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{BIG5, GBK, SHIFT_JIS, WINDOWS_1252};
use serde_json::json;

use super::{TOKEN, encoded, refused, served, utf_16, with};
use crate::kit::{Server, TestDatabase, on_every_database};

on_every_database! {
    an_answer_is_decoded_by_its_mark_its_header_or_its_prolog,
    an_answer_that_is_not_in_its_charset_is_refused_by_name,
}

async fn an_answer_is_decoded_by_its_mark_its_header_or_its_prolog(database: TestDatabase) {
    let server = Server::start(&database).await;
    let json =
        |shop: &str| format!(r#"{{"access_token":"tok","expires_in":3600,"shop":"{shop}"}}"#);
    let xml = |prolog: &str, shop: &str| {
        format!(
            "{prolog}<r><access_token>tok</access_token><expires_in>3600</expires_in><shop>{shop}</shop></r>"
        )
    };
    let declared = |label: &str| format!("<?xml version=\"1.0\" encoding=\"{label}\"?>");
    let of_gbk = "eyJhY2Nlc3NfdG9rZW4iOiJ0b2siLCJleHBpcmVzX2luIjozNjAwLCJzaG9wIjoiteoifQ==";
    for (name, content_type, bytes, shop) in [
        (
            "json-mark",
            "application/json",
            format!("\u{feff}{}", json("店")).into_bytes(),
            "店",
        ),
        (
            "json-gbk",
            "application/json; charset=GBK",
            STANDARD.decode(of_gbk).expect("base64"),
            "店",
        ),
        (
            "json-sjis",
            "application/json; charset=Shift_JIS",
            encoded(SHIFT_JIS, &json("表示")),
            "表示",
        ),
        (
            "json-1252",
            "application/json;charset=\"windows-1252\"",
            encoded(WINDOWS_1252, &json("Café €")),
            "Café €",
        ),
        (
            "json-latin1",
            "application/json; charset=ISO-8859-1",
            encoded(WINDOWS_1252, &json("é")),
            "é",
        ),
        (
            "json-big5",
            "text/html; charset=big5",
            encoded(BIG5, &json("功能")),
            "功能",
        ),
        (
            "json-utf16le",
            "application/json",
            utf_16(&json("店😀"), u16::to_le_bytes),
            "店😀",
        ),
        (
            "json-utf16be",
            "application/json; charset=utf-8",
            utf_16(&json("店😀"), u16::to_be_bytes),
            "店😀",
        ),
        (
            "json-utf16",
            "application/json; charset=utf-16",
            utf_16(&json("店"), u16::to_le_bytes)[2..].to_vec(),
            "店",
        ),
        (
            "json-nul",
            "application/json",
            format!("{}\r\n\0\0", json("店")).into_bytes(),
            "店",
        ),
        (
            "json-nonsense",
            "application/json; charset=utf8mb4",
            json("店").into_bytes(),
            "店",
        ),
        (
            "xml-mark",
            "text/xml",
            format!("\u{feff}{}", xml(&declared("UTF-8"), "店")).into_bytes(),
            "店",
        ),
        (
            "xml-prolog-gbk",
            "text/xml",
            encoded(GBK, &xml(&declared("GBK"), "店铺")),
            "店铺",
        ),
        (
            "xml-header-gbk",
            "text/xml; charset=GBK",
            encoded(GBK, &xml("", "店铺")),
            "店铺",
        ),
        (
            "xml-prolog-big5",
            "",
            encoded(BIG5, &xml(&declared("Big5"), "功")),
            "功",
        ),
        (
            "xml-prolog-sjis",
            "application/xml",
            encoded(SHIFT_JIS, &xml(&declared("Shift_JIS"), "ソ")),
            "ソ",
        ),
        (
            "xml-utf16",
            "application/xml",
            utf_16(&xml(&declared("UTF-16"), "店"), u16::to_be_bytes),
            "店",
        ),
        (
            "xml-header-wins",
            "application/xml; charset=utf-8",
            xml(&declared("GBK"), "店").into_bytes(),
            "店",
        ),
        ("text-mark", "text/plain", "\u{feff}店".into(), "店"),
        (
            "text-gbk",
            "text/plain; charset=gb2312",
            encoded(GBK, "店"),
            "店",
        ),
        (
            "text-1252",
            "text/plain; charset=cp1252",
            encoded(WINDOWS_1252, "€"),
            "€",
        ),
        (
            "text-utf16",
            "text/plain",
            utf_16("店", u16::to_le_bytes),
            "店",
        ),
    ] {
        let more = match name {
            name if name.starts_with("xml") => json!({
                "response_format": "xml", "token_path": "r.access_token",
                "expires_in_path": "r.expires_in", "extra": {"shop": "body.r.shop"},
            }),
            name if name.starts_with("text") => json!({
                "response_format": "text", "token_path": null, "token": "'tok'",
                "expires_in_path": null, "expires_in": "3600", "extra": {"shop": "text"},
            }),
            _ => json!({"extra": {"shop": "body.shop"}}),
        };
        let served = served(&server.client, name, with(content_type, bytes), more).await;
        assert_eq!(served["token"], "tok", "{name}");
        assert_eq!(served["extra"]["shop"], shop, "{name}");
    }
}

async fn an_answer_that_is_not_in_its_charset_is_refused_by_name(database: TestDatabase) {
    let server = Server::start(&database).await;
    let shop = |bytes: &[u8]| {
        let text = TOKEN.replace("tok\"", "tok\",\"shop\":\"_\"");
        let (before, behind) = text.split_once('_').expect("it stands there");
        [before.as_bytes(), bytes, behind.as_bytes()].concat()
    };
    for (name, format, content_type, bytes, told) in [
        (
            "gbk",
            "json",
            "application/json; charset=GBK",
            shop(b"\xff"),
            "the answer is not valid GBK",
        ),
        (
            "sjis",
            "json",
            "application/json; charset=shift_jis",
            shop(b"\x85\xf0"),
            "the answer is not valid Shift_JIS",
        ),
        (
            "utf8",
            "json",
            "application/json; charset=utf-8",
            shop(b"\xb5\xea"),
            "the answer is not valid UTF-8",
        ),
        (
            "none",
            "json",
            "application/json",
            shop(b"\xb5\xea"),
            "the answer is neither UTF-8 nor says its charset",
        ),
        (
            "none-text",
            "text",
            "text/plain",
            shop(b"Caf\xe9"),
            "the answer is neither UTF-8 nor says its charset",
        ),
        (
            "unknown",
            "json",
            "application/json; charset=x-house",
            shop(b"\xb5\xea"),
            "x-house, is not known",
        ),
        (
            "prolog",
            "xml",
            "text/xml",
            b"<?xml version='1.0' encoding='Big5'?><a>\xff</a>".to_vec(),
            "the answer is not valid Big5",
        ),
    ] {
        let more = json!({"response_format": format});
        let answer = with(content_type, bytes);
        let (class, detail) = refused(&server.client, name, answer, more).await;
        assert_eq!(class, "transient", "{name}");
        assert!(detail.contains(told), "{name}: {detail}");
    }
}

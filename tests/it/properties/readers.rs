//! Readers of what was sent, which share nothing with what wrote it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{KeyInit, Mac};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use serde_json::Value;

use super::world::Recorded;

pub(super) fn same(
    place: &str,
    found: impl AsRef<[u8]>,
    wanted: impl AsRef<[u8]>,
) -> TestCaseResult {
    let (found, wanted) = (found.as_ref(), wanted.as_ref());
    prop_assert_eq!(
        String::from_utf8_lossy(found),
        String::from_utf8_lossy(wanted),
        "{}",
        place
    );
    prop_assert_eq!(found, wanted, "{}", place);
    Ok(())
}

pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// Names and values of a form, as a browser would write it: `+` is a blank.
pub(super) fn form(text: &str) -> Vec<(String, Vec<u8>)> {
    let decode = |text: &str| percent_decoded(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8(decode(name)).expect("names are text");
            (name, decode(value))
        })
        .collect()
}

/// The only value of a name, or all of them.
fn all_of<'a>(pairs: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let named = pairs.iter().filter(|(known, _)| known == name);
    named.map(|(_, value)| value.as_slice()).collect()
}

pub(super) fn same_all(
    place: &str,
    pairs: &[(String, Vec<u8>)],
    name: &str,
    wanted: &[&str],
) -> TestCaseResult {
    let found = all_of(pairs, name);
    prop_assert_eq!(found.len(), wanted.len(), "{}: {}", place, name);
    for (found, wanted) in found.iter().zip(wanted) {
        same(&format!("{place}: {name}"), found, wanted)?;
    }
    Ok(())
}

/// A query means the same to those who take `+` for a blank and those who do not.
pub(super) fn query(recorded: &Recorded) -> Vec<(String, Vec<u8>)> {
    let query = recorded.query();
    assert!(!query.contains('+'), "a + in a query means two things");
    let pairs = form(query);
    let by_url = url::form_urlencoded::parse(query.as_bytes());
    let same = by_url.map(|(name, value)| (name.into_owned(), value.into_owned().into_bytes()));
    assert_eq!(pairs, same.collect::<Vec<_>>());
    pairs
}

/// Texts and attributes of a document by their place, as any reader of XML sees them.
pub(super) fn xml(text: &str) -> Result<Vec<(String, String)>, quick_xml::Error> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut open: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                let above = open.last().map_or("", |(path, _)| path.as_str());
                let path = format!("{above}/{}", start.name().as_ref());
                for attribute in start.attributes() {
                    let attribute = attribute?;
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
                    let name = format!("{path}@{}", attribute.key.as_ref());
                    found.push((name, value.into_owned()));
                }
                open.push((path, String::new()));
            }
            Event::End(_) => found.extend(open.pop()),
            Event::Text(text) => add(&mut open, &text.xml10_content()),
            Event::CData(text) => add(&mut open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref()?.map(String::from);
                let named = || resolve_predefined_entity(&reference).map(str::to_owned);
                let text = character.or_else(named);
                add(&mut open, &text.expect("only entities of XML itself"));
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

fn add(open: &mut [(String, String)], text: &str) {
    if let Some((_, all)) = open.last_mut() {
        all.push_str(text);
    }
}

pub(super) fn at<'a>(found: &'a [(String, String)], path: &str) -> Vec<&'a str> {
    let there = found.iter().filter(|(known, _)| known == path);
    there.map(|(_, text)| text.as_str()).collect()
}

pub(super) fn basic(recorded: &Recorded) -> String {
    let header = str::from_utf8(recorded.header("authorization")).expect("ASCII");
    let encoded = header.strip_prefix("Basic ").expect("Basic");
    let plain = STANDARD.decode(encoded).expect("Base64");
    String::from_utf8(plain).expect("UTF-8")
}

/// Header and claims of a JWT whose HMAC is right.
pub(super) fn jwt(token: &str, key: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("a JWT has three parts");
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("Base64url");
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("any key");
    mac.update(format!("{header}.{claims}").as_bytes());
    mac.verify_slice(&decode(signature)).expect("the signature");
    let json = |part: &str| serde_json::from_slice(&decode(part)).expect("JSON");
    (json(header), json(claims))
}

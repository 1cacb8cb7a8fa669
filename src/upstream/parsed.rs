//! An answer as expressions see it: its body read by its format, headers, cookies, text.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;

use super::absence::what_is;
use super::client::HttpAnswer;
use super::decoding::Characters;
use crate::foundation::form;
use crate::foundation::json::{self, REPLACEMENT};
use crate::foundation::xml::{self, XmlFault};

use crate::realm::document::ResponseFormat;
use crate::realm::expression::without_nulls;
use crate::realm::failure::Failure;

/// Lists and objects within each other, in JSON.
const DEPTH_MAX: usize = 100;

/// An answer, taken apart.
pub(super) struct Parsed {
    /// Absent in a text, and where the answer is not of its form.
    pub body: Option<Value>,
    /// None: its bytes could not be read as characters, and `fault` says why.
    pub text: Option<String>,
    pub fault: Option<Failure>,
    /// Where bytes of it are no characters: what is left without them. It is good for nothing but
    /// a refresh token, which must not be lost.
    pub salvaged: Option<Value>,
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Parsed {
    pub fn of(answer: &HttpAnswer, format: ResponseFormat) -> Self {
        let (text, read) = match &answer.body {
            Ok(bytes) => read(&Characters::of(bytes, &answer.headers, format), format),
            Err(fault) => (None, Err(fault.clone())),
        };
        let (body, fault) = match read {
            Ok(body) => (body, None),
            Err(fault) => (None, Some(fault)),
        };
        let salvaged = match (&answer.body, format) {
            (Ok(bytes), ResponseFormat::Json) if text.is_none() => {
                json_value(written(&String::from_utf8_lossy(bytes))).ok()
            }
            _ => None,
        };
        Self {
            body,
            text,
            fault,
            salvaged,
            status: answer.status,
            headers: answer.headers.clone(),
        }
    }

    /// Why not even the text of it can be read.
    pub fn unreadable(&self) -> Option<&Failure> {
        self.fault.as_ref().filter(|_| self.text.is_none())
    }

    /// What expressions see of it.
    pub fn scope(&self) -> [(&'static str, minijinja::Value); 5] {
        let body = self.body.as_ref();
        [
            (
                "body",
                body.map_or(minijinja::Value::UNDEFINED, without_nulls),
            ),
            ("headers", pairs(joined_headers(&self.headers))),
            ("cookies", pairs(cookies(&self.headers))),
            ("status", self.status.as_u16().into()),
            ("text", self.text.as_deref().unwrap_or_default().into()),
        ]
    }

    /// What of it has fields with names.
    pub fn as_json(&self) -> Value {
        let text = |(name, value): (String, String)| (name, Value::from(value));
        let mut whole = serde_json::Map::new();
        if let Some(body) = &self.body {
            whole.insert("body".to_owned(), body.clone());
        }
        let headers = joined_headers(&self.headers).into_iter().map(text);
        whole.insert("headers".to_owned(), headers.collect());
        let cookies = cookies(&self.headers).into_iter().map(text);
        whole.insert("cookies".to_owned(), cookies.collect());
        Value::Object(whole)
    }

    pub fn body(&self) -> &Value {
        self.body.as_ref().unwrap_or(&Value::Null)
    }
}

fn pairs(pairs: Vec<(String, String)>) -> minijinja::Value {
    minijinja::Value::from_pairs(
        pairs
            .into_iter()
            .map(|(name, value)| (name, minijinja::Value::from(value))),
    )
}

/// The text of an answer, and its body.
fn read(
    characters: &Characters<'_>,
    format: ResponseFormat,
) -> (Option<String>, Result<Option<Value>, Failure>) {
    let text = match characters.text() {
        Ok(text) => text,
        Err(fault) => return (None, Err(fault)),
    };
    let body = match format {
        ResponseFormat::Json => json_value(written(&text)).map(Some),
        ResponseFormat::Xml => xml_value(written(&text)).map(Some),
        ResponseFormat::Form => form_value(characters, written(&text)).map(Some),
        ResponseFormat::Text => Ok(None),
    };
    (Some(text), body)
}

/// Without what some servers send behind a document: the NUL that ends a string in C.
fn written(text: &str) -> &str {
    text.trim_end_matches(|c: char| c == '\0' || c.is_ascii_whitespace())
}

fn json_value(text: &str) -> Result<Value, Failure> {
    if depth(text.as_bytes()) > DEPTH_MAX {
        return Err(Failure::transient(format!(
            "answer_too_deep: the answer nests deeper than {DEPTH_MAX} levels"
        )));
    }
    json::parse(text).map_err(|_| not_of_form("JSON", text))
}

/// What is percent-encoded is in the charset of the answer, too.
fn form_value(characters: &Characters<'_>, text: &str) -> Result<Value, Failure> {
    // A form has no other characters than those of URLs, and JSON or HTML comes by mistake.
    if !text.contains('=') || text.trim_start().starts_with(['{', '[', '<']) {
        return Err(not_of_form("a form", text));
    }
    let read = match characters.as_ascii() {
        Some(bytes) => {
            let end = |byte: &&u8| **byte == 0 || byte.is_ascii_whitespace();
            let behind = bytes.iter().rev().take_while(end).count();
            let bytes = bytes[..bytes.len() - behind].trim_ascii_start();
            form::parse(bytes, |bytes| characters.decode(bytes))
        }
        None => form::parse_utf8(text.trim_start()),
    };
    read.map(Value::Object).ok_or_else(|| characters.fault())
}

/// Whether a text has lost a character on its way. A token that has is none.
pub(super) fn is_harmed(text: &str) -> bool {
    text.contains(REPLACEMENT)
}

/// How deep lists and objects nest, as far as that can be told without reading them.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn xml_value(text: &str) -> Result<Value, Failure> {
    xml::parse(text).map_err(|fault| match fault {
        XmlFault::Doctype => Failure::transient(
            "answer_doctype: the answer has a document type, which could expand without end",
        ),
        XmlFault::TooDeep => Failure::transient("answer_too_deep: the answer nests too deep"),
        XmlFault::Malformed => not_of_form("XML", text),
    })
}

fn not_of_form(form: &str, text: &str) -> Failure {
    Failure::transient(format!("the answer is not {form}: {}", what_is(text)))
}

fn joined_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        match joined.iter_mut().find(|(known, _)| known == name.as_str()) {
            Some((_, all)) => {
                all.push_str(", ");
                all.push_str(value);
            }
            None => joined.push((name.as_str().to_owned(), value.to_owned())),
        }
    }
    joined
}

/// RFC 6265, section 5.2, as far as name and value go.
fn cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let set = headers.get_all(SET_COOKIE).iter();
    set.filter_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?;
        let (name, value) = pair.split_once('=')?;
        Some((
            name.trim().to_owned(),
            value.trim().trim_matches('"').to_owned(),
        ))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::CONTENT_TYPE;
    use serde_json::json;

    use super::*;

    fn parsed(content_type: &str, body: &[u8], format: ResponseFormat) -> Parsed {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let answer = HttpAnswer::of(StatusCode::OK, headers, body.to_vec(), 1000);
        Parsed::of(&answer, format)
    }

    #[test]
    fn what_stands_behind_a_document_is_no_part_of_it_and_a_text_keeps_it() {
        for (format, body, expected) in [
            (
                ResponseFormat::Json,
                "{\"a\":\"b\"}\r\n\0",
                json!({"a": "b"}),
            ),
            (ResponseFormat::Xml, "<a>b</a>\0\0", json!({"a": "b"})),
            (ResponseFormat::Form, "\r\na=b\n\0\n", json!({"a": "b"})),
            (
                ResponseFormat::Json,
                r#"{"a":"b\u0000"}"#,
                json!({"a": "b\0"}),
            ),
        ] {
            let parsed = parsed("text/plain", body.as_bytes(), format);
            assert_eq!(parsed.body, Some(expected), "{body:?}");
            assert_eq!(parsed.text.as_deref(), Some(body));
        }
        let text = parsed("text/plain", b"a \0", ResponseFormat::Text);
        assert_eq!(text.text.as_deref(), Some("a \0"));
        let more = parsed("text/plain", b"{}\0{}", ResponseFormat::Json);
        assert!(more.body.is_none() && more.fault.is_some());
    }

    #[test]
    fn what_cannot_be_read_has_neither_text_nor_body_and_what_is_not_of_its_form_has_a_text() {
        let format = ResponseFormat::Json;
        let unreadable = parsed("text/plain; charset=gbk", b"{\"a\":\"\xff\"}", format);
        assert!(unreadable.unreadable().is_some() && unreadable.body.is_none());
        let other = parsed("text/plain; charset=gbk", b"<html>", format);
        assert!(other.unreadable().is_none() && other.fault.is_some());
    }
}

//! An answer as expressions see it: its body read by its format, headers, cookies, text.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;

use super::client::Answer;
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
    pub fault: Option<Failure>,
    pub status: StatusCode,
    pub headers: HeaderMap,
    text: String,
}

impl Parsed {
    pub fn of(answer: &Answer, format: ResponseFormat) -> Self {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let read = match format {
            ResponseFormat::Json => json(&answer.body).map(Some),
            ResponseFormat::Xml => xml_value(&text).map(Some),
            ResponseFormat::Text => Ok(None),
        };
        let (body, fault) = match read {
            Ok(body) => (body, None),
            Err(fault) => (None, Some(fault)),
        };
        Self {
            body,
            fault,
            status: answer.status,
            headers: answer.headers.clone(),
            text,
        }
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
            ("text", self.text.as_str().into()),
        ]
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

fn json(body: &[u8]) -> Result<Value, Failure> {
    if depth(body) > DEPTH_MAX {
        return Err(Failure::transient(format!(
            "answer_too_deep: the answer nests deeper than {DEPTH_MAX} levels"
        )));
    }
    serde_json::from_slice(body).map_err(|_| Failure::transient("the answer is not JSON"))
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
    xml::parse(text).map_err(|fault| {
        Failure::transient(match fault {
            XmlFault::Doctype => {
                "answer_doctype: the answer has a document type, which could expand without end"
            }
            XmlFault::TooDeep => "answer_too_deep: the answer nests too deep",
            XmlFault::Malformed => "the answer is not XML",
        })
    })
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

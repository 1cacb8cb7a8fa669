//! Answers as bytes that can be mutated, and the documents they are read by.
//!
//! Two bytes choose the document, one the status; then come header lines, an empty line, and
//! the body.

use std::sync::LazyLock;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use token_server::realm::document::ProviderDocument;
use token_server::realm::preset;
use token_server::secret::params::Params;
use token_server::upstream::HttpAnswer;

use super::{ANSWER_MAX_BYTES, document, held, params};

/// As many as there are; a client takes about a hundred.
const HEADERS_MAX: usize = 100;

const STATUSES: [u16; 16] = [
    200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 599,
];

/// A document that answers are read by, with parameters.
pub struct Read {
    /// Of a preset.
    pub id: Option<&'static str>,
    pub document: ProviderDocument,
    pub params: Params,
}

impl Read {
    fn by(id: Option<&'static str>, config: &Value) -> Self {
        let document = document(config);
        let params = params(&document);
        Self {
            id,
            document,
            params,
        }
    }
}

/// The documents of one target: its own, and behind them perhaps the presets.
pub struct Documents(Vec<Read>);

impl Documents {
    fn new(own: &str, with_presets: bool) -> Self {
        let own: Vec<Value> = serde_json::from_str(own).expect("the documents are JSON");
        let own = own.iter().map(|config| Read::by(None, config));
        let presets = preset::all().values().filter(|_| with_presets);
        let presets = presets.map(|preset| Read::by(Some(&preset.id), &preset.config));
        Self(own.chain(presets).collect())
    }

    fn chosen(&self, choice: Choice) -> &Read {
        &self.0[usize::from(u16::from_be_bytes(choice)) % self.0.len()]
    }

    /// What chooses each document, with the ids of presets.
    pub fn choices(&self) -> impl Iterator<Item = (Choice, Option<&'static str>)> {
        let choices = (0..=u16::MAX).map(u16::to_be_bytes);
        choices.zip(self.0.iter().map(|read| read.id))
    }
}

/// Chooses a document.
pub type Choice = [u8; 2];

pub static JSON: LazyLock<Documents> =
    LazyLock::new(|| Documents::new(include_str!("../documents/json.json"), true));
pub static XML: LazyLock<Documents> =
    LazyLock::new(|| Documents::new(include_str!("../documents/xml.json"), false));
pub static TEXT_HEADERS: LazyLock<Documents> =
    LazyLock::new(|| Documents::new(include_str!("../documents/text_headers.json"), false));

/// Reads an input as an answer, the answer by its document, and checks what comes of it.
pub fn fuzz(documents: &Documents, input: &[u8]) {
    let [high, low, status, rest @ ..] = input else {
        return;
    };
    let read = documents.chosen([*high, *low]);
    let answer = answer(*status, rest);
    if let Some(failure) = held::read(&read.document, &read.params, &answer) {
        held::shows_no_parameter(&failure, &read.params);
    }
}

fn answer(status: u8, mut rest: &[u8]) -> HttpAnswer {
    let mut headers = HeaderMap::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value)
            && headers.len() < HEADERS_MAX
        {
            headers.append(name, value);
        }
    }
    HttpAnswer::of(status_of(status), headers, rest.to_vec(), ANSWER_MAX_BYTES)
}

fn status_of(byte: u8) -> StatusCode {
    let known = STATUSES.get(usize::from(byte)).copied();
    // The others spread over 100 to 996.
    let number = known.unwrap_or_else(|| 100 + (u16::from(byte) - 16) * 15 / 4);
    StatusCode::from_u16(number).expect("it has three digits")
}

/// An answer as an input.
pub fn input(choice: Choice, status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut input = vec![choice[0], choice[1], status_byte(status)];
    for (name, value) in headers {
        input.extend(format!("{name}: {value}\n").into_bytes());
    }
    input.push(b'\n');
    input.extend(body.bytes());
    input
}

/// The byte for a status, or for one of its kind.
fn status_byte(status: u16) -> u8 {
    let known = STATUSES.iter().position(|known| *known == status);
    let index = known.unwrap_or(if status < 400 { 0 } else { 4 });
    u8::try_from(index).expect("there are few")
}

//! Requests and answers as an administrator may see them: credentials masked, and
//! everything that is made of them.

use std::borrow::Cow;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::assertion::Unsigned;
use super::client::HttpAnswer;
use super::parsed::Parsed;
use super::render::Renderer;
use super::request::{RequestBody, assemble};
use super::scope::{ExpressionScope, MASK};
use super::token_like::without_tokens;
use super::token_request::wanted_assertion;
use crate::foundation::clock::EpochMs;
use crate::realm::document::{ClientAuth, Encoding, ProviderDocument, RequestRule};
use crate::realm::expression::Expressions;
use crate::realm::failure::Failure;
use crate::secret::params::mask;

/// Text without blanks that is as long as this may be a credential.
const CREDENTIAL_FROM_CHARS: usize = 16;
/// Names whose values are credentials, whole or in part.
const CREDENTIAL_NAMES: [&str; 9] = [
    "token",
    "secret",
    "password",
    "key",
    "ticket",
    "signature",
    "assertion",
    "session",
    "cookie",
];
/// What is shown of a text that is no JSON and no XML.
const TEXT_MAX_CHARS: usize = 2000;

/// A request as it would go out.
#[derive(Clone, Debug)]
pub struct ShownRequest {
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// JSON, a form as an object, or text.
    pub body: Option<Value>,
    pub assertion: Option<ShownAssertion>,
    /// The name of the proxy that it goes through.
    pub proxy: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ShownAssertion {
    pub header: Value,
    pub claims: Value,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct ShownAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl ShownRequest {
    /// Renders a request with masks in place of credentials.
    pub fn of(
        document: &ProviderDocument,
        rule: &RequestRule,
        masked: &ExpressionScope,
        expressions: &Expressions,
        now: EpochMs,
    ) -> Result<Self, Failure> {
        let mut scope = masked.clone();
        let render = Renderer::new(expressions, &scope, true);
        let assertion = match wanted_assertion(document, rule, &render)? {
            None => None,
            Some((assertion, mut defaults)) => {
                if matches!(rule.client_auth, Some(ClientAuth::Jwt { .. })) {
                    defaults.audience = Some(url_text(rule, &render));
                }
                let unsigned = Unsigned::make(&assertion, &render, &defaults, now, MASK)?;
                Some(ShownAssertion {
                    header: Value::Object(unsigned.header),
                    claims: Value::Object(unsigned.claims),
                })
            }
        };
        if assertion.is_some() {
            scope.set("assertion", MASK.into());
        }
        let render = Renderer::new(expressions, &scope, true);
        let masked_assertion = SecretString::from(MASK);
        let assembled = assemble(rule, &render, Some(&masked_assertion))?;
        let mut headers = assembled.headers;
        let (encoding, body) = match assembled.body {
            RequestBody::None => (Encoding::None, None),
            RequestBody::Tree(encoding, tree) => (encoding, Some(Value::Object(tree))),
            RequestBody::Text(encoding, text) => (encoding, Some(Value::String(text))),
        };
        let explicit = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
        if let Some(media_type) = encoding.media_type()
            && body.is_some()
            && !headers.iter().any(explicit)
        {
            headers.push(("content-type".to_owned(), media_type.to_owned()));
        }
        let mut url = url_text(rule, &render);
        for (name, value) in assembled.query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{name}={value}"));
        }
        Ok(Self {
            method: rule.method.as_str(),
            url,
            headers,
            body,
            assertion,
            proxy: None,
        })
    }
}

fn url_text(rule: &RequestRule, render: &Renderer<'_>) -> String {
    rule.target.shown(|template| {
        let value = render.in_url(template).ok();
        value
            .filter(|value| !value.is_undefined() && !value.is_none())
            .map_or_else(|| MASK.to_owned(), |value| value.to_string())
    })
}

impl ShownAnswer {
    pub(super) fn of(answer: &HttpAnswer, parsed: &Parsed, scope: &ExpressionScope) -> Self {
        let headers = answer.headers.iter().map(|(name, value)| {
            let value = value.to_str().unwrap_or(MASK);
            (name.to_string(), masked_text(name.as_str(), value, scope))
        });
        let body = match &parsed.body {
            Some(body) => masked_value("", body, scope),
            None => {
                let bytes = answer.body.as_deref().unwrap_or_default();
                let text = parsed.text.as_deref();
                let text = text.map_or_else(|| String::from_utf8_lossy(bytes), Cow::Borrowed);
                let words = text.split(' ').map(|word| masked_text("", word, scope));
                let shown: String = words.collect::<Vec<_>>().join(" ");
                Value::String(shown.chars().take(TEXT_MAX_CHARS).collect())
            }
        };
        Self {
            status: answer.status.as_u16(),
            headers: headers.collect(),
            body,
        }
    }
}

/// A JSON value with masks for what may be a credential.
pub(super) fn masked_value(name: &str, value: &Value, scope: &ExpressionScope) -> Value {
    match value {
        Value::String(text) => Value::String(masked_text(name, text, scope)),
        Value::Array(items) => items
            .iter()
            .map(|item| masked_value(name, item, scope))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, item)| {
                (
                    without_tokens(&scope.mask(name)),
                    masked_value(name, item, scope),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        plain => plain.clone(),
    }
}

/// Masks a text by its name, by its looks, and where it repeats a credential that was sent.
fn masked_text(name: &str, text: &str, scope: &ExpressionScope) -> String {
    // What is not printed must not keep a credential from being found.
    let text: String = text
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect();
    let text = text.as_str();
    let name = name.to_ascii_lowercase();
    let named = CREDENTIAL_NAMES.iter().any(|part| name.contains(part)) && name != "token_type";
    let dense =
        text.chars().count() >= CREDENTIAL_FROM_CHARS && !text.contains(char::is_whitespace);
    // A media type, a date or a URL is long, too.
    let plain = text.contains("://") || text.contains('/') && !text.contains(['=', '+', '.']);
    if named || (dense && !plain) {
        return mask(&text.to_owned().into());
    }
    without_tokens(&scope.mask(text))
}

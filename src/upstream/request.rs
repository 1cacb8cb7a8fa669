//! Builds the request a document describes, with a secret's parameters.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::ValueKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::client::Request;
use crate::realm::document::{
    Argument, BasicEncoding, ClientAuth, Encoding, Method, Place, ProviderDocument,
};
use crate::realm::expression::{Expressions, Template};
use crate::realm::failure::Failure;
use crate::secret::Secret;

/// All but the unreserved characters of RFC 3986, section 2.3.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Shorter parameters are not looked for in messages: they would match by chance.
const MASKED_FROM_BYTES: usize = 4;

/// What expressions see: the secret's parameters, with their defaults.
pub(super) struct Scope {
    params: BTreeMap<String, SecretString>,
}

impl Scope {
    pub fn of(document: &ProviderDocument, secret: &Secret) -> Self {
        let value = |rule: &crate::realm::document::ParamRule| {
            secret
                .params
                .get(&rule.name)
                .cloned()
                .or_else(|| rule.default.clone().map(SecretString::from))
        };
        let params = document.params.iter();
        Self {
            params: params
                .filter_map(|rule| Some((rule.name.clone(), value(rule)?)))
                .collect(),
        }
    }

    pub fn for_request(&self) -> minijinja::Value {
        self.with(std::iter::empty())
    }

    /// The parameters and some values beside them.
    pub fn with(
        &self,
        beside: impl Iterator<Item = (&'static str, minijinja::Value)>,
    ) -> minijinja::Value {
        let params = self.params.iter().map(|(name, value)| {
            let value = minijinja::Value::from(value.expose_secret());
            (name.clone(), value)
        });
        let beside = beside.map(|(name, value)| (name.to_owned(), value));
        minijinja::Value::from_pairs(params.chain(beside))
    }

    /// A provider's message may repeat what it was sent: parameters are taken out, the
    /// longest first, because one may begin another.
    pub fn mask(&self, text: &str) -> String {
        let mut values: Vec<&str> = self
            .params
            .values()
            .map(ExposeSecret::expose_secret)
            .collect();
        values.retain(|value| value.len() >= MASKED_FROM_BYTES);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values
            .iter()
            .fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }
}

/// Builds the request, or says which part of the document cannot be rendered.
pub(super) fn build(
    document: &ProviderDocument,
    scope: &Scope,
    expressions: &Expressions,
) -> Result<Request, Failure> {
    let context = scope.for_request();
    let render = Renderer {
        expressions,
        context: &context,
    };
    let mut query = Vec::new();
    let mut headers = HeaderMap::new();
    let mut body = Map::new();
    for argument in &document.arguments {
        let name = &argument.name;
        let Some(value) = render.argument(name, &argument.value)? else {
            if argument.optional {
                continue;
            }
            return Err(Failure::ours(format!(
                "argument {name} has no value: the secret lacks the parameter it takes"
            )));
        };
        match argument.place {
            Place::Url => query.push((name.clone(), plain_text(name, &value)?)),
            Place::Header => {
                add_header(&mut headers, name, &plain_text(name, &value)?)?;
            }
            Place::Body if document.method == Method::Get => {
                query.push((name.clone(), plain_text(name, &value)?));
            }
            Place::Body => {
                body.insert(name.clone(), value);
            }
        }
    }
    if let Some(auth) = &document.client_auth {
        render.client_auth(auth, &mut headers, &mut body)?;
    }
    let mut request = Request {
        method: method(document.method),
        url: with_query(&document.url, &query),
        headers,
        body: None,
    };
    if document.method != Method::Get {
        let (media_type, bytes) = encode(document.content_type, &body)?;
        let explicit = request.headers.contains_key(CONTENT_TYPE);
        if !explicit {
            request
                .headers
                .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        request.body = Some(bytes);
    }
    Ok(request)
}

struct Renderer<'a> {
    expressions: &'a Expressions,
    context: &'a minijinja::Value,
}

impl Renderer<'_> {
    /// None: the whole value is one parameter that is not set.
    fn argument(&self, name: &str, argument: &Argument) -> Result<Option<Value>, Failure> {
        Ok(Some(match argument {
            Argument::Plain(value) => value.clone(),
            Argument::Template(template) => return self.template(name, template),
            Argument::List(list) => {
                let items = list.iter().map(|item| self.required(name, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Argument::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(field, item)| Ok((field.clone(), self.required(name, item)?)));
                Value::Object(fields.collect::<Result<_, Failure>>()?)
            }
        }))
    }

    fn required(&self, name: &str, argument: &Argument) -> Result<Value, Failure> {
        self.argument(name, argument)?
            .ok_or_else(|| Failure::ours(format!("a value within argument {name} is not set")))
    }

    fn template(&self, name: &str, template: &Template) -> Result<Option<Value>, Failure> {
        let rendered = self
            .expressions
            .render(template, self.context)
            .map_err(|error| Failure::ours(format!("argument {name}: {error}")))?;
        if matches!(rendered.kind(), ValueKind::Undefined | ValueKind::None) {
            return Ok(None);
        }
        serde_json::to_value(&rendered)
            .map(Some)
            .map_err(|_| Failure::ours(format!("argument {name} is not a JSON value")))
    }

    fn text(&self, what: &str, template: &Template) -> Result<String, Failure> {
        let value = self
            .template(what, template)?
            .ok_or_else(|| Failure::ours(format!("client_auth.{what} is not set")))?;
        plain_text(what, &value)
    }

    fn client_auth(
        &self,
        auth: &ClientAuth,
        headers: &mut HeaderMap,
        body: &mut Map<String, Value>,
    ) -> Result<(), Failure> {
        match auth {
            ClientAuth::Basic {
                client_id,
                client_secret,
                encoding,
            } => {
                let id = self.text("client_id", client_id)?;
                let secret = self.text("client_secret", client_secret)?;
                headers.insert(AUTHORIZATION, basic(&id, &secret, *encoding)?);
            }
            ClientAuth::Post {
                client_id,
                client_secret,
            } => {
                for (name, template) in [("client_id", client_id), ("client_secret", client_secret)]
                {
                    body.insert(name.to_owned(), Value::String(self.text(name, template)?));
                }
            }
        }
        Ok(())
    }
}

/// RFC 7617; with the form encoding of RFC 6749, section 2.3.1, unless `raw`.
fn basic(id: &str, secret: &str, encoding: BasicEncoding) -> Result<HeaderValue, Failure> {
    let form =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = match encoding {
        BasicEncoding::Rfc6749 => format!("{}:{}", form(id), form(secret)),
        BasicEncoding::Raw => format!("{id}:{secret}"),
    };
    sensitive(&format!("Basic {}", STANDARD.encode(pair)))
        .ok_or_else(|| Failure::ours("client_auth does not make a header"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn add_header(headers: &mut HeaderMap, name: &str, text: &str) -> Result<(), Failure> {
    let header: HeaderName = name
        .parse()
        .map_err(|_| Failure::ours(format!("{name} is not the name of a header")))?;
    let value = sensitive(text).ok_or_else(|| {
        Failure::ours(format!(
            "header {name} would hold a character that headers cannot"
        ))
    })?;
    headers.insert(header, value);
    Ok(())
}

/// A value as it stands in a query, a header or a form.
fn plain_text(name: &str, value: &Value) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Failure::ours(format!(
            "argument {name} is a list or an object, which fits into a JSON body only"
        ))),
    }
}

/// Adds to the query the URL has already.
fn with_query(url: &Url, pairs: &[(String, String)]) -> Url {
    let mut url = url.clone();
    if !pairs.is_empty() {
        let encode = |text| utf8_percent_encode(text, QUERY).to_string();
        let added = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let query = match url.query() {
            Some(present) if !present.is_empty() => format!("{present}&{added}"),
            _ => added,
        };
        url.set_query(Some(&query));
    }
    url
}

fn encode(
    encoding: Encoding,
    body: &Map<String, Value>,
) -> Result<(&'static str, Vec<u8>), Failure> {
    let json = || {
        serde_json::to_vec(body).map_err(|_| Failure::ours("the body cannot be written as JSON"))
    };
    match encoding {
        Encoding::Json => Ok(("application/json", json()?)),
        Encoding::Text => Ok(("application/text", json()?)),
        Encoding::Form => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in body {
                match value {
                    Value::Array(items) => {
                        for item in items {
                            form.append_pair(name, &plain_text(name, item)?);
                        }
                    }
                    single => {
                        form.append_pair(name, &plain_text(name, single)?);
                    }
                }
            }
            Ok((
                "application/x-www-form-urlencoded",
                form.finish().into_bytes(),
            ))
        }
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
    }
}

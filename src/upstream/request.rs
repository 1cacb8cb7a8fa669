//! Builds the request a document describes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::Value as ScopeValue;
use percent_encoding::utf8_percent_encode;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::client::{Request, TlsMaterial};
use super::encode::{encode, insert};
use super::render::{RenderedArgument, Renderer, plain_text};
use super::scope::MASK;
use crate::realm::document::{
    ArgumentPlace, BasicEncoding, ClientAuth, Content, Encoding, Method, NamedArgument,
    ProxyChoice, RequestRule, TlsRule,
};
use crate::realm::expression::{UNRESERVED, without_nulls};
use crate::realm::failure::Failure;

/// RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request consists of, before it is put together.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: RequestBody,
}

#[derive(Debug, Default)]
pub(super) enum RequestBody {
    #[default]
    None,
    Tree(Encoding, Map<String, Value>),
    Text(Encoding, String),
}

/// Renders arguments, client authentication and body.
pub(super) fn assemble(
    rule: &RequestRule,
    render: &Renderer<'_>,
    assertion: Option<&SecretString>,
) -> Result<Assembled, Failure> {
    let values = arguments(rule, render)?;
    let mut assembled = Assembled::default();
    let mut tree = Map::new();
    let encoding = rule.content.encoding();
    for (argument, value) in &values {
        let at = format!("argument {}", argument.name);
        match argument.place {
            ArgumentPlace::Url => add_query(&mut assembled.query, &argument.name, &at, value)?,
            ArgumentPlace::Header => {
                assembled
                    .headers
                    .push((argument.name.clone(), plain_text(&at, value)?));
            }
            ArgumentPlace::Body if rule.method == Method::Get => {
                add_query(&mut assembled.query, &argument.name, &at, value)?;
            }
            ArgumentPlace::Body => {
                insert(&mut tree, &argument.name, value.clone(), encoding.nests())?
            }
        }
    }
    if let Some(auth) = &rule.client_auth {
        client_auth(auth, render, assertion, &mut assembled.headers, &mut tree)?;
    }
    assembled.body = match &rule.content {
        _ if rule.method == Method::Get => RequestBody::None,
        Content::Arguments(Encoding::None) => RequestBody::None,
        Content::Arguments(encoding) => RequestBody::Tree(*encoding, tree),
        Content::Template(template, encoding) => {
            let args = args_of(&values);
            let text = render.with("args", args).text("body", template)?;
            RequestBody::Text(*encoding, text)
        }
    };
    Ok(assembled)
}

/// Renders the arguments, those that use `args` last: they see the others.
fn arguments<'a>(
    rule: &'a RequestRule,
    render: &Renderer<'_>,
) -> Result<Vec<(&'a NamedArgument, Value)>, Failure> {
    let uses_args = |argument: &NamedArgument| argument.value.names().contains("args");
    let mut values = Vec::new();
    for argument in rule
        .arguments
        .iter()
        .filter(|argument| !uses_args(argument))
    {
        values.extend(argument_value(argument, render)?.map(|value| (argument, value)));
    }
    if rule.arguments.iter().any(uses_args) {
        let with_args = render.with("args", args_of(&values));
        for argument in rule.arguments.iter().filter(|argument| uses_args(argument)) {
            values.extend(argument_value(argument, &with_args)?.map(|value| (argument, value)));
        }
    }
    // In the order of the document.
    let place = |argument: &NamedArgument| {
        let mut all = rule.arguments.iter();
        all.position(|other| std::ptr::eq(other, argument))
    };
    values.sort_by_key(|(argument, _)| place(argument));
    Ok(values)
}

/// None: it is left out.
fn argument_value(
    argument: &NamedArgument,
    render: &Renderer<'_>,
) -> Result<Option<Value>, Failure> {
    let name = &argument.name;
    match render.argument(&format!("argument {name}"), &argument.value)? {
        RenderedArgument::Value(value) => Ok(Some(value)),
        RenderedArgument::Unset(_) if argument.optional => Ok(None),
        RenderedArgument::Unset(why) => Err(Failure::internal(why.unwrap_or_else(|| {
            format!("argument {name} has no value: the secret lacks the parameter it takes")
        }))),
    }
}

fn args_of(values: &[(&NamedArgument, Value)]) -> ScopeValue {
    let pairs = values
        .iter()
        .map(|(argument, value)| (argument.name.clone(), without_nulls(value)));
    ScopeValue::from_pairs(pairs)
}

/// A list repeats the name.
fn add_query(
    query: &mut Vec<(String, String)>,
    name: &str,
    at: &str,
    value: &Value,
) -> Result<(), Failure> {
    match value {
        Value::Array(items) => {
            for item in items {
                query.push((name.to_owned(), plain_text(at, item)?));
            }
        }
        single => query.push((name.to_owned(), plain_text(at, single)?)),
    }
    Ok(())
}

fn client_auth(
    auth: &ClientAuth,
    render: &Renderer<'_>,
    assertion: Option<&SecretString>,
    headers: &mut Vec<(String, String)>,
    body: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let mut add = |name: &str, value: String| body.insert(name.to_owned(), Value::String(value));
    match auth {
        ClientAuth::Basic {
            client_id,
            client_secret,
            encoding,
        } => {
            let id = render.text("client_auth.client_id", client_id)?;
            let secret = render.text("client_auth.client_secret", client_secret)?;
            let credentials = if render.masks() {
                MASK.to_owned()
            } else {
                let credentials = basic_credentials(&id, &secret, *encoding);
                render.also_mask(&credentials);
                credentials
            };
            headers.push((AUTHORIZATION.to_string(), format!("Basic {credentials}")));
        }
        ClientAuth::Post {
            client_id,
            client_secret,
        } => {
            add(
                "client_id",
                render.text("client_auth.client_id", client_id)?,
            );
            add(
                "client_secret",
                render.text("client_auth.client_secret", client_secret)?,
            );
        }
        ClientAuth::None { client_id } | ClientAuth::Tls { client_id } => {
            if let Some(client_id) = client_id {
                add(
                    "client_id",
                    render.text("client_auth.client_id", client_id)?,
                );
            }
        }
        ClientAuth::Jwt { client_id, .. } => {
            if let Some(client_id) = client_id {
                add(
                    "client_id",
                    render.text("client_auth.client_id", client_id)?,
                );
            }
            let assertion = assertion.ok_or_else(|| {
                Failure::internal("client_auth needs an assertion, and there is none")
            })?;
            add("client_assertion_type", JWT_BEARER.to_owned());
            add("client_assertion", assertion.expose_secret().to_owned());
        }
    }
    Ok(())
}

/// RFC 7617; with the form encoding of RFC 6749, section 2.3.1, unless `raw`. A blank becomes
/// `%20`, which whoever decodes a form and whoever decodes percent signs only both take; `+` is
/// a blank to the former alone.
pub fn basic_credentials(id: &str, secret: &str, encoding: BasicEncoding) -> String {
    let form = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    STANDARD.encode(match encoding {
        BasicEncoding::Rfc6749 => format!("{}:{}", form(id), form(secret)),
        BasicEncoding::Raw => format!("{id}:{secret}"),
    })
}

/// Puts a request together.
pub(super) fn request(
    rule: &RequestRule,
    url: &Url,
    assembled: &Assembled,
    tls: Option<TlsMaterial>,
    proxy: ProxyChoice,
) -> Result<Request, Failure> {
    let mut headers = HeaderMap::new();
    for (name, text) in &assembled.headers {
        add_header(&mut headers, name, text)?;
    }
    let (media_type, body) = match &assembled.body {
        RequestBody::None => (None, None),
        RequestBody::Tree(encoding, tree) => (encoding.media_type(), encode(*encoding, tree)?),
        RequestBody::Text(encoding, text) => {
            (encoding.media_type(), Some(text.clone().into_bytes()))
        }
    };
    if let Some(media_type) = media_type
        && !headers.contains_key(CONTENT_TYPE)
    {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    let bodiless = body.is_none() && rule.method != Method::Get;
    if bodiless {
        // Servers want a length even where there is nothing (RFC 9110, section 8.6), and the
        // client says none by itself.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(Request {
        method: match rule.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        },
        url: with_query(url, &assembled.query),
        headers,
        body: if bodiless { Some(Vec::new()) } else { body },
        tls,
        proxy,
    })
}

fn add_header(headers: &mut HeaderMap, name: &str, text: &str) -> Result<(), Failure> {
    let header: HeaderName = name
        .parse()
        .map_err(|_| Failure::internal(format!("{name} is not the name of a header")))?;
    // Whoever receives it drops them (RFC 9110, section 5.5).
    if text.trim_matches([' ', '\t']) != text {
        return Err(Failure::internal(format!(
            "header {name} would begin or end with a blank, which headers lose"
        )));
    }
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        Failure::internal(format!(
            "header {name} would hold a character that headers cannot"
        ))
    })?;
    value.set_sensitive(true);
    headers.append(header, value);
    Ok(())
}

/// Adds to the query the URL has already.
fn with_query(url: &Url, pairs: &[(String, String)]) -> Url {
    let mut url = url.clone();
    if !pairs.is_empty() {
        let encode = |text| utf8_percent_encode(text, UNRESERVED).to_string();
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

/// The certificates of a request.
pub(super) fn tls_material(
    rule: &TlsRule,
    render: &Renderer<'_>,
) -> Result<Option<TlsMaterial>, Failure> {
    let ca = match &rule.ca {
        Some(ca) => render.text_if_set("tls.ca", ca)?,
        None => None,
    };
    let client = match &rule.client {
        Some(client) => render
            .text_if_set("tls.client_cert", &client.certificate)?
            .zip(render.text_if_set("tls.client_key", &client.key)?),
        None => None,
    };
    Ok((ca.is_some() || client.is_some()).then(|| TlsMaterial {
        ca: ca.map(SecretString::from),
        client: client.map(|(certificate, key)| (certificate.into(), key.into())),
    }))
}

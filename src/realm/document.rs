//! The realm document: how a provider is asked, and how its answer is read.

use std::sync::LazyLock;

use serde_json::Value;
use url::Url;

use super::DEFAULT_PARAMS;
use super::expression::{Expression, Template};
use super::failure::FailureClass;
use super::policy::Policy;

/// The longest life that is believed or configured: ten years, in seconds.
pub const LIFETIME_MAX_S: i64 = 10 * 365 * 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Url,
    Header,
    Body,
}

/// The encoding of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// JSON sent as `application/text`, as the predecessor did.
    Text,
}

/// A value of any JSON type; every string in it is a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    Template(Template),
    Plain(Value),
    List(Vec<Argument>),
    Object(Vec<(String, Argument)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct NamedArgument {
    pub name: String,
    pub place: Place,
    pub value: Argument,
    /// Left out where its value is unset.
    pub optional: bool,
}

/// Client authentication at the token endpoint, by its RFC 7591 name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// RFC 6749, section 2.3.1.
    Basic {
        client_id: Template,
        client_secret: Template,
        encoding: BasicEncoding,
    },
    /// Credentials as `client_id` and `client_secret` in the body.
    Post {
        client_id: Template,
        client_secret: Template,
    },
}

/// How client id and secret are written before Base64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasicEncoding {
    /// Form-encoded first, as RFC 6749 section 2.3.1 asks.
    #[default]
    Rfc6749,
    /// As they are (RFC 7617).
    Raw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryUnit {
    #[default]
    Seconds,
    Milliseconds,
}

/// Where an answer says how long its token lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryRule {
    pub in_path: Option<String>,
    pub in_unit: ExpiryUnit,
    /// An absolute time.
    pub at_path: Option<String>,
    /// Where the answer says nothing; 0: the token does not expire.
    pub default_s: Option<i64>,
}

/// How a refusal is read and classed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorRule {
    pub code: Option<Expression>,
    pub message: Option<Expression>,
    pub classes: Vec<(String, FailureClass)>,
}

/// A parameter that a secret may or must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamRule {
    pub name: String,
    pub title: Option<String>,
    /// Whether a console hides it; it is masked in answers either way.
    pub secret: bool,
    pub optional: bool,
    pub default: Option<String>,
}

impl ParamRule {
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: None,
            secret: true,
            optional: true,
            default: None,
        }
    }
}

/// `key_1` to `key_5`, each optional.
pub fn default_params() -> &'static [ParamRule] {
    static RULES: LazyLock<Vec<ParamRule>> =
        LazyLock::new(|| DEFAULT_PARAMS.map(ParamRule::plain).to_vec());
    &RULES
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProviderDocument {
    pub params: Vec<ParamRule>,
    pub url: Url,
    pub method: Method,
    pub arguments: Vec<NamedArgument>,
    pub content_type: Encoding,
    pub client_auth: Option<ClientAuth>,
    pub success: Option<Expression>,
    pub token_path: String,
    pub expiry: ExpiryRule,
    pub error: ErrorRule,
    pub policy: Policy,
}

/// Reads the URL of an endpoint: absolute, http or https, nothing hidden in it.
pub fn read_url(text: &str) -> Result<Url, String> {
    if text.contains("${") || text.starts_with('$') {
        return Err("must not hold an expression".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        Err("must begin with https:// (or http:// within upstream.allowed_networks)".to_owned())
    } else if !url.username().is_empty() || url.password().is_some() {
        Err("must not hold credentials".to_owned())
    } else if url.fragment().is_some() {
        Err("must not hold a fragment (#…)".to_owned())
    } else {
        Ok(url)
    }
}

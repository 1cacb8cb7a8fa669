//! The realm document: how a provider is asked, and how its answer is read.

use std::sync::{Arc, LazyLock};

use regex_lite::Regex;
use serde_json::Value;
use url::Url;

use super::date_form::DateForm;
use super::expression::{Expression, Names, Template};
use super::failure::FailureClass;
use super::policy::Policy;
use super::target::{Target, check_url};
use crate::foundation::signing::{Algorithm, KeyEncoding};

/// The parameters a secret has where its realm declares none.
pub const DEFAULT_PARAMS: [&str; 5] = ["key_1", "key_2", "key_3", "key_4", "key_5"];

/// The longest life that is believed or configured: ten years, in seconds.
pub const LIFETIME_MAX_S: i64 = 10 * 365 * 86_400;

/// The parameter that is the first refresh token.
pub const REFRESH_TOKEN: &str = "refresh_token";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
}

impl Method {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Url,
    Header,
    Body,
}

/// The encoding of the request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    Xml,
    /// JSON sent as `application/text`, as the predecessor did.
    Text,
    /// No body.
    None,
}

impl Encoding {
    /// What is sent as the content type; none without a body.
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("application/json"),
            Self::Form => Some("application/x-www-form-urlencoded"),
            Self::Xml => Some("application/xml"),
            Self::Text => Some("application/text"),
            Self::None => None,
        }
    }

    /// Whether `/` in the name of an argument nests.
    pub fn nests(self) -> bool {
        match self {
            Self::Json | Self::Xml | Self::Text => true,
            Self::Form | Self::None => false,
        }
    }
}

/// A value of any JSON type; every string in it is a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    Template(Template),
    Plain(Value),
    List(Vec<Argument>),
    Object(Vec<(String, Argument)>),
}

impl Argument {
    /// The names its templates use.
    pub fn names(&self) -> Names {
        match self {
            Self::Template(template) => template.names().clone(),
            Self::Plain(_) => Names::new(),
            Self::List(items) => items.iter().flat_map(Self::names).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, item)| item.names()).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct NamedArgument {
    pub name: String,
    pub place: Place,
    pub value: Argument,
    /// Left out where its value is unset.
    pub optional: bool,
}

/// Client authentication at the token endpoint, by its RFC 7591 or RFC 8705 name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A public client: at most its id, in the body.
    None { client_id: Option<Template> },
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
    /// `client_secret_jwt` (the secret is given) or `private_key_jwt` (RFC 7523, section
    /// 2.2): an assertion in the body.
    Jwt {
        client_id: Option<Template>,
        client_secret: Option<Template>,
    },
    /// RFC 8705: the certificate of `tls`, and the client's id in the body.
    Tls { client_id: Option<Template> },
}

impl ClientAuth {
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Basic {
                client_id,
                client_secret,
                ..
            }
            | Self::Post {
                client_id,
                client_secret,
            } => vec![client_id, client_secret],
            Self::Jwt {
                client_id,
                client_secret,
            } => client_id.iter().chain(client_secret).collect(),
            Self::None { client_id } | Self::Tls { client_id } => client_id.iter().collect(),
        }
    }

    /// Whether it adds to the body.
    pub fn stands_in_body(&self) -> bool {
        match self {
            Self::Basic { .. } => false,
            Self::None { client_id } | Self::Tls { client_id } => client_id.is_some(),
            Self::Post { .. } | Self::Jwt { .. } => true,
        }
    }
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

/// A JWT that is signed anew for each attempt (RFC 7523).
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    pub algorithm: Algorithm,
    pub key: Template,
    pub key_encoding: KeyEncoding,
    pub header: Vec<(String, Argument)>,
    /// A claim that is null is left out, `iat`, `exp` and `jti` included.
    pub claims: Vec<(String, Argument)>,
    pub lifetime_s: i64,
    /// `iat` lies that far in the past.
    pub iat_skew_s: i64,
}

/// Certificates of one realm, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRule {
    pub ca: Option<Template>,
    pub client: Option<TlsClient>,
}

impl TlsRule {
    fn templates(&self) -> Vec<&Template> {
        let client = self.client.iter();
        let client = client.flat_map(|client| [&client.certificate, &client.key]);
        self.ca.iter().chain(client).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClient {
    pub certificate: Template,
    pub key: Template,
}

/// What a request's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The arguments that stand in the body, encoded so.
    Arguments(Encoding),
    /// One template, sent as it is.
    Template(Template, Encoding),
}

impl Content {
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Arguments(encoding) | Self::Template(_, encoding) => *encoding,
        }
    }
}

/// How a provider is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRule {
    pub target: Target,
    pub method: Method,
    pub arguments: Vec<NamedArgument>,
    pub content: Content,
    pub client_auth: Option<ClientAuth>,
    pub tls: Option<TlsRule>,
}

impl RequestRule {
    /// The names that any part of it uses.
    pub fn names(&self) -> Names {
        let mut names = self.target.names();
        let auth = self.client_auth.iter().flat_map(ClientAuth::templates);
        let tls = self.tls.iter().flat_map(TlsRule::templates);
        for template in auth.chain(tls) {
            names.extend(template.names().iter().cloned());
        }
        for argument in &self.arguments {
            names.extend(argument.value.names());
        }
        if let Content::Template(template, _) = &self.content {
            names.extend(template.names().iter().cloned());
        }
        names
    }

    /// Whether any of it uses the refresh token.
    pub fn uses_refresh_token(&self) -> bool {
        self.names().contains(REFRESH_TOKEN)
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    #[default]
    Json,
    Text,
    Xml,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// A request, and what counts as a good answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub request: RequestRule,
    pub format: ResponseFormat,
    pub success: Option<Expression>,
}

/// Where a value stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extraction {
    /// Dotted; a literal key of that name wins.
    Path(String),
    Expression(Expression),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryUnit {
    #[default]
    Seconds,
    Milliseconds,
    /// Text with colons is `D:HH:MM`.
    DaysClock,
    /// Text with colons is `H:MM:SS`.
    HoursClock,
}

/// Where an answer says how long its token lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryRule {
    pub stated: Option<StatedExpiry>,
    pub default: Option<DefaultExpiry>,
}

/// How long a token lives in seconds, where the answer says nothing; 0: it does not expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultExpiry {
    Seconds(i64),
    /// A whole number, once rendered: a secret's parameter may say it.
    Template(Template),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatedExpiry {
    In(Extraction, ExpiryUnit),
    At(Extraction, DateForm),
}

impl StatedExpiry {
    pub fn extraction(&self) -> &Extraction {
        match self {
            Self::In(extraction, _) | Self::At(extraction, _) => extraction,
        }
    }
}

/// What is taken from a good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRule {
    pub token: Extraction,
    pub expiry: ExpiryRule,
    pub refresh_token: Option<Extraction>,
    pub refresh_expires_in_path: Option<String>,
    /// Stored and served with the token.
    pub extra: Vec<(String, Expression)>,
}

/// How a token comes about.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// The provider is asked: the steps, then the main request.
    Asked {
        steps: Vec<Exchange>,
        main: Box<Exchange>,
    },
    /// Made here, without HTTP.
    Minted,
}

/// How a refresh token is used (RFC 6749, section 6).
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    pub exchange: Exchange,
    pub answer: AnswerRule,
    /// False where a failed call burns the refresh token.
    pub retry: bool,
}

/// The secret whose token this one is derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub realm: Template,
    pub key: Template,
}

/// How a token is served, where not as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub template: Template,
    /// Rendered on each read, not once at renewal.
    pub per_read: bool,
}

/// The form in which a provider pushes tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFormat {
    WechatXml,
    WecomXml,
    FeishuJson,
}

/// Tickets that the provider pushes.
#[derive(Clone, Debug, PartialEq)]
pub struct TicketRule {
    pub format: TicketFormat,
    pub app_id: Template,
    /// Signs or accompanies a push.
    pub token: Template,
    pub aes_key: Option<Template>,
    pub valid_s: i64,
    /// Asks for another push.
    pub resend: Option<Exchange>,
}

/// How a refusal is read and classed.
#[derive(Clone, Debug, Default)]
pub struct ErrorRule {
    pub code: Option<Expression>,
    pub message: Option<Expression>,
    /// The first that is found in code or message decides, before the codes.
    pub patterns: Vec<(Regex, Declared)>,
    pub classes: Vec<(String, Declared)>,
}

impl ErrorRule {
    /// What the document says of a refusal.
    pub fn declared(&self, code: Option<&str>, message: Option<&str>) -> Option<Declared> {
        let found = |pattern: &Regex| {
            [code, message]
                .into_iter()
                .flatten()
                .any(|text| pattern.is_match(text))
        };
        let by_pattern = self.patterns.iter().find(|(pattern, _)| found(pattern));
        let by_code = || {
            self.classes
                .iter()
                .find(|(known, _)| Some(known.as_str()) == code)
        };
        by_pattern
            .map(|(_, declared)| *declared)
            .or_else(|| by_code().map(|(_, declared)| *declared))
    }
}

/// The class that a document gives a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    Permanent,
    RateLimited,
    Transient,
    InvalidToken,
    /// What `invalid_grant` says of a refresh token (RFC 6749, section 5.2).
    InvalidGrant,
}

impl Declared {
    /// By their names in documents.
    pub const ALL: [(&'static str, Self); 5] = [
        ("permanent", Self::Permanent),
        ("rate_limited", Self::RateLimited),
        ("transient", Self::Transient),
        ("invalid_token", Self::InvalidToken),
        ("invalid_grant", Self::InvalidGrant),
    ];

    pub fn class(self) -> FailureClass {
        match self {
            Self::Permanent | Self::InvalidGrant => FailureClass::Permanent,
            Self::RateLimited => FailureClass::RateLimited,
            Self::Transient => FailureClass::Transient,
            Self::InvalidToken => FailureClass::InvalidToken,
        }
    }
}

/// A parameter that a secret may or must have.
#[derive(Clone, Debug)]
pub struct ParamRule {
    pub name: String,
    pub title: Option<String>,
    /// Whether a console hides it; it is masked in answers either way.
    pub secret: bool,
    pub optional: bool,
    pub default: Option<String>,
    /// What the whole of a value must match.
    pub pattern: Option<Regex>,
    /// The values it may have. They are not secret, whatever the value is.
    pub choices: Option<Vec<String>>,
    /// Whether a document declares it.
    pub declared: bool,
}

impl ParamRule {
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: None,
            secret: true,
            optional: true,
            default: None,
            pattern: None,
            choices: None,
            declared: false,
        }
    }

    /// Whether a secret must give it.
    pub fn is_required(&self) -> bool {
        !self.optional && self.default.is_none()
    }
}

/// `key_1` to `key_5`, each optional.
pub fn default_params() -> &'static [ParamRule] {
    static RULES: LazyLock<Vec<ParamRule>> =
        LazyLock::new(|| DEFAULT_PARAMS.map(ParamRule::plain).to_vec());
    &RULES
}

/// A value with a name, for templates and expressions that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Let {
    pub name: String,
    pub template: Template,
}

#[derive(Clone, Debug)]
pub struct ProviderDocument {
    pub params: Vec<ParamRule>,
    /// The names that its templates and expressions use.
    pub uses: Names,
    /// Each after those it uses.
    pub lets: Arc<[Let]>,
    pub way: Way,
    pub assertion: Option<Assertion>,
    pub answer: AnswerRule,
    pub refresh: Option<Refresh>,
    pub parent: Option<Parent>,
    pub ticket: Option<TicketRule>,
    pub serving: Option<Serving>,
    pub error: ErrorRule,
    pub policy: Policy,
}

impl ProviderDocument {
    /// Whether a request to the provider uses up a refresh token.
    pub fn consumes_refresh_token(&self) -> bool {
        self.refresh.is_some() || !self.stands_alone()
    }

    /// Whether the main request works without a refresh token.
    pub fn stands_alone(&self) -> bool {
        match &self.way {
            Way::Asked { main, .. } => !main.request.uses_refresh_token(),
            Way::Minted => true,
        }
    }

    /// Whether a failed refresh must not be tried again, and the main request does without.
    pub fn goes_on_without_refresh(&self) -> bool {
        self.refresh.as_ref().is_some_and(|refresh| !refresh.retry) && self.stands_alone()
    }

    /// Whether a parameter is a key or a certificate, whose text has lines.
    pub fn is_key(&self, param: &str) -> bool {
        let lines = [KeyEncoding::Pem, KeyEncoding::Base64Pem, KeyEncoding::Jwk];
        let signs = self.assertion.as_ref().is_some_and(|assertion| {
            let certificate = |(name, value): &(String, Argument)| {
                name.starts_with("x5") && value.names().contains(param)
            };
            let key = lines.contains(&assertion.key_encoding);
            (key && assertion.key.names().contains(param))
                || assertion.header.iter().any(certificate)
        });
        let asked = match &self.way {
            Way::Asked { steps, main } => steps.iter().chain([&**main]).collect(),
            Way::Minted => Vec::new(),
        };
        let refresh = self.refresh.iter().map(|refresh| &refresh.exchange);
        let resend = self.ticket.iter().filter_map(|rule| rule.resend.as_ref());
        let tls = |exchange: &Exchange| {
            let rule = exchange.request.tls.iter();
            rule.flat_map(TlsRule::templates)
                .any(|template| template.names().contains(param))
        };
        signs || asked.into_iter().chain(refresh).chain(resend).any(tls)
    }

    /// The names whose values must not be shown.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let params = self.params.iter().filter(|rule| rule.secret);
        params.map(|rule| rule.name.as_str())
    }
}

/// Reads the URL of custom logic: absolute, http or https, nothing hidden in it.
pub fn read_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    check_url(&url).map(|()| url)
}

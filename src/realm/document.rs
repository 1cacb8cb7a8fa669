//! The realm document: how a provider is asked, and how its answer is read.

mod answer;
mod argument;
mod client;
mod params;
mod request;

use std::sync::Arc;

use url::Url;

use super::expression::{Expression, Names, Template};
use super::hosts::AllowedHost;
use super::policy::Policy;
use super::target::check_url;
use crate::foundation::signing::KeyEncoding;
pub use answer::{
    AnswerRule, Declared, DefaultExpiry, ErrorRule, ExpiryRule, ExpiryUnit, Extraction,
    ResponseFormat, StatedExpiry,
};
pub use argument::{Argument, ArgumentPlace, NamedArgument};
pub use client::{Assertion, BasicEncoding, ClientAuth, TlsClient, TlsRule};
pub use params::{DEFAULT_PARAMS, ParamRule, default_params};
pub use request::{Content, Encoding, Method, REFRESH_TOKEN, RequestRule};

/// The longest life that is believed or configured: ten years, in seconds.
pub const LIFETIME_MAX_S: i64 = 10 * 365 * 86_400;

/// A request, and what counts as a good answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub request: RequestRule,
    pub format: ResponseFormat,
    pub success: Option<Expression>,
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
pub struct ServingTemplate {
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

/// A value with a name, for templates and expressions that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Let {
    pub name: String,
    pub template: Template,
}

/// Which proxy requests go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProxyChoice {
    /// That of the server, if it has one; over plain http none.
    #[default]
    Unsaid,
    /// None.
    Direct,
    /// The one of this name in the server's configuration.
    Named(String),
}

impl ProxyChoice {
    const DIRECT: &str = "direct";

    /// Only the server's configuration says where a proxy is: whatever goes through one names it.
    ///
    /// # Errors
    /// What a name must be.
    pub fn named(text: &str) -> Result<Self, &'static str> {
        match text {
            Self::DIRECT => Ok(Self::Direct),
            name if is_proxy_name(name) => Ok(Self::Named(name.to_owned())),
            _ => Err(PROXY_NAME),
        }
    }

    /// As it is written; none where nothing is said.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Unsaid => None,
            Self::Direct => Some(Self::DIRECT),
            Self::Named(name) => Some(name),
        }
    }
}

/// What a proxy may be called.
const PROXY_NAME: &str =
    "must be direct, or the name of a proxy: 1 to 64 of a to z, 0 to 9, - and _";

pub fn is_proxy_name(name: &str) -> bool {
    let is_of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(is_of_names)
}

#[derive(Clone, Debug)]
pub struct ProviderDocument {
    pub params: Vec<ParamRule>,
    /// The names that its templates and expressions use.
    pub uses: Names,
    /// Each after those it uses.
    pub lets: Arc<[Let]>,
    /// Where `stored.extra` may lead beside the domain of the URL itself.
    pub allowed_hosts: Vec<AllowedHost>,
    pub proxy: ProxyChoice,
    /// Whether requests carry the trace that they are part of (W3C Trace Context).
    pub trace_context: bool,
    pub way: Way,
    pub assertion: Option<Assertion>,
    pub answer: AnswerRule,
    pub refresh: Option<Refresh>,
    pub parent: Option<Parent>,
    pub ticket: Option<TicketRule>,
    pub serving: Option<ServingTemplate>,
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

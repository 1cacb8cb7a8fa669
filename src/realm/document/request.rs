//! How a provider is asked: where, with which method, arguments and body.

use super::argument::NamedArgument;
use super::client::{ClientAuth, TlsRule};
use crate::realm::expression::{Names, Template};
use crate::realm::target::Target;

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

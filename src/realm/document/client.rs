//! How a client proves who it is: client authentication, assertions, certificates.

use super::argument::Argument;
use crate::foundation::signing::{Algorithm, KeyEncoding};
use crate::realm::expression::Template;

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
    pub(super) fn templates(&self) -> Vec<&Template> {
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
    pub(super) fn templates(&self) -> Vec<&Template> {
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

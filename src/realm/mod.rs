//! What a provider is: the realm document, its expressions, its rules.

pub mod date_form;
pub mod document;
pub mod expression;
pub mod failure;
pub mod hosts;
pub mod policy;
pub mod preset;
mod reading;
pub mod schema;
pub mod store;
pub mod target;

use token_server_entity::realm;

use crate::foundation::clock::EpochMs;
pub use crate::foundation::fields::{Fault, Warning};
use crate::foundation::ids::{RealmId, Version};
use crate::foundation::sealing::{KeyRing, OpenError};
pub use document::DEFAULT_PARAMS;
use document::{DefaultExpiry, ProviderDocument};
use expression::Expressions;
use policy::Policy;

/// How the tokens of a realm come about.
#[derive(Clone, Debug)]
pub enum Source {
    /// A provider described by a document.
    Provider(Box<ProviderDocument>),
    /// Custom logic behind a URL.
    CustomLogic(url::Url),
    /// Admins type tokens in; none is ever renewed.
    Fixed,
}

impl Source {
    /// Reads what a realm row holds. `config` wins where both are set.
    pub fn read(
        config: Option<&serde_json::Value>,
        logic_code: Option<&str>,
        expressions: &Expressions,
    ) -> Result<Self, Vec<Fault>> {
        match config {
            Some(config) => ProviderDocument::read(config, expressions)
                .map(|document| Self::Provider(Box::new(document))),
            None => Self::without_document(logic_code),
        }
    }

    /// Reads a realm that is being registered; see [`ProviderDocument::read_new`].
    pub fn read_new(
        config: Option<&serde_json::Value>,
        logic_code: Option<&str>,
        expressions: &Expressions,
    ) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        match config {
            Some(config) => ProviderDocument::read_new(config, expressions)
                .map(|(document, warnings)| (Self::Provider(Box::new(document)), warnings)),
            None => Self::without_document(logic_code).map(|source| (source, Vec::new())),
        }
    }

    fn without_document(logic_code: Option<&str>) -> Result<Self, Vec<Fault>> {
        match logic_code {
            Some(url) => document::read_url(url)
                .map(Self::CustomLogic)
                .map_err(|detail| vec![Fault::new("/logic_code", detail)]),
            None => Ok(Self::Fixed),
        }
    }

    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed)
    }

    /// Whether a token that does not say when it ends may be stored as one that never does.
    pub fn allows_endless(&self) -> bool {
        match self {
            Self::Provider(document) => matches!(
                document.answer.expiry.default,
                Some(DefaultExpiry::Seconds(0) | DefaultExpiry::Template(_))
            ),
            Self::CustomLogic(_) => false,
            Self::Fixed => true,
        }
    }

    pub fn policy(&self) -> Policy {
        match self {
            Self::Provider(document) => document.policy.clone(),
            Self::CustomLogic(_) | Self::Fixed => Policy::default(),
        }
    }

    /// The parameters a secret may and must have.
    pub fn params(&self) -> &[document::ParamRule] {
        match self {
            Self::Provider(document) => &document.params,
            Self::CustomLogic(_) | Self::Fixed => document::default_params(),
        }
    }
}

/// A registered realm.
#[derive(Clone, Debug)]
pub struct Realm {
    pub id: RealmId,
    pub comment: Option<String>,
    /// The document as it was registered.
    pub config: Option<serde_json::Value>,
    pub logic_code: Option<String>,
    pub source: Source,
    pub version: Version,
    pub blocked_until: Option<EpochMs>,
    pub created_at: EpochMs,
    pub updated_at: EpochMs,
}

/// A row that this server does not use.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRealm {
    /// This version of the server cannot read it.
    #[error("realm {realm} cannot be read: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Faulty { realm: RealmId, faults: Vec<Fault> },
    /// Nobody knows who wrote it.
    #[error(
        "realm {realm} is not used: {error}; if it is as it should be, save it again as a whole"
    )]
    NotAuthentic { realm: RealmId, error: OpenError },
}

impl Realm {
    pub fn from_row(
        row: realm::Model,
        expressions: &Expressions,
        ring: &KeyRing,
    ) -> Result<Self, UnreadableRealm> {
        let authentic = store::verify(ring, &row);
        let id = RealmId::stored(row.id);
        authentic.map_err(|error| UnreadableRealm::NotAuthentic {
            realm: id.clone(),
            error,
        })?;
        let unreadable = |faults| UnreadableRealm::Faulty {
            realm: id.clone(),
            faults,
        };
        let config = row
            .config
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| unreadable(vec![Fault::new("/config", "is not JSON")]))?;
        let source = Source::read(config.as_ref(), row.logic_code.as_deref(), expressions)
            .map_err(unreadable)?;
        Ok(Self {
            comment: row.comment,
            config,
            logic_code: row.logic_code,
            source,
            version: Version(row.version),
            blocked_until: row.blocked_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
            id,
        })
    }
}

//! A secret as it is sent, to be made or changed.

use secrecy::SecretString;

use super::pointer_of;
use crate::foundation::clock::EpochMs;
use crate::foundation::ids::{KeyName, RealmId};
use crate::secret::params::ParamChange;

/// A secret to be made or merged into the one that is there.
#[derive(Clone, Debug)]
pub struct SecretPatch {
    pub realm: RealmId,
    pub key: KeyName,
    pub params: Vec<SentParam>,
    /// A fixed token, or one that is imported.
    pub token: Option<SentToken>,
}

/// A parameter as it was sent.
#[derive(Clone, Debug)]
pub struct SentParam {
    pub name: String,
    pub change: ParamChange,
    /// Where it stood, for faults.
    pub pointer: String,
}

impl SentParam {
    /// One that stood below `/params`.
    pub fn named(name: &str, change: ParamChange) -> Self {
        Self {
            name: name.to_owned(),
            change,
            pointer: pointer_of(name),
        }
    }
}

/// A token that was not obtained here.
#[derive(Clone, Debug)]
pub struct SentToken {
    pub token: SecretString,
    pub expires_at: Option<EpochMs>,
    pub origin: TokenOrigin,
}

/// Where a token comes from that was not obtained here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOrigin {
    /// An admin typed it in: for realms of fixed tokens only.
    TypedIn,
    /// Another token server held it; one of a provider is renewed before it ends.
    Imported,
}

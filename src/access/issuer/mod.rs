//! Issuers of JWTs: what is registered of one, whether a token of it is good, and for what.

mod algorithm;
mod id_token;
mod jwt;
mod key_kind;
mod key_set;
mod name;
mod reading;
mod registration;
mod rule;
pub mod store;

pub use algorithm::JwtAlgorithm;
pub use id_token::{Expected, IdTokenFault, Identified, SIGNED_IN_PREFIX};
pub use jwt::{Jwt, NAME_PREFIX, TokenFault, VerifiedToken};
pub use key_set::{KeySet, KeySetError};
pub use name::IssuerName;
pub use reading::read;
pub use registration::{IssuerRegistration, KeySource};
pub use rule::{Rule, RuleFailure};

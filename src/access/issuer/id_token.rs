//! An ID token (OpenID Connect Core 1.0, sections 2 and 3.1.3.7): whether it answers the sign-in that
//! was begun, whom it is of, and what that is good for.

use serde_json::Value;
use subtle::ConstantTimeEq;

use super::jwt::{Jwt, TokenFault, name_of};
use super::key_set::KeySet;
use super::registration::IssuerRegistration;
use super::rule::RuleFailure;
use crate::foundation::clock::EpochMs;

/// How the names of those begin who have signed in; no API key is called so.
pub const SIGNED_IN_PREFIX: &str = "oidc:";
/// The longest subject, in characters (section 2).
const SUBJECT_MAX_CHARS: usize = 255;

/// Why an ID token is refused. Says what is wrong, and never what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error("it is an access token (typ)")]
    AccessToken,
    #[error("it is of another issuer (iss)")]
    OtherIssuer,
    #[error("it does not say when it was issued (iat)")]
    NoIssuedAt,
    #[error("it names no subject (sub), or one that is too long")]
    NoSubject,
    #[error("it is of another sign-in (nonce)")]
    Nonce,
    #[error("it was issued to another client (azp)")]
    AuthorizedParty,
}

/// What an ID token must say beside what every token of its issuer must.
pub struct Expected<'a> {
    /// The client that asked for it.
    pub client: &'a str,
    pub nonce: &'a str,
}

/// Whom an ID token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// For the audit.
    pub name: String,
    /// The place of the rule that the claims meet, from 0; or the first failure, if there was one.
    pub rule: Result<usize, Option<RuleFailure>>,
}

impl Jwt<'_> {
    /// Whom it is of, where all of it is as it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn identify(
        &self,
        expected: &Expected<'_>,
        registration: &IssuerRegistration,
        keys: &KeySet,
        now: EpochMs,
    ) -> Result<Identified, IdTokenFault> {
        if self.issuer() != registration.issuer {
            return Err(IdTokenFault::OtherIssuer);
        }
        self.verify_as_signed(registration, keys, now)?;
        let text = |claim: &str| self.claims.get(claim).and_then(Value::as_str);
        let type_ = self.header.get("typ").and_then(Value::as_str);
        if type_.is_some_and(|name| name.to_ascii_lowercase().ends_with("at+jwt")) {
            return Err(IdTokenFault::AccessToken);
        }
        let nonce = text("nonce").unwrap_or_default().as_bytes();
        if !bool::from(nonce.ct_eq(expected.nonce.as_bytes())) {
            return Err(IdTokenFault::Nonce);
        }
        let has_several = self.claims.get("aud").and_then(Value::as_array);
        let has_several = has_several.is_some_and(|audiences| audiences.len() > 1);
        match self.claims.get("azp") {
            None if !has_several => {}
            Some(Value::String(party)) if party == expected.client => {}
            None | Some(_) => return Err(IdTokenFault::AuthorizedParty),
        }
        if !self.claims.get("iat").is_some_and(Value::is_number) {
            return Err(IdTokenFault::NoIssuedAt);
        }
        let is_subject =
            |subject: &&str| (1..=SUBJECT_MAX_CHARS).contains(&subject.chars().count());
        let subject = self.subject().filter(is_subject);
        let subject = subject.ok_or(IdTokenFault::NoSubject)?;
        Ok(Identified {
            name: name_of(SIGNED_IN_PREFIX, Some(subject)),
            rule: registration.place_of_rule_for(&self.claims),
        })
    }
}

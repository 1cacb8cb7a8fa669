//! A JWT as somebody presents it (RFC 7519), and whether an issuer's registration lets it in. Pure:
//! the keys and the time are given.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::JwtAlgorithm;
use super::key_set::{KeySet, Unverified};
use super::registration::IssuerRegistration;
use super::rule::RuleFailure;
use crate::access::Caller;
use crate::foundation::clock::{EpochMs, Ms, Timeline};

/// The longest token that is read, in bytes.
pub const TOKEN_MAX_BYTES: usize = 8192;
/// How far the clocks of an issuer and of this server may differ (RFC 7519, section 4.1.4).
pub const LEEWAY: Ms = Ms::from_secs(60);
/// The longest name of a caller, in characters: what the audit holds.
const NAME_MAX_CHARS: usize = 200;
/// How the names of such callers begin; no API key is called so.
pub const NAME_PREFIX: &str = "jwt:";

/// What the header of an access token or an ID token may say that it is. Tokens of other types
/// are not for this (RFC 8725, section 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Why a token is refused. Says what is wrong, and never what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("its algorithm is not one of the registration's algorithms")]
    Algorithm,
    #[error("its header names what must be understood (crit)")]
    Critical,
    #[error("its header says that it is of another type (typ)")]
    Type,
    #[error("its audience (aud) is not one of the registration's audiences")]
    Audience,
    #[error("it does not say when it expires (exp)")]
    NoExpiry,
    #[error("it has expired (exp)")]
    Expired,
    #[error("it is not valid yet (nbf)")]
    NotYetValid,
    #[error("it was issued in the future (iat)")]
    IssuedInFuture,
    #[error("the issuer publishes no key of that id (kid)")]
    UnknownKey,
    #[error("the key of that id (kid) is not for its algorithm")]
    OtherAlgorithm,
    #[error("its signature is not that of the key")]
    Signature,
    #[error("no rule matches")]
    NoRule,
    #[error("no rule matches; {0}")]
    RuleFailed(RuleFailure),
}

/// A token whose form is that of a JWT, and which names an issuer. Nothing of it is verified.
pub struct Jwt<'a> {
    /// Header and claims, as they were signed.
    signed: &'a str,
    signature: &'a str,
    pub(super) header: Map<String, Value>,
    /// An object.
    pub(super) claims: Value,
    issuer: String,
}

/// A token that was verified: whom it lets in, and how long it may be remembered.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    pub caller: Caller,
    pub expires_at: EpochMs,
}

impl<'a> Jwt<'a> {
    /// None where the text is no JWT, or names no issuer.
    pub fn read(text: &'a str) -> Option<Self> {
        if text.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let (header, claims) = (object(header)?, object(claims)?);
        let issuer = claims.get("iss")?.as_str()?.to_owned();
        let claims = Value::Object(claims);
        Some(Self {
            signed,
            signature,
            header,
            claims,
            issuer,
        })
    }

    /// What the claim `iss` says.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The id of the key that it says it was signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// Everything that can be said without a key. Come first: whoever sends nonsense has the
    /// issuer asked for nothing.
    pub fn check(&self, registration: &IssuerRegistration, now: EpochMs) -> Result<(), TokenFault> {
        if self.header.contains_key("crit") {
            return Err(TokenFault::Critical);
        }
        let is_of_type = |name: &str| {
            let name = name.to_ascii_lowercase();
            TYPES.contains(&name.strip_prefix("application/").unwrap_or(&name))
        };
        match self.header.get("typ") {
            None => {}
            Some(Value::String(name)) if is_of_type(name) => {}
            Some(_) => return Err(TokenFault::Type),
        }
        self.algorithm(registration)?;
        let is_named = |audience: &Value| {
            let named = |one: &String| audience == one.as_str();
            registration.audiences.iter().any(named)
        };
        let audience = match self.claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_named),
            Some(audience) => is_named(audience),
            None => false,
        };
        if !audience {
            return Err(TokenFault::Audience);
        }
        let expires_at = self.expires_at()?;
        if now >= expires_at.plus(LEEWAY) {
            return Err(TokenFault::Expired);
        }
        for (claim, fault) in [
            ("nbf", TokenFault::NotYetValid),
            ("iat", TokenFault::IssuedInFuture),
        ] {
            let is_past = |value: &Value| date(value).is_some_and(|at| at.minus(LEEWAY) <= now);
            if !self.claims.get(claim).is_none_or(is_past) {
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Whom the token lets in, where all of it is as it must be.
    pub fn verify(
        &self,
        name: &str,
        registration: &IssuerRegistration,
        keys: &KeySet,
        now: EpochMs,
    ) -> Result<VerifiedToken, TokenFault> {
        self.verify_as_signed(registration, keys, now)?;
        let rule = registration.rule_for(&self.claims);
        let rule =
            rule.map_err(|failed| failed.map_or(TokenFault::NoRule, TokenFault::RuleFailed))?;
        let name = name_of(&format!("{NAME_PREFIX}{name}:"), self.subject());
        Ok(VerifiedToken {
            caller: Caller::of_issuer(name, rule.scopes.clone(), rule.coverage.clone()),
            expires_at: self.expires_at()?,
        })
    }

    /// Whether all of it is as it must be, whatever its claims are good for.
    pub(super) fn verify_as_signed(
        &self,
        registration: &IssuerRegistration,
        keys: &KeySet,
        now: EpochMs,
    ) -> Result<(), TokenFault> {
        self.check(registration, now)?;
        let algorithm = self.algorithm(registration)?;
        keys.verify(self.key_id(), algorithm, self.signed, self.signature)
            .map_err(|unverified| match unverified {
                Unverified::UnknownKey => TokenFault::UnknownKey,
                Unverified::OtherAlgorithm => TokenFault::OtherAlgorithm,
                Unverified::Signature => TokenFault::Signature,
            })
    }

    /// Whom it is of.
    pub(super) fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    fn algorithm(&self, registration: &IssuerRegistration) -> Result<JwtAlgorithm, TokenFault> {
        let named = self.header.get("alg").and_then(Value::as_str);
        let known = named.and_then(JwtAlgorithm::parse);
        known
            .filter(|algorithm| registration.algorithms.contains(algorithm))
            .ok_or(TokenFault::Algorithm)
    }

    fn expires_at(&self) -> Result<EpochMs, TokenFault> {
        let expiry = self.claims.get("exp").and_then(date);
        expiry.ok_or(TokenFault::NoExpiry)
    }
}

/// A caller's name for the audit: how it begins, and the subject as far as it can be printed.
pub(super) fn name_of(begin: &str, subject: Option<&str>) -> String {
    let subject = subject.unwrap_or("-").chars().map(|c| match c {
        ' '..='~' => c,
        _ => '?',
    });
    let left = NAME_MAX_CHARS.saturating_sub(begin.len());
    let name = begin.to_owned() + &subject.take(left).collect::<String>();
    name.trim_end().to_owned()
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A NumericDate (RFC 7519, section 2): seconds since the epoch, perhaps with a fraction.
fn date(value: &Value) -> Option<EpochMs> {
    let seconds = match value.as_i64() {
        Some(seconds) => return Some(EpochMs(seconds.saturating_mul(1000))),
        None => value.as_f64()?,
    };
    // A number that is too large becomes the last there is.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let milliseconds = (seconds * 1000.0) as i64;
    Some(EpochMs(milliseconds))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn a_token_that_is_too_long_is_not_read() {
        let token = |filler: usize| {
            let claims = format!(r#"{{"iss":"i","more":"{}"}}"#, "x".repeat(filler));
            let [header, claims] =
                [r#"{"alg":"RS256"}"#, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            format!("{header}.{claims}.AAAA")
        };
        for (filler, is_read) in [(0, true), (6000, true), (TOKEN_MAX_BYTES, false)] {
            assert_eq!(Jwt::read(&token(filler)).is_some(), is_read, "{filler}");
        }
    }
}

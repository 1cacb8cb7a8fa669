//! What is registered of an issuer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::algorithm::JwtAlgorithm;
use super::key_set::KeySet;
use super::rule::{Rule, RuleFailure, first_met};
use crate::foundation::words::words;
use crate::realm::document::ProxyChoice;
use crate::realm::expression::Expressions;

/// Where the public keys of an issuer come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// From where the issuer's own document says (OpenID Connect Discovery 1.0, section 4).
    Discovery,
    Url(String),
    /// They are registered: the document, and what was read of it.
    Registered(Value, Arc<KeySet>),
}

/// What is registered of an issuer, read and checked.
#[derive(Clone, Debug)]
pub struct IssuerRegistration {
    /// What `iss` of its tokens says, to the letter.
    pub issuer: String,
    /// One of these must be among the audiences of a token.
    pub audiences: Vec<String>,
    pub algorithms: Vec<JwtAlgorithm>,
    pub keys: KeySource,
    /// Certificates of authorities, in PEM, that are trusted when keys are fetched.
    pub ca: Option<String>,
    /// Through which its keys are fetched.
    pub proxy: ProxyChoice,
    pub rules: Vec<Rule>,
    pub(super) expressions: Arc<Expressions>,
}

impl IssuerRegistration {
    /// What claims are good for: the first rule whose condition they meet decides, alone.
    pub(super) fn rule_for(&self, claims: &Value) -> Result<&Rule, Option<RuleFailure>> {
        let met = self.place_of_rule_for(claims)?;
        self.rules.get(met).ok_or(None)
    }

    /// Where that rule is, from 0.
    pub(super) fn place_of_rule_for(&self, claims: &Value) -> Result<usize, Option<RuleFailure>> {
        first_met(&self.rules, &self.expressions, claims)
    }

    /// As it is read again.
    pub fn to_json(&self) -> Value {
        let mut written = json!({
            "issuer": self.issuer,
            "audiences": self.audiences,
            "algorithms": words(&self.algorithms, JwtAlgorithm::as_str),
            "rules": self.rules.iter().map(Rule::to_json).collect::<Vec<_>>(),
        });
        match &self.keys {
            KeySource::Discovery => {}
            KeySource::Url(url) => written["jwks_url"] = json!(url),
            KeySource::Registered(jwks, _) => written["jwks"] = jwks.clone(),
        }
        if let Some(ca) = &self.ca {
            written["ca"] = json!(ca);
        }
        if let Some(proxy) = self.proxy.as_str() {
            written["proxy"] = json!(proxy);
        }
        written
    }

    /// Whether keys that were fetched for one are good for the other.
    pub fn has_keys_of(&self, other: &Self) -> bool {
        let same = match (&self.keys, &other.keys) {
            (KeySource::Discovery, KeySource::Discovery) => true,
            (KeySource::Url(own), KeySource::Url(others)) => own == others,
            _ => false,
        };
        let same_way = self.ca == other.ca && self.proxy == other.proxy;
        same && self.issuer == other.issuer && same_way
    }
}

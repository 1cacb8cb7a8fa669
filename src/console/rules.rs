//! The rules of sign-in by OpenID Connect. A session names the rule that it has its rights by, by a
//! digest: what is changed about that rule, or about what decides before it, ends the session on
//! every replica that has the change.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::access::issuer::{IssuerRegistration, Rule};

/// Tells one rule, with all that decides whether it is met, from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleDigest([u8; 32]);

impl RuleDigest {
    pub(super) fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Somebody who has signed in by OpenID Connect.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// For the audit: the subject, as the provider calls it.
    pub name: String,
    pub rule: RuleDigest,
}

/// The rules, in their order.
#[derive(Clone, Debug)]
pub struct SignInRules {
    registration: Arc<IssuerRegistration>,
    digests: Vec<RuleDigest>,
}

impl SignInRules {
    pub fn of(registration: Arc<IssuerRegistration>) -> Self {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        part(&registration.issuer);
        // The client.
        registration.audiences.iter().for_each(|text| part(text));
        // The first rule that is met decides: of each, those before it count, too.
        let digests = registration.rules.iter().map(|rule| {
            let text = rule.to_json().to_string();
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
            RuleDigest(digest.clone().finalize().into())
        });
        let digests = digests.collect();
        Self {
            registration,
            digests,
        }
    }

    /// The rule at a place, from 0.
    pub fn digest(&self, place: usize) -> Option<RuleDigest> {
        self.digests.get(place).copied()
    }

    /// The place of a rule, from 0; none where it is not as it was.
    pub fn place(&self, rule: &RuleDigest) -> Option<usize> {
        self.digests.iter().position(|known| known == rule)
    }

    /// Whoever has signed in, with the rights of his rule; none where that is not as it was.
    pub fn caller(&self, signed_in: &SignedIn) -> Option<Caller> {
        let rule: &Rule = self.registration.rules.get(self.place(&signed_in.rule)?)?;
        let (scopes, coverage) = (rule.scopes.clone(), rule.coverage.clone());
        Some(Caller::of_issuer(signed_in.name.clone(), scopes, coverage))
    }
}

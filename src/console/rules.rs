//! The rules of sign-in by OpenID Connect. A session names the rule that it has its rights by, by a
//! digest: what is changed about that rule, or about what decides before it, ends the session on
//! every replica that has the change.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::access::issuer::{IssuerRegistration, Rule};
use crate::foundation::sealing::RowValues;

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
        // The client is the audience.
        let audiences = registration.audiences.iter();
        let of_provider = audiences.fold(
            RowValues::default().text(&registration.issuer),
            |values, audience| values.text(audience),
        );
        // The first rule that is met decides: of each, those before it count, too.
        let mut digest = Sha256::digest(of_provider.into_bytes());
        let digests = registration.rules.iter().map(|rule| {
            let rule = rule.to_json().to_string();
            let values = RowValues::default().bytes(&digest).text(&rule);
            digest = Sha256::digest(values.into_bytes());
            RuleDigest(digest.into())
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

//! Who may do what, and who did what.

pub mod audit;
pub mod denials;
pub mod key;
pub mod scope;
pub mod store;

use scope::{Pattern, Scope};

/// A caller whose key was recognised.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key's name, for the audit.
    pub name: String,
    scopes: Vec<Scope>,
    realms: Option<Vec<Pattern>>,
    secret_keys: Option<Vec<Pattern>>,
}

impl Caller {
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the key is limited to some realms or keys.
    pub fn is_limited(&self) -> bool {
        self.realms.is_some() || self.secret_keys.is_some()
    }

    /// Whether the key's patterns cover a secret.
    pub fn covers(&self, realm: &str, key: &str) -> bool {
        let covers = |patterns: &Option<Vec<Pattern>>, name: &str| {
            patterns
                .as_ref()
                .is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
        };
        covers(&self.realms, realm) && covers(&self.secret_keys, key)
    }
}

//! How something is saved: what was confirmed beforehand, and what becomes of it.

use strum::VariantArray;

/// What whoever saves was told of, and wants all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Confirmation {
    /// Secrets come to lack parameters that the realm requires.
    SecretsLackParams,
}

impl Confirmation {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretsLackParams => "secrets_lack_params",
        }
    }
}

/// What saving would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum SaveOutcome {
    New,
    Changed,
    Unchanged,
}

impl SaveOutcome {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

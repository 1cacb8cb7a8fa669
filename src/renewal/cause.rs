//! Why an attempt is made.

use strum::VariantArray;

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum RenewalCause {
    Scheduled,
    Read,
    Flush,
    Run,
    /// A caller said that the provider refused the token.
    Report,
    /// Nobody's: what an earlier attempt obtained was found.
    Recovered,
}

impl RenewalCause {
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Read => "read",
            Self::Flush => "flush",
            Self::Run => "run",
            Self::Report => "report",
            Self::Recovered => "recovered",
        }
    }
}

//! Whether a token is another than the one before.

/// Whether the provider issued a new token or repeated the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    New,
    Repeated,
}

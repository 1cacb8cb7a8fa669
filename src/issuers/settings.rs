//! How the keys of issuers are fetched and kept.

use crate::foundation::clock::Ms;

/// Limits of fetching and keeping keys.
#[derive(Clone, Copy, Debug)]
pub struct IssuerSettings {
    /// Between two fetches for one issuer.
    pub fetch_interval: Ms,
    /// The same while there is no key at all: nobody is let in meanwhile.
    pub retry_interval: Ms,
    /// Keys that are older are fetched again beside the call that uses them …
    pub refresh_after: Ms,
    /// … and before it, if they are older than that: a key that was withdrawn is good no longer.
    pub max_age: Ms,
    /// So old keys are good where the issuer does not answer.
    pub max_stale: Ms,
    /// How long fetching may take in all: callers wait for it.
    pub timeout: Ms,
    /// The largest document that is read.
    pub max_document_bytes: usize,
}

//! Limits on every exchange with a provider, and where names and trust come from.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::egress::{Egress, Resolver};
use super::proxy::Proxies;

/// What providers are told of who asks.
pub(super) const USER_AGENT: &str = concat!("token-server/", env!("CARGO_PKG_VERSION"));

/// Limits on every exchange with a provider, and where names and trust come from.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    pub egress: Egress,
    pub names: Arc<dyn Resolver>,
    pub proxies: Proxies,
    /// Trusted beside the usual ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// One attempt as a whole, unless the realm says otherwise.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// How much longer than its attempt an answer is waited for that may hold the only
    /// refresh token which is good.
    pub late_answer: Duration,
    /// The largest answer that is read, in bytes.
    pub max_answer_bytes: usize,
}

//! `upstream`: how providers are reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::values::{at_least_one, networks};
use crate::config::settings::ConfigError;
use crate::upstream::UpstreamSettings;
use crate::upstream::egress::{Egress, SystemResolver};
use crate::upstream::trust::certificates_of;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    allowed_networks: String,
    timeout_s: u32,
    connect_timeout_s: u32,
    late_answer_s: u32,
    max_answer_bytes: u32,
    ca_file: Option<PathBuf>,
}

impl RawUpstream {
    pub(super) fn check(self) -> Result<UpstreamSettings, ConfigError> {
        at_least_one(&[
            ("upstream.timeout_s", self.timeout_s.into()),
            ("upstream.connect_timeout_s", self.connect_timeout_s.into()),
            ("upstream.max_answer_bytes", self.max_answer_bytes.into()),
        ])?;
        let networks = networks("upstream.allowed_networks", &self.allowed_networks)?;
        Ok(UpstreamSettings {
            egress: Egress::new(networks),
            names: Arc::new(SystemResolver),
            authorities: self
                .ca_file
                .as_deref()
                .map_or(Ok(Vec::new()), authorities)?,
            timeout: Duration::from_secs(self.timeout_s.into()),
            connect_timeout: Duration::from_secs(self.connect_timeout_s.into()),
            late_answer: Duration::from_secs(self.late_answer_s.into()),
            max_answer_bytes: self.max_answer_bytes as usize,
        })
    }
}

/// Certificates that providers may be trusted by, beside the usual ones.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refused = |why: String| ConfigError::of_key("upstream.ca_file", why);
    let pem = std::fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    certificates_of(&pem).ok_or_else(|| refused("holds no certificate in PEM".to_owned()))
}

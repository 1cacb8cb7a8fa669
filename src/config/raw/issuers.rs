//! `issuers`: how the keys of issuers of JWTs are fetched and kept.

use serde::Deserialize;

use super::values::{at_least_one, secs};
use crate::config::settings::ConfigError;
use crate::issuers::IssuerSettings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuers {
    fetch_interval_s: u32,
    retry_interval_s: u32,
    refresh_after_s: u32,
    max_age_s: u32,
    max_stale_s: u32,
    timeout_s: u32,
    max_document_bytes: usize,
}

impl RawIssuers {
    pub(super) fn check(&self) -> Result<IssuerSettings, ConfigError> {
        at_least_one(&[
            ("issuers.fetch_interval_s", self.fetch_interval_s.into()),
            ("issuers.retry_interval_s", self.retry_interval_s.into()),
            ("issuers.refresh_after_s", self.refresh_after_s.into()),
            ("issuers.max_age_s", self.max_age_s.into()),
            ("issuers.max_stale_s", self.max_stale_s.into()),
            ("issuers.timeout_s", self.timeout_s.into()),
            ("issuers.max_document_bytes", self.max_document_bytes as u64),
        ])?;
        for ((key, value), (other, most)) in [
            (
                ("issuers.retry_interval_s", self.retry_interval_s),
                ("issuers.fetch_interval_s", self.fetch_interval_s),
            ),
            (
                ("issuers.refresh_after_s", self.refresh_after_s),
                ("issuers.max_age_s", self.max_age_s),
            ),
            (
                ("issuers.max_age_s", self.max_age_s),
                ("issuers.max_stale_s", self.max_stale_s),
            ),
        ] {
            if value > most {
                let what = format!("must be {other} ({most}) or less");
                return Err(ConfigError::of_key(key, what));
            }
        }
        Ok(IssuerSettings {
            fetch_interval: secs(self.fetch_interval_s),
            retry_interval: secs(self.retry_interval_s),
            refresh_after: secs(self.refresh_after_s),
            max_age: secs(self.max_age_s),
            max_stale: secs(self.max_stale_s),
            timeout: secs(self.timeout_s),
            max_document_bytes: self.max_document_bytes,
        })
    }
}

//! `traces`: where traces are sent.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::values::{SecretText, secret};
use crate::config::settings::ConfigError;
use crate::foundation::traces::TracesSettings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTraces {
    endpoint: Option<String>,
    token: Option<SecretText>,
    token_file: Option<PathBuf>,
    sample_percent: u8,
}

impl RawTraces {
    pub(super) fn check(self) -> Result<Option<TracesSettings>, ConfigError> {
        if self.sample_percent > 100 {
            let what = "must be at most 100";
            return Err(ConfigError::of_key("traces.sample_percent", what));
        }
        let token = secret("traces.token", self.token, self.token_file)?;
        let Some(endpoint) = self.endpoint else {
            return match token {
                None => Ok(None),
                Some(_) => Err(ConfigError::of_key(
                    "traces.endpoint",
                    "is required beside traces.token",
                )),
            };
        };
        let url = Url::parse(&endpoint).ok();
        let url = url.filter(|url| {
            let is_http = matches!(url.scheme(), "http" | "https");
            is_http && url.has_host() && url.username().is_empty() && url.password().is_none()
        });
        let Some(endpoint) = url else {
            let what = "must be the URL of a collector, http:// or https://, without a user";
            return Err(ConfigError::of_key("traces.endpoint", what));
        };
        if let Some(token) = &token
            && reqwest::header::HeaderValue::from_str(token.expose_secret()).is_err()
        {
            let what = "must hold nothing that a header cannot: no line ends";
            return Err(ConfigError::of_key("traces.token", what));
        }
        Ok(Some(TracesSettings {
            endpoint,
            token,
            sample_percent: self.sample_percent,
        }))
    }
}

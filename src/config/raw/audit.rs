//! `audit`: which reads it has, and where copies of it go.

use std::path::PathBuf;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::values::{SecretText, at_least_one, proxy, secret, secs};
use crate::access::writer::AuditedReads;
use crate::config::settings::ConfigError;
use crate::jobs::audit_sinks::{AuditSink, HttpsSink, SyslogAddress};
use crate::upstream::proxy::Proxies;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    reads: String,
    file: Option<PathBuf>,
    syslog: Option<String>,
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    token: Option<SecretText>,
    token_file: Option<PathBuf>,
    proxy: Option<String>,
    timeout_s: u32,
}

impl RawAudit {
    pub(super) fn reads(&self) -> Result<AuditedReads, ConfigError> {
        match &*self.reads {
            "first" => Ok(AuditedReads::First),
            "off" => Ok(AuditedReads::Off),
            _ => Err(ConfigError::of_key("audit.reads", "must be first or off")),
        }
    }

    pub(super) fn check(self, proxies: &Proxies) -> Result<Vec<AuditSink>, ConfigError> {
        at_least_one(&[("audit.timeout_s", self.timeout_s.into())])?;
        let proxy = proxy("audit.proxy", self.proxy.as_deref(), proxies)?;
        let mut sinks = Vec::new();
        sinks.extend(self.file.map(AuditSink::File));
        if let Some(text) = self.syslog {
            let address = text.parse::<SyslogAddress>();
            let address = address.map_err(|error| ConfigError::of_key("audit.syslog", error))?;
            sinks.push(AuditSink::Syslog(address));
        }
        let url = secret("audit.url", self.url, self.url_file)?;
        let token = secret("audit.token", self.token, self.token_file)?;
        let Some(url) = url else {
            return match token {
                None => Ok(sinks),
                Some(_) => Err(ConfigError::of_key(
                    "audit.url",
                    "is required beside audit.token",
                )),
            };
        };
        let readable = Url::parse(url.expose_secret())
            .is_ok_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        if !readable {
            return Err(ConfigError::of_key("audit.url", "must be an https:// URL"));
        }
        if let Some(token) = &token
            && HeaderValue::from_str(token.expose_secret()).is_err()
        {
            let what = "must hold nothing that a header cannot: no line ends";
            return Err(ConfigError::of_key("audit.token", what));
        }
        let timeout = secs(self.timeout_s);
        sinks.push(AuditSink::Https(HttpsSink {
            url,
            token,
            proxy,
            timeout,
        }));
        Ok(sinks)
    }
}

//! `webhook`: who is told of what happens to secrets.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::values::{SecretText, at_least_one, proxy, secret, secs};
use crate::config::settings::ConfigError;
use crate::upstream::proxy::Proxies;
use crate::webhook::{WebhookKey, WebhookKeyError, WebhookSettings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    secret: Option<SecretText>,
    secret_file: Option<PathBuf>,
    proxy: Option<String>,
    timeout_s: u32,
    failing_after: u32,
    max_age_s: u32,
}

impl RawWebhook {
    pub(super) fn check(self, proxies: &Proxies) -> Result<Option<WebhookSettings>, ConfigError> {
        at_least_one(&[
            ("webhook.timeout_s", self.timeout_s.into()),
            ("webhook.failing_after", self.failing_after.into()),
            ("webhook.max_age_s", self.max_age_s.into()),
        ])?;
        let proxy = proxy("webhook.proxy", self.proxy.as_deref(), proxies)?;
        let url = secret("webhook.url", self.url, self.url_file)?;
        let key = secret("webhook.secret", self.secret, self.secret_file)?;
        let Some(url) = url else {
            return match key {
                None => Ok(None),
                Some(_) => Err(ConfigError::of_key(
                    "webhook.url",
                    "is required beside webhook.secret",
                )),
            };
        };
        let readable = Url::parse(url.expose_secret())
            .is_ok_and(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        if !readable {
            return Err(ConfigError::of_key(
                "webhook.url",
                "must be an https:// URL",
            ));
        }
        let Some(key) = key else {
            return Err(ConfigError::of_key(
                "webhook.secret",
                format!("is required beside webhook.url; it {WebhookKeyError}"),
            ));
        };
        let key = WebhookKey::parse(&key)
            .map_err(|error| ConfigError::of_key("webhook.secret", error))?;
        Ok(Some(WebhookSettings {
            url,
            key,
            proxy,
            timeout: secs(self.timeout_s),
            failing_after: self.failing_after.into(),
            max_age: secs(self.max_age_s),
        }))
    }
}

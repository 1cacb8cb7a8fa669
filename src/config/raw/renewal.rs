//! `renewal` and `read`: when providers are asked, and what readers wait for.

use serde::Deserialize;

use super::values::{at_least_one, secs};
use crate::config::settings::ConfigError;
use crate::foundation::clock::Ms;
use crate::renewal::decide::Backoff;
use crate::renewal::{RenewalSettings, RenewalTrigger};
use crate::webhook::WebhookSettings;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRenewal {
    concurrency: u32,
    realm_concurrency: u32,
    min_flush_interval_s: u32,
    max_skew_ms: u32,
    realm_rate: u32,
    forced_per_day: u32,
    backoff_base_s: u32,
    backoff_max_s: u32,
    rate_limited_s: u32,
    retry_after_max_s: u32,
    tries_after_save_s: String,
    probes_s: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRead {
    pub(super) memory_mib: u32,
    min_ttl_s: u32,
    max_wait_s: u32,
}

impl RawRenewal {
    pub(super) fn check(
        self,
        read: &RawRead,
        webhook: Option<&WebhookSettings>,
        trigger: RenewalTrigger,
    ) -> Result<RenewalSettings, ConfigError> {
        at_least_one(&[
            ("renewal.concurrency", self.concurrency.into()),
            ("renewal.realm_concurrency", self.realm_concurrency.into()),
            ("renewal.realm_rate", self.realm_rate.into()),
            ("renewal.backoff_base_s", self.backoff_base_s.into()),
            ("renewal.backoff_max_s", self.backoff_max_s.into()),
            ("renewal.rate_limited_s", self.rate_limited_s.into()),
        ])?;
        let probes = waits("renewal.probes_s", &self.probes_s)?;
        if probes.is_empty() {
            let why = "holds no wait: give the seconds to the next attempt, such as 60, 300";
            return Err(ConfigError::of_key("renewal.probes_s", why));
        }
        Ok(RenewalSettings {
            trigger,
            concurrency: self.concurrency as usize,
            realm_concurrency: self.realm_concurrency as usize,
            min_flush_interval: secs(self.min_flush_interval_s),
            forced_per_day: self.forced_per_day.into(),
            realm_rate: self.realm_rate,
            failing_after: webhook.map(|webhook| webhook.failing_after),
            max_skew: Ms(self.max_skew_ms.into()),
            min_ttl: secs(read.min_ttl_s),
            max_wait: secs(read.max_wait_s),
            backoff: Backoff {
                base: secs(self.backoff_base_s),
                max: secs(self.backoff_max_s),
                rate_limited: secs(self.rate_limited_s),
                retry_after_max: secs(self.retry_after_max_s),
                tries_after_save: waits("renewal.tries_after_save_s", &self.tries_after_save_s)?,
                probes,
            },
        })
    }
}

/// Seconds, separated by commas.
fn waits(key: &'static str, list: &str) -> Result<Vec<Ms>, ConfigError> {
    /// The longest wait between two attempts: a day.
    const WAIT_MAX_S: u32 = 86_400;
    let parts = list.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .filter_map(|part| match part.parse() {
            // It stands for no wait at all, where the list is to be empty.
            Ok(0) => None,
            Ok(wait @ 1..=WAIT_MAX_S) => Some(Ok(secs(wait))),
            _ => {
                let why = format!(
                    "holds {part:?}, which is not a whole number of seconds from 0 to {WAIT_MAX_S}"
                );
                Some(Err(ConfigError::of_key(key, why)))
            }
        })
        .collect()
}

//! `access`: how long keys are trusted, and how often they may be used.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::values::{at_least_one, secs};
use crate::config::settings::ConfigError;
use crate::foundation::clock::Ms;
use crate::foundation::rate::{RATE_MAX, Rate};

/// A refusal that is held back for longer tells nobody anything.
const DELAY_MAX_MS: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccess {
    trust_s: u32,
    key_rate: u32,
    address_rate: u32,
    address_burst: u32,
    address_delay_ms: u32,
}

/// What of it is used where.
pub(super) struct Access {
    pub(super) trust: Ms,
    pub(super) key_rate: Option<Rate>,
    pub(super) address_rate: Option<Rate>,
    pub(super) address_delay: Ms,
}

impl RawAccess {
    pub(super) fn check(self) -> Result<Access, ConfigError> {
        at_least_one(&[("access.address_burst", self.address_burst.into())])?;
        for (key, value) in [
            ("access.key_rate", self.key_rate),
            ("access.address_rate", self.address_rate),
            ("access.address_burst", self.address_burst),
        ] {
            if value > RATE_MAX {
                let what = format!("must be {RATE_MAX} or less");
                return Err(ConfigError::of_key(key, what));
            }
        }
        if self.address_delay_ms > DELAY_MAX_MS {
            let what = format!("must be {DELAY_MAX_MS} or less");
            return Err(ConfigError::of_key("access.address_delay_ms", what));
        }
        let burst = NonZeroU32::new(self.address_burst).unwrap_or(NonZeroU32::MIN);
        let address_rate = NonZeroU32::new(self.address_rate);
        Ok(Access {
            trust: secs(self.trust_s),
            key_rate: NonZeroU32::new(self.key_rate).map(Rate::even),
            address_rate: address_rate.map(|rate| Rate::new(rate, burst)),
            address_delay: Ms(self.address_delay_ms.into()),
        })
    }
}

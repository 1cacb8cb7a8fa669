//! `console`: the administration console and its sessions.

use serde::Deserialize;

use super::oidc::RawOidc;
use super::values::{at_least_one, secs};
use crate::config::settings::{ConfigError, ConsoleSettings};
use crate::console::SessionSettings;
use crate::upstream::proxy::Proxies;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsole {
    enabled: bool,
    public_url: Option<String>,
    session_idle_s: u32,
    session_max_s: u32,
    event_streams_max: u32,
    caller_event_streams_max: u32,
    oidc: RawOidc,
}

impl RawConsole {
    pub(super) fn check(self, proxies: &Proxies) -> Result<ConsoleSettings, ConfigError> {
        at_least_one(&[
            ("console.session_idle_s", self.session_idle_s.into()),
            ("console.session_max_s", self.session_max_s.into()),
        ])?;
        if self.session_idle_s > self.session_max_s {
            let what = format!(
                "must be console.session_max_s ({}) or less",
                self.session_max_s
            );
            return Err(ConfigError::of_key("console.session_idle_s", what));
        }
        Ok(ConsoleSettings {
            enabled: self.enabled,
            session: SessionSettings {
                idle: secs(self.session_idle_s),
                longest: secs(self.session_max_s),
            },
            oidc: self.oidc.check(self.public_url.as_deref(), proxies)?,
            event_streams_max: self.event_streams_max as usize,
            caller_event_streams_max: self.caller_event_streams_max as usize,
        })
    }
}

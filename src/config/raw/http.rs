//! `http`: where the server listens, and how long it waits for whom.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::platform::Platform;
use super::values::{at_least_one, networks, secs};
use crate::access::certified::CertifiedClients;
use crate::config::settings::{ConfigError, Env, HttpSettings, TlsSettings};
use crate::foundation::rate::{RATE_MAX, Rate};
use crate::foundation::server_tls::TlsFiles;

/// So many seconds' worth of handshakes may come at once: callers come back together, as after a
/// restart.
const HANDSHAKES_AT_ONCE_S: u32 = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    listen: String,
    max_body_bytes: u32,
    max_header_bytes: usize,
    header_timeout_s: u32,
    body_timeout_s: u32,
    idle_timeout_s: u32,
    request_timeout_s: u32,
    grace_s: u32,
    max_connections: u32,
    address_connections_percent: u8,
    max_streams: u32,
    watchers_max: u32,
    caller_watchers_max: u32,
    trusted_proxies: String,
    frozen_between_requests: Option<bool>,
    tls: RawTls,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    address_handshake_rate: u32,
    hsts_s: u32,
    #[serde(default)]
    clients: BTreeMap<String, String>,
}

impl RawTls {
    /// None where there is no certificate.
    fn check(self) -> Result<Option<TlsSettings>, ConfigError> {
        let needs = |key: &str, what: &str| Err(ConfigError::of_key(key, what));
        let (certificate, key) = match (self.cert_file, self.key_file) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return needs("http.tls.cert_file", "needs http.tls.key_file, too"),
            (None, Some(_)) => return needs("http.tls.key_file", "needs http.tls.cert_file, too"),
            (None, None) if self.client_ca_file.is_some() => {
                return needs(
                    "http.tls.client_ca_file",
                    "needs http.tls.cert_file and key_file",
                );
            }
            (None, None) => return Ok(None),
        };
        if self.address_handshake_rate > RATE_MAX / HANDSHAKES_AT_ONCE_S {
            let what = format!("must be {} or less", RATE_MAX / HANDSHAKES_AT_ONCE_S);
            return needs("http.tls.address_handshake_rate", &what);
        }
        let handshake_rate = NonZeroU32::new(self.address_handshake_rate).map(|rate| {
            let at_once = NonZeroU32::MIN.saturating_add(HANDSHAKES_AT_ONCE_S - 1);
            Rate::new(rate, rate.saturating_mul(at_once))
        });
        if self.client_ca_file.is_none() && !self.clients.is_empty() {
            let what = "needs http.tls.client_ca_file, whose certificates callers show";
            return needs("http.tls.clients", what);
        }
        Ok(Some(TlsSettings {
            files: TlsFiles {
                certificate,
                key,
                client_authorities: self.client_ca_file,
            },
            handshake_rate,
            hsts_s: Some(self.hsts_s).filter(|seconds| *seconds > 0),
            clients: CertifiedClients::new(self.clients),
        }))
    }
}

impl RawHttp {
    pub(super) fn check(self, env: &Env, listen_is_set: bool) -> Result<HttpSettings, ConfigError> {
        /// Less would refuse what browsers send; more is no head of a request.
        const HEADER_BYTES: RangeInclusive<usize> = 4096..=1 << 20;
        if !HEADER_BYTES.contains(&self.max_header_bytes) {
            let (least, most) = (HEADER_BYTES.start(), HEADER_BYTES.end());
            let what = format!("must be from {least} to {most}");
            return Err(ConfigError::of_key("http.max_header_bytes", what));
        }
        if self.address_connections_percent > 100 {
            let what = "must be from 0 to 100";
            return Err(ConfigError::of_key(
                "http.address_connections_percent",
                what,
            ));
        }
        at_least_one(&[
            ("http.max_body_bytes", self.max_body_bytes.into()),
            ("http.header_timeout_s", self.header_timeout_s.into()),
            ("http.body_timeout_s", self.body_timeout_s.into()),
            ("http.idle_timeout_s", self.idle_timeout_s.into()),
            ("http.request_timeout_s", self.request_timeout_s.into()),
            ("http.max_streams", self.max_streams.into()),
        ])?;
        let listen = self.listen.parse().map_err(|_| {
            ConfigError::of_key(
                "http.listen",
                "must be an address and a port, such as 0.0.0.0:8080",
            )
        })?;
        let platform = Platform::of(env);
        Ok(HttpSettings {
            listen,
            listen_is_set,
            max_body_bytes: self.max_body_bytes as usize,
            max_header_bytes: self.max_header_bytes,
            header_timeout: secs(self.header_timeout_s),
            body_timeout: Duration::from_secs(self.body_timeout_s.into()),
            idle_timeout: secs(self.idle_timeout_s),
            request_timeout: secs(self.request_timeout_s),
            grace: secs(self.grace_s),
            max_connections: Some(self.max_connections).filter(|max| *max > 0),
            address_connections_percent: Some(self.address_connections_percent)
                .filter(|percent| *percent > 0),
            max_streams: self.max_streams,
            watchers_max: self.watchers_max as usize,
            caller_watchers_max: self.caller_watchers_max as usize,
            trusted_proxies: networks("http.trusted_proxies", &self.trusted_proxies)?,
            frozen_between_requests: self.frozen_between_requests.unwrap_or(platform.is_some()),
            tls: self.tls.check()?,
        })
    }
}

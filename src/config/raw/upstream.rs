//! `upstream`: how providers are reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::values::{SecretText, at_least_one, secret};
use crate::config::settings::ConfigError;
use crate::realm::document::is_proxy_name;
use crate::upstream::UpstreamSettings;
use crate::upstream::egress::{Egress, SystemResolver};
use crate::upstream::proxy::{DEFAULT, Proxies, Proxy, ResolvedBy};
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
    proxy: RawProxy,
    #[serde(default)]
    proxies: BTreeMap<String, RawProxy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProxy {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    #[serde(default)]
    resolve: Resolve,
}

/// Who resolves the names of providers.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Resolve {
    #[default]
    Server,
    Proxy,
}

impl RawUpstream {
    pub(super) fn check(self) -> Result<UpstreamSettings, ConfigError> {
        at_least_one(&[
            ("upstream.timeout_s", self.timeout_s.into()),
            ("upstream.connect_timeout_s", self.connect_timeout_s.into()),
            ("upstream.max_answer_bytes", self.max_answer_bytes.into()),
        ])?;
        let networks = self.allowed_networks.split(',').map(str::trim);
        let networks: Vec<IpNet> = networks
            .filter(|network| !network.is_empty())
            .map(|network| {
                network.parse().map_err(|_| {
                    let what =
                        format!("holds {network:?}, which is not a network such as 10.0.0.0/8");
                    ConfigError::of_key("upstream.allowed_networks", what)
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(UpstreamSettings {
            egress: Egress::new(networks),
            names: Arc::new(SystemResolver),
            proxies: proxies(self.proxy, self.proxies)?,
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

fn proxies(default: RawProxy, named: BTreeMap<String, RawProxy>) -> Result<Proxies, ConfigError> {
    let mut all = Vec::new();
    all.extend(default.check("upstream.proxy", DEFAULT)?);
    for (name, proxy) in named {
        let key = format!("upstream.proxies.{name}");
        if !is_proxy_name(&name) || [DEFAULT, "direct"].contains(&&*name) {
            let what = "must have another name: 1 to 64 of a to z, 0 to 9, - and _, but not \
                        default or direct";
            return Err(ConfigError::of_key(&key, what));
        }
        let proxy = proxy.check(&key, &name)?;
        all.push(proxy.ok_or_else(|| ConfigError::of_key(&key, "has no url"))?);
    }
    Ok(Proxies::new(all))
}

impl RawProxy {
    /// None where it has no URL.
    fn check(self, key: &str, name: &str) -> Result<Option<Proxy>, ConfigError> {
        let key = format!("{key}.url");
        let resolved_by = match self.resolve {
            Resolve::Server => ResolvedBy::Server,
            Resolve::Proxy => ResolvedBy::Proxy,
        };
        let url = secret(&key, self.url, self.url_file)?;
        url.map(|url| Proxy::read(name, &url, resolved_by))
            .transpose()
            .map_err(|what| ConfigError::of_key(&key, what))
    }
}

/// Certificates that providers may be trusted by, beside the usual ones.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refused = |why: String| ConfigError::of_key("upstream.ca_file", why);
    let pem = std::fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    certificates_of(&pem).ok_or_else(|| refused("holds no certificate in PEM".to_owned()))
}

//! Values of the configuration: secrets, times.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::settings::ConfigError;
use crate::foundation::clock::Ms;
use crate::foundation::private::check_key_file;
use crate::realm::document::ProxyChoice;
use crate::upstream::proxy::Proxies;

const DAY_MS: i64 = 86_400_000;

/// A string that is never shown.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(super) struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// A secret given as it is, or as the name of a file that holds it.
pub(super) fn secret(
    key: &str,
    text: Option<SecretText>,
    file: Option<PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    match (text, file) {
        (Some(_), Some(_)) => Err(ConfigError::of_key(
            key,
            format!("stands beside {key}_file: give one of them"),
        )),
        (Some(SecretText(text)), None) => Ok(Some(text)),
        (None, Some(file)) => {
            let refused = |what: String| ConfigError::of_key(&format!("{key}_file"), what);
            check_key_file(&file).map_err(|open| refused(format!("names a file: {open}")))?;
            std::fs::read_to_string(&file)
                .map(|text| Some(Zeroizing::new(text).trim().into()))
                .map_err(|error| refused(format!("{} cannot be read: {error}", file.display())))
        }
        (None, None) => Ok(None),
    }
}

/// Refuses a zero where it would mean never, nothing or at once, by the name of its key.
pub(super) fn at_least_one(values: &[(&str, u64)]) -> Result<(), ConfigError> {
    match values.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => Err(ConfigError::of_key(key, "must be 1 or more")),
        None => Ok(()),
    }
}

/// Which proxy requests go through, in the words of realm documents.
pub(super) fn proxy(
    key: &str,
    name: Option<&str>,
    proxies: &Proxies,
) -> Result<ProxyChoice, ConfigError> {
    let choice = name.map_or(Ok(ProxyChoice::Unsaid), ProxyChoice::named);
    let choice = choice.map_err(|why| ConfigError::of_key(key, why))?;
    match proxies.chosen(&choice) {
        Ok(_) => Ok(choice),
        Err(unknown) => Err(ConfigError::of_key(key, unknown)),
    }
}

/// Networks (CIDR) between commas.
pub(super) fn networks(key: &str, text: &str) -> Result<Vec<IpNet>, ConfigError> {
    let networks = text.split(',').map(str::trim);
    let networks = networks.filter(|network| !network.is_empty());
    networks
        .map(|network| {
            network.parse().map_err(|_| {
                let what = format!("holds {network:?}, which is not a network such as 10.0.0.0/8");
                ConfigError::of_key(key, what)
            })
        })
        .collect()
}

pub(super) fn secs(secs: u32) -> Ms {
    Ms::from_secs(secs.into())
}

pub(super) fn days(days: u32) -> Ms {
    Ms(i64::from(days) * DAY_MS)
}

pub(super) fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

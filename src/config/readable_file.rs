//! A configuration file that holds secrets as they are: it is kept as a file of a secret is.

use std::path::Path;

use config::{Config, File, FileFormat, Map, Value};
use url::Url;

use super::settings::ConfigError;
use crate::foundation::private::check_key_file;

/// Secrets, wherever they stand.
const SECRETS: [&str; 5] = [
    "admin_key",
    "sealing.keys",
    "console.oidc.client_secret",
    "webhook.secret",
    "audit.token",
];

/// URLs that are secret where they hold a password.
const URLS: [&str; 4] = [
    "database.url",
    "webhook.url",
    "audit.url",
    "upstream.proxy.url",
];

/// The tables of which each may have such a URL.
const PROXIES: &str = "upstream.proxies";

/// Refuses a file that any user of the machine can read or change, where it holds a secret. What
/// cannot be read is told by whoever reads it.
///
/// # Errors
/// Names the key of the secret, the file, and what mends it.
pub(super) fn check(file: &Path) -> Result<(), ConfigError> {
    let source = File::from(file).format(FileFormat::Toml);
    let Ok(content) = Config::builder().add_source(source).build() else {
        return Ok(());
    };
    let Some(key) = first_secret(&content) else {
        return Ok(());
    };
    // The library takes `token-server.toml` for `token-server`, too.
    let open = match file.is_file() {
        true => check_key_file(file),
        false => check_key_file(&file.with_extension("toml")),
    };
    open.map_err(|open| {
        let what = format!(
            "stands as it is in the configuration file: {open}; or keep the secret elsewhere: in a file of its own, named in {key}_file, or in the environment"
        );
        ConfigError::of_key(&key, what)
    })
}

fn first_secret(content: &Config) -> Option<String> {
    let text = |key: &str| content.get_string(key).ok().filter(|text| !text.is_empty());
    let is_url = |key: &str| text(key).is_some_and(|url| has_password(&url));
    let proxies = content.get::<Map<String, Value>>(PROXIES);
    let proxies = proxies.into_iter().flatten();
    let proxies = proxies.map(|(name, _)| format!("{PROXIES}.{name}.url"));
    let mut secrets = SECRETS.into_iter().filter(|key| text(key).is_some());
    let secret = secrets.next().map(str::to_owned);
    secret.or_else(|| {
        let mut urls = URLS.into_iter().map(str::to_owned).chain(proxies);
        urls.find(|key| is_url(key))
    })
}

/// Of a text that is no URL nobody knows.
fn has_password(url: &str) -> bool {
    Url::parse(url).map_or(url.contains('@'), |url| url.password().is_some())
}

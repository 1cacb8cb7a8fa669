//! `database`: where it is, which the environment may say in the words of others, too.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::values::{SecretText, at_least_one, millis, secret};
use crate::config::settings::{ConfigError, Env};
use crate::foundation::database::{Authorities, DatabaseSettings, DbTls, TlsPlan, WantedTls};
use crate::upstream::trust::certificates_of;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    tls: Option<String>,
    tls_ca_file: Option<PathBuf>,
    max_connections: u32,
    acquire_timeout_ms: u32,
    write_timeout_ms: u32,
    read_patience_ms: u32,
}

impl RawDatabase {
    pub(super) fn check(self, env: &Env, data_dir: &Path) -> Result<DatabaseSettings, ConfigError> {
        at_least_one(&[
            ("database.max_connections", self.max_connections.into()),
            (
                "database.acquire_timeout_ms",
                self.acquire_timeout_ms.into(),
            ),
            ("database.write_timeout_ms", self.write_timeout_ms.into()),
        ])?;
        let url = database_url(env, self.url, self.url_file)?.unwrap_or_else(|| {
            let file = data_dir.join("token-server.db");
            format!("sqlite://{}?mode=rwc", file.display()).into()
        });
        if !["sqlite:", "mysql://"]
            .iter()
            .any(|scheme| url.expose_secret().starts_with(scheme))
        {
            return Err(ConfigError::of_key(
                "database.url",
                "must begin with sqlite:// or mysql://",
            ));
        }
        let wanted = self.tls.as_deref().map(wanted_tls).transpose()?;
        let tls = tls(&url, wanted, self.tls_ca_file)?;
        Ok(DatabaseSettings {
            url,
            tls,
            max_connections: self.max_connections,
            acquire_timeout: millis(self.acquire_timeout_ms),
            write_timeout: millis(self.write_timeout_ms),
            read_patience: millis(self.read_patience_ms),
        })
    }
}

impl DatabaseSettings {
    /// For another database, with what its URL says of TLS: what is configured is about this one.
    ///
    /// # Errors
    /// Where the URL contradicts itself, or names a file of authorities that cannot be used.
    pub fn of_another(&self, url: SecretString) -> Result<Self, ConfigError> {
        let tls = tls(&url, None, None)?;
        Ok(Self {
            url,
            tls,
            ..self.clone()
        })
    }
}

fn tls(
    url: &SecretString,
    wanted: Option<WantedTls>,
    ca_file: Option<PathBuf>,
) -> Result<DbTls, ConfigError> {
    let plan = TlsPlan::of(url.expose_secret(), wanted, ca_file).map_err(ConfigError::of_all)?;
    let authorities = match &plan.ca_file {
        Some(file) => authorities(file)?,
        None => Authorities::System,
    };
    Ok(plan.with(authorities))
}

fn wanted_tls(word: &str) -> Result<WantedTls, ConfigError> {
    let mut all = WantedTls::ALL.into_iter();
    all.find(|wanted| wanted.as_str() == word)
        .ok_or_else(|| ConfigError::of_key("database.tls", "must be required, verify or off"))
}

/// Who may sign the server's certificate.
fn authorities(file: &Path) -> Result<Authorities, ConfigError> {
    let refused = |why: &str| {
        let what = format!("{} {why}", file.display());
        ConfigError::of_key("database.tls_ca_file", what)
    };
    let pem = std::fs::read(file).map_err(|error| refused(&format!("cannot be read: {error}")))?;
    match certificates_of(&pem) {
        Some(_) => Ok(Authorities::Named(pem)),
        None => Err(refused("holds no certificate in PEM")),
    }
}

/// The environment names a database before the file does.
fn database_url(
    env: &Env,
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    let own = [
        "TOKEN_SERVER__DATABASE__URL",
        "TOKEN_SERVER__DATABASE__URL_FILE",
    ];
    let usual = || env.get("DATABASE_URL").filter(|url| !url.is_empty());
    let named = || {
        usual()
            .map(|url| url.as_str().into())
            .or_else(|| mysql_url(env))
    };
    if own.iter().any(|name| env.contains_key(*name)) {
        return secret("database.url", url, url_file);
    }
    match named() {
        Some(url) => Ok(Some(url)),
        None => secret("database.url", url, url_file),
    }
}

/// What may stand in a URL as it is (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The predecessor's variables, and the user's name as images of MySQL and MariaDB have it.
fn mysql_url(env: &Env) -> Option<SecretString> {
    let part = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let encoded = |text: Option<&String>, default: &str| {
        let text = text.map_or(default, String::as_str);
        utf8_percent_encode(text, RESERVED).to_string()
    };
    let host = part("MYSQL_HOST")?;
    let port = part("MYSQL_PORT").map_or("3306", String::as_str);
    let user = part("MYSQL_USERNAME").or(part("MYSQL_USER"));
    let (user, password) = (encoded(user, "root"), encoded(part("MYSQL_PASSWORD"), ""));
    let database = encoded(part("MYSQL_DATABASE"), "token_server");
    Some(format!("mysql://{user}:{password}@{host}:{port}/{database}").into())
}

//! Configuration: built-in defaults, a file, the environment, in rising order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::{Config, Environment, File, FileFormat};
use ipnet::IpNet;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::access::key::CHOSEN_MIN_CHARS;
use crate::foundation::clock::Ms;
use crate::foundation::database::DatabaseSettings;
use crate::foundation::logging::{LogFormat, check_filter};
use crate::foundation::sealing::check_keys;
use crate::jobs::check_schedule;
use crate::jobs::maintenance::MaintenanceSettings;
use crate::renewal::RenewalSettings;
use crate::renewal::decide::Backoff;
use crate::upstream::UpstreamSettings;
use crate::upstream::egress::Egress;

const DEFAULTS: &str = include_str!("../config/default.toml");
const DAY_MS: i64 = 86_400_000;

/// A configuration that cannot be used; says which key and why, never a secret's value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn of_key(key: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{key} {what}"))
    }
}

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub admin_key: Option<SecretString>,
    pub sealing_keys: Option<SecretString>,
    pub http: HttpSettings,
    pub database: DatabaseSettings,
    pub upstream: UpstreamSettings,
    pub renewal: RenewalSettings,
    pub maintenance: MaintenanceSettings,
    pub log: LogSettings,
}

#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub listen: SocketAddr,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub grace: Ms,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: Option<LogFormat>,
    pub filter: String,
}

/// The process's environment, read once.
pub type Env = HashMap<String, String>;

impl Settings {
    pub fn load(file: Option<&Path>, env: &Env) -> Result<Self, ConfigError> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix("TOKEN_SERVER")
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(env.clone()));
        let raw: Raw = builder
            .add_source(environment)
            .build()
            .and_then(Config::try_deserialize)
            .map_err(|error| ConfigError(describe(&error)))?;
        raw.check(env)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    data_dir: PathBuf,
    admin_key: Option<SecretText>,
    admin_key_file: Option<PathBuf>,
    http: RawHttp,
    database: RawDatabase,
    #[serde(default)]
    sealing: RawSealing,
    upstream: RawUpstream,
    renewal: RawRenewal,
    read: RawRead,
    maintenance: RawMaintenance,
    log: RawLog,
}

/// A string that is never shown.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: String,
    max_body_bytes: usize,
    body_timeout_s: u32,
    idle_timeout_s: u32,
    grace_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDatabase {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    max_connections: u32,
    acquire_timeout_ms: u32,
    write_timeout_ms: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSealing {
    keys: Option<SecretText>,
    keys_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpstream {
    allowed_networks: String,
    timeout_s: u32,
    connect_timeout_s: u32,
    max_answer_bytes: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRenewal {
    concurrency: usize,
    realm_concurrency: usize,
    min_flush_interval_s: u32,
    backoff_base_s: u32,
    backoff_max_s: u32,
    rate_limited_s: u32,
    retry_after_max_s: u32,
    probe_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRead {
    min_ttl_s: u32,
    max_wait_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaintenance {
    schedule: String,
    history_days: u32,
    audit_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<LogFormat>,
    filter: String,
}

impl Raw {
    fn check(self, env: &Env) -> Result<Settings, ConfigError> {
        let admin_key = secret("admin_key", self.admin_key, self.admin_key_file)?;
        if let Some(key) = &admin_key
            && key.expose_secret().chars().count() < CHOSEN_MIN_CHARS
        {
            let what = format!("must be {CHOSEN_MIN_CHARS} characters or more");
            return Err(ConfigError::of_key("admin_key", what));
        }
        let url =
            database_url(env, self.database.url, self.database.url_file)?.unwrap_or_else(|| {
                let file = self.data_dir.join("token-server.db");
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
        let sealing_keys = secret("sealing.keys", self.sealing.keys, self.sealing.keys_file)?;
        if let Some(keys) = &sealing_keys {
            check_keys(keys).map_err(|error| ConfigError::of_key("sealing.keys", error))?;
        }
        check_schedule(&self.maintenance.schedule)
            .map_err(|error| ConfigError::of_key("maintenance.schedule", error))?;
        check_filter(&self.log.filter).map_err(|error| ConfigError::of_key("log.filter", error))?;
        for (key, value) in [
            ("renewal.concurrency", self.renewal.concurrency),
            ("renewal.realm_concurrency", self.renewal.realm_concurrency),
            (
                "database.max_connections",
                self.database.max_connections as usize,
            ),
            ("upstream.timeout_s", self.upstream.timeout_s as usize),
        ] {
            if value == 0 {
                return Err(ConfigError::of_key(key, "must be 1 or more"));
            }
        }
        Ok(Settings {
            admin_key,
            sealing_keys,
            http: self.http.check()?,
            database: DatabaseSettings {
                url,
                max_connections: self.database.max_connections,
                acquire_timeout: millis(self.database.acquire_timeout_ms),
                write_timeout: millis(self.database.write_timeout_ms),
            },
            renewal: self.renewal.check(&self.read),
            upstream: self.upstream.check()?,
            maintenance: MaintenanceSettings {
                schedule: self.maintenance.schedule,
                history: days(self.maintenance.history_days),
                audit: days(self.maintenance.audit_days),
            },
            log: LogSettings {
                format: self.log.format,
                filter: self.log.filter,
            },
            data_dir: self.data_dir,
        })
    }
}

impl RawHttp {
    fn check(self) -> Result<HttpSettings, ConfigError> {
        let listen = self.listen.parse().map_err(|_| {
            ConfigError::of_key(
                "http.listen",
                "must be an address and a port, such as 0.0.0.0:8080",
            )
        })?;
        Ok(HttpSettings {
            listen,
            max_body_bytes: self.max_body_bytes,
            body_timeout: Duration::from_secs(self.body_timeout_s.into()),
            idle_timeout: Duration::from_secs(self.idle_timeout_s.into()),
            grace: secs(self.grace_s),
        })
    }
}

impl RawUpstream {
    fn check(self) -> Result<UpstreamSettings, ConfigError> {
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
            timeout: Duration::from_secs(self.timeout_s.into()),
            connect_timeout: Duration::from_secs(self.connect_timeout_s.into()),
            max_answer_bytes: self.max_answer_bytes,
        })
    }
}

impl RawRenewal {
    fn check(self, read: &RawRead) -> RenewalSettings {
        RenewalSettings {
            concurrency: self.concurrency,
            realm_concurrency: self.realm_concurrency,
            min_flush_interval: secs(self.min_flush_interval_s),
            min_ttl: secs(read.min_ttl_s),
            max_wait: secs(read.max_wait_s),
            backoff: Backoff {
                base: secs(self.backoff_base_s),
                max: secs(self.backoff_max_s),
                rate_limited: secs(self.rate_limited_s),
                retry_after_max: secs(self.retry_after_max_s),
                probe: secs(self.probe_s),
            },
        }
    }
}

fn secs(secs: u32) -> Ms {
    Ms::from_secs(secs.into())
}

fn days(days: u32) -> Ms {
    Ms(i64::from(days) * DAY_MS)
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// A secret given as it is, or as the name of a file that holds it.
fn secret(
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
        (None, Some(file)) => std::fs::read_to_string(&file)
            .map(|text| Some(text.trim().into()))
            .map_err(|error| {
                let what = format!("{} cannot be read: {error}", file.display());
                ConfigError::of_key(&format!("{key}_file"), what)
            }),
        (None, None) => Ok(None),
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

/// What is wrong, without any value: it may be a secret.
fn describe(error: &::config::ConfigError) -> String {
    use ::config::ConfigError as E;
    match error {
        E::At { error, key, .. } => {
            let what = describe(error);
            match key {
                Some(key) if !what.starts_with(key.as_str()) => format!("{key}: {what}"),
                _ => what,
            }
        }
        E::Type { expected, key, .. } => {
            let key = key.as_deref().unwrap_or("a value");
            format!("{key} must be {expected}")
        }
        E::FileParse { uri, cause } => {
            let file = uri.as_deref().unwrap_or("the file");
            let cause = cause.to_string();
            format!("{file}: {}", cause.lines().next().unwrap_or_default())
        }
        // Serde quotes the value it met: `invalid type: string "…", expected …`.
        other => {
            let text = other.to_string();
            match (text.split_once(": "), text.rsplit_once(", expected ")) {
                (Some((what, _)), Some((_, expected))) if what.starts_with("invalid") => {
                    format!("{what}, expected {expected}")
                }
                _ => text,
            }
        }
    }
}

/// The predecessor's variables.
fn mysql_url(env: &Env) -> Option<SecretString> {
    let part = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let encoded = |name: &str, default: &str| {
        let text = part(name).map_or(default, String::as_str);
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    };
    let host = part("MYSQL_HOST")?;
    let port = part("MYSQL_PORT").map_or("3306", String::as_str);
    let (user, password) = (
        encoded("MYSQL_USERNAME", "root"),
        encoded("MYSQL_PASSWORD", ""),
    );
    let database = encoded("MYSQL_DATABASE", "token_server");
    Some(format!("mysql://{user}:{password}@{host}:{port}/{database}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load(None, &env)
    }

    #[test]
    fn the_defaults_are_complete() {
        let settings = load(&[]).unwrap();
        assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.renewal.concurrency, 64);
        assert_eq!(
            settings.database.url.expose_secret(),
            "sqlite://./data/token-server.db?mode=rwc"
        );
    }

    #[test]
    fn the_environment_overrides_the_defaults() {
        let settings = load(&[
            ("TOKEN_SERVER__HTTP__LISTEN", "0.0.0.0:9000"),
            ("TOKEN_SERVER__RENEWAL__CONCURRENCY", "7"),
            ("TOKEN_SERVER__DATA_DIR", "/var/lib/ts"),
            (
                "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
                "127.0.0.0/8, ::1/128",
            ),
            (
                "TOKEN_SERVER__ADMIN_KEY",
                "00000000000000000000000000000042",
            ),
        ])
        .unwrap();
        assert_eq!(settings.http.listen.port(), 9000);
        assert_eq!(settings.renewal.concurrency, 7);
        assert_eq!(
            settings.database.url.expose_secret(),
            "sqlite:///var/lib/ts/token-server.db?mode=rwc"
        );
        assert_eq!(
            settings.admin_key.unwrap().expose_secret(),
            "00000000000000000000000000000042"
        );
    }

    #[test]
    fn the_predecessors_variables_name_a_database() {
        let settings = load(&[
            ("MYSQL_HOST", "db"),
            ("MYSQL_USERNAME", "user"),
            ("MYSQL_PASSWORD", "p@ss/word"),
            ("MYSQL_DATABASE", "tokens"),
        ])
        .unwrap();
        assert_eq!(
            settings.database.url.expose_secret(),
            "mysql://user:p%40ss%2Fword@db:3306/tokens"
        );
    }

    #[test]
    fn the_environment_names_a_database_before_the_file_does() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "[database]\nurl = \"sqlite://file.db\"\n").unwrap();
        let url = |env: &[(&str, &str)]| {
            let env = env
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            let settings = Settings::load(Some(&file), &env.collect()).unwrap();
            settings.database.url.expose_secret().to_owned()
        };
        assert_eq!(url(&[]), "sqlite://file.db");
        assert_eq!(url(&[("DATABASE_URL", "")]), "sqlite://file.db");
        assert_eq!(
            url(&[("DATABASE_URL", "sqlite://env.db")]),
            "sqlite://env.db"
        );
        let own = ("TOKEN_SERVER__DATABASE__URL", "sqlite://own.db");
        assert_eq!(
            url(&[("DATABASE_URL", "sqlite://env.db"), own]),
            "sqlite://own.db"
        );
    }

    #[test]
    fn a_broken_file_is_named_by_line_and_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "admin_key = \"canary\nlog = 1\n").unwrap();
        let error = Settings::load(Some(&file), &Env::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("config.toml") && error.contains("line 1"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn a_bad_configuration_names_the_key_and_shows_no_secret() {
        for (name, value, key) in [
            ("TOKEN_SERVER__HTTP__LISTEN", "nowhere", "http.listen"),
            (
                "TOKEN_SERVER__RENEWAL__CONCURRENCY",
                "many",
                "renewal.concurrency",
            ),
            (
                "TOKEN_SERVER__RENEWAL__CONCURRENCY",
                "0",
                "renewal.concurrency",
            ),
            ("TOKEN_SERVER__RENEWAL__CONCURENCY", "8", "concurency"),
            (
                "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
                "loopback",
                "upstream.allowed_networks",
            ),
            ("TOKEN_SERVER__LOG__FORMAT", "xml", "log.format"),
            ("TOKEN_SERVER__ADMIN_KEY", "short-canary", "admin_key"),
            ("TOKEN_SERVER__SEALING", "k1:canary", "sealing"),
            ("TOKEN_SERVER__SEALING__KEYS", "k1:canary", "sealing.keys"),
            ("TOKEN_SERVER__DATABASE", "mysql://u:canary@h/d", "database"),
            ("DATABASE_URL", "postgres://u:canary@h/d", "database.url"),
            (
                "TOKEN_SERVER__MAINTENANCE__SCHEDULE",
                "often",
                "maintenance.schedule",
            ),
            ("TOKEN_SERVER__LOG__FILTER", "a=b=c", "log.filter"),
            (
                "TOKEN_SERVER__SEALING__KEYS_FILE",
                "/nowhere/at/all",
                "sealing.keys_file",
            ),
        ] {
            let error = load(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}

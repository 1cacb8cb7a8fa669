//! The configuration as it is written, and the checks that make settings of it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::settings::{ConfigError, Env, HttpSettings, LogSettings, Settings};
use crate::access::key::CHOSEN_MIN_CHARS;
use crate::foundation::clock::Ms;
use crate::foundation::database::DatabaseSettings;
use crate::foundation::logging::{LogFormat, check_filter, wants_colours};
use crate::foundation::sealing::check_keys;
use crate::jobs::check_schedule;
use crate::jobs::maintenance::MaintenanceSettings;
use crate::memory::MemorySettings;
use crate::renewal::RenewalSettings;
use crate::renewal::decide::Backoff;
use crate::ticket::inbox::TicketSettings;
use crate::upstream::UpstreamSettings;
use crate::upstream::egress::{Egress, SystemResolver};
use crate::upstream::trust::certificates_of;
use crate::webhook::{SigningKey, SigningKeyError, WebhookSettings};

const DAY_MS: i64 = 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
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
    access: RawAccess,
    ticket: RawTicket,
    webhook: RawWebhook,
    maintenance: RawMaintenance,
    metrics: RawMetrics,
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
    max_header_bytes: usize,
    header_timeout_s: u32,
    body_timeout_s: u32,
    idle_timeout_s: u32,
    request_timeout_s: u32,
    grace_s: u32,
    max_connections: u32,
    max_streams: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDatabase {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    max_connections: u32,
    acquire_timeout_ms: u32,
    write_timeout_ms: u32,
    read_patience_ms: u32,
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
    late_answer_s: u32,
    max_answer_bytes: usize,
    ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRenewal {
    concurrency: usize,
    realm_concurrency: usize,
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
struct RawRead {
    memory_mib: u32,
    min_ttl_s: u32,
    max_wait_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccess {
    trust_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTicket {
    tolerance_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    url: Option<SecretText>,
    url_file: Option<PathBuf>,
    secret: Option<SecretText>,
    secret_file: Option<PathBuf>,
    timeout_s: u32,
    failing_after: u32,
    max_age_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMaintenance {
    schedule: String,
    history_days: u32,
    audit_days: u32,
    check_sealed_every_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    realms_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<String>,
    filter: String,
}

impl Raw {
    pub(super) fn check(self, env: &Env) -> Result<Settings, ConfigError> {
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
            ("renewal.realm_rate", self.renewal.realm_rate as usize),
            (
                "database.max_connections",
                self.database.max_connections as usize,
            ),
            ("upstream.timeout_s", self.upstream.timeout_s as usize),
            ("http.header_timeout_s", self.http.header_timeout_s as usize),
            ("http.max_streams", self.http.max_streams as usize),
            ("http.idle_timeout_s", self.http.idle_timeout_s as usize),
            (
                "http.request_timeout_s",
                self.http.request_timeout_s as usize,
            ),
        ] {
            if value == 0 {
                return Err(ConfigError::of_key(key, "must be 1 or more"));
            }
        }
        let webhook = self.webhook.check()?;
        Ok(Settings {
            admin_key,
            sealing_keys,
            http: self.http.check()?,
            database: DatabaseSettings {
                url,
                max_connections: self.database.max_connections,
                acquire_timeout: millis(self.database.acquire_timeout_ms),
                write_timeout: millis(self.database.write_timeout_ms),
                read_patience: millis(self.database.read_patience_ms),
            },
            renewal: self.renewal.check(&self.read, webhook.as_ref())?,
            memory: MemorySettings {
                max_bytes: u64::from(self.read.memory_mib) << 20,
                trust: secs(self.access.trust_s),
            },
            upstream: self.upstream.check()?,
            ticket: TicketSettings {
                tolerance_s: self.ticket.tolerance_s,
            },
            webhook,
            maintenance: MaintenanceSettings {
                schedule: self.maintenance.schedule,
                history: days(self.maintenance.history_days),
                audit: days(self.maintenance.audit_days),
                check_sealed_every: secs(self.maintenance.check_sealed_every_s),
            },
            metrics_realms_max: self.metrics.realms_max,
            log: LogSettings {
                format: self.log.format.as_deref().map(log_format).transpose()?,
                filter: self.log.filter,
                colours: wants_colours(env),
            },
            data_dir: self.data_dir,
        })
    }
}

impl RawHttp {
    fn check(self) -> Result<HttpSettings, ConfigError> {
        /// Less would refuse what browsers send; more is no head of a request.
        const HEADER_BYTES: RangeInclusive<usize> = 4096..=1 << 20;
        if !HEADER_BYTES.contains(&self.max_header_bytes) {
            let (least, most) = (HEADER_BYTES.start(), HEADER_BYTES.end());
            let what = format!("must be from {least} to {most}");
            return Err(ConfigError::of_key("http.max_header_bytes", what));
        }
        let listen = self.listen.parse().map_err(|_| {
            ConfigError::of_key(
                "http.listen",
                "must be an address and a port, such as 0.0.0.0:8080",
            )
        })?;
        Ok(HttpSettings {
            listen,
            max_body_bytes: self.max_body_bytes,
            max_header_bytes: self.max_header_bytes,
            header_timeout: secs(self.header_timeout_s),
            body_timeout: Duration::from_secs(self.body_timeout_s.into()),
            idle_timeout: secs(self.idle_timeout_s),
            request_timeout: secs(self.request_timeout_s),
            grace: secs(self.grace_s),
            max_connections: Some(self.max_connections).filter(|max| *max > 0),
            max_streams: self.max_streams,
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
            names: Arc::new(SystemResolver),
            authorities: self
                .ca_file
                .as_deref()
                .map_or(Ok(Vec::new()), authorities)?,
            timeout: Duration::from_secs(self.timeout_s.into()),
            connect_timeout: Duration::from_secs(self.connect_timeout_s.into()),
            late_answer: Duration::from_secs(self.late_answer_s.into()),
            max_answer_bytes: self.max_answer_bytes,
        })
    }
}

/// Certificates that providers may be trusted by, beside the usual ones.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refused = |why: String| ConfigError::of_key("upstream.ca_file", why);
    let pem = std::fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    certificates_of(&pem).ok_or_else(|| refused("holds no certificate in PEM".to_owned()))
}

impl RawRenewal {
    fn check(
        self,
        read: &RawRead,
        webhook: Option<&WebhookSettings>,
    ) -> Result<RenewalSettings, ConfigError> {
        let probes = waits("renewal.probes_s", &self.probes_s)?;
        if probes.is_empty() {
            let why = "holds no wait: give the seconds to the next attempt, such as 60, 300";
            return Err(ConfigError::of_key("renewal.probes_s", why));
        }
        Ok(RenewalSettings {
            concurrency: self.concurrency,
            realm_concurrency: self.realm_concurrency,
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

impl RawWebhook {
    fn check(self) -> Result<Option<WebhookSettings>, ConfigError> {
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
                format!("is required beside webhook.url; it {SigningKeyError}"),
            ));
        };
        let key = SigningKey::parse(&key)
            .map_err(|error| ConfigError::of_key("webhook.secret", error))?;
        for (name, value) in [
            ("webhook.timeout_s", self.timeout_s),
            ("webhook.failing_after", self.failing_after),
            ("webhook.max_age_s", self.max_age_s),
        ] {
            if value == 0 {
                return Err(ConfigError::of_key(name, "must be 1 or more"));
            }
        }
        Ok(Some(WebhookSettings {
            url,
            key,
            timeout: secs(self.timeout_s),
            failing_after: self.failing_after.into(),
            max_age: secs(self.max_age_s),
        }))
    }
}

fn log_format(name: &str) -> Result<LogFormat, ConfigError> {
    match name {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(ConfigError::of_key("log.format", "must be pretty or json")),
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

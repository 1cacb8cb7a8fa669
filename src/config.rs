//! Configuration: built-in defaults, a file, the environment, in rising order.

mod effective;
mod names;
mod raw;
mod readable_file;
mod settings;
mod unreadable;

use std::path::Path;

use ::config::{Config, Environment, File, FileFormat, Source};

use effective::effective;
use raw::Raw;
pub use raw::handed_on;
pub use settings::{
    ConfigError, ConsoleSettings, Env, HttpSettings, LogSettings, SealingSource, Settings,
    TlsSettings,
};
use unreadable::describe;

const LISTEN: &str = "http.listen";
const DEFAULTS: &str = include_str!("../config/default.toml");

impl Settings {
    /// Reads a file and the environment.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or holds a secret and any user of the machine can read it, or a
    /// key of it or of the environment cannot be used.
    pub fn load(file: Option<&Path>, env: &Env) -> Result<Self, ConfigError> {
        file.map_or(Ok(()), readable_file::check)?;
        let file = file.map(|file| File::from(file).format(FileFormat::Toml));
        Self::from_sources(file, env)
    }

    /// The same with what is in the file.
    ///
    /// # Errors
    ///
    /// See [`Settings::load`].
    pub fn from_text(text: &str, env: &Env) -> Result<Self, ConfigError> {
        Self::from_sources(Some(File::from_str(text, FileFormat::Toml)), env)
    }

    /// The same, listening where the platform says: for those who listen, and who ask whoever does.
    ///
    /// # Errors
    ///
    /// Where a variable of the platform holds no port.
    pub fn listening_where_told(mut self, env: &Env) -> Result<Self, ConfigError> {
        self.http.listen = raw::platform::listen(&self.http, env)?;
        Ok(self)
    }

    fn from_sources<F>(file: Option<F>, env: &Env) -> Result<Self, ConfigError>
    where
        F: Source + Clone + Send + Sync + 'static,
    {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        let mut without_defaults = Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(file.clone());
            without_defaults = without_defaults.add_source(file);
        }
        names::check(env, DEFAULTS)?;
        let environment = Environment::with_prefix(names::PREFIX)
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(env.clone()));
        let without_defaults = without_defaults.add_source(environment.clone()).build();
        let listen_is_set =
            without_defaults.is_ok_and(|config| config.get::<::config::Value>(LISTEN).is_ok());
        let config = builder.add_source(environment).build();
        let config = config.map_err(|error| ConfigError(describe(&error)))?;
        let effective = effective(&config, DEFAULTS);
        let raw: Raw = config
            .try_deserialize()
            .map_err(|error| ConfigError(describe(&error)))?;
        let settings = raw.check(env, listen_is_set)?;
        Ok(Settings {
            effective,
            ..settings
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

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
        assert_eq!(settings.renewal.concurrency, 128);
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
        let settings = load(&[("MYSQL_HOST", "db"), ("MYSQL_USER", "of_the_image")]).unwrap();
        assert_eq!(
            settings.database.url.expose_secret(),
            "mysql://of_the_image:@db:3306/token_server"
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
                "TOKEN_SERVER__HTTP__HEADER_TIMEOUT_S",
                "0",
                "http.header_timeout_s",
            ),
            (
                "TOKEN_SERVER__HTTP__MAX_HEADER_BYTES",
                "4095",
                "http.max_header_bytes",
            ),
            (
                "TOKEN_SERVER__HTTP__MAX_HEADER_BYTES",
                "1048577",
                "http.max_header_bytes",
            ),
            ("TOKEN_SERVER__HTTP__MAX_STREAMS", "0", "http.max_streams"),
            (
                "TOKEN_SERVER__HTTP__MAX_CONNECTIONS",
                "-1",
                "http.max_connections",
            ),
            (
                "TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS",
                "loopback",
                "upstream.allowed_networks",
            ),
            (
                "TOKEN_SERVER__UPSTREAM__PROXY__URL",
                "ftp://user:canary@proxy",
                "upstream.proxy.url",
            ),
            ("TOKEN_SERVER__UPSTREAM__PROXY__RESOLVE", "us", "resolve"),
            (
                "TOKEN_SERVER__UPSTREAM__PROXIES__DIRECT__URL",
                "http://user:canary@proxy",
                "upstream.proxies.direct",
            ),
            (
                "TOKEN_SERVER__UPSTREAM__PROXIES__NO.NAME__URL",
                "http://user:canary@proxy",
                "upstream.proxies",
            ),
            (
                "TOKEN_SERVER__UPSTREAM__PROXIES__HK__RESOLVE",
                "proxy",
                "upstream.proxies.hk",
            ),
            (
                "TOKEN_SERVER__HTTP__TLS__CERT_FILE",
                "/tls.pem",
                "http.tls.cert_file",
            ),
            (
                "TOKEN_SERVER__HTTP__TLS__KEY_FILE",
                "/tls.key",
                "http.tls.key_file",
            ),
            (
                "TOKEN_SERVER__HTTP__TLS__CLIENT_CA_FILE",
                "/ca.pem",
                "http.tls.client_ca_file",
            ),
            (
                "TOKEN_SERVER__WEBHOOK__PROXY",
                "nowhere",
                "webhook.proxy names \"nowhere\"",
            ),
            (
                "TOKEN_SERVER__AUDIT__PROXY",
                "http://u:canary@h",
                "audit.proxy must be direct",
            ),
            (
                "TOKEN_SERVER__AUDIT__PROXY",
                "default",
                "audit.proxy names the default proxy",
            ),
            ("TOKEN_SERVER__AUDIT__READS", "all", "audit.reads"),
            (
                "TOKEN_SERVER__TICKET__APPLICATIONS_MAX",
                "0",
                "ticket.applications_max",
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
            (
                "TOKEN_SERVER__ISSUERS__RETRY_INTERVAL_S",
                "61",
                "issuers.retry_interval_s must be issuers.fetch_interval_s (60) or less",
            ),
            (
                "TOKEN_SERVER__ISSUERS__REFRESH_AFTER_S",
                "3601",
                "issuers.refresh_after_s",
            ),
            (
                "TOKEN_SERVER__ISSUERS__MAX_AGE_S",
                "86401",
                "issuers.max_age_s",
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

    #[test]
    fn a_zero_is_refused_by_name_or_documented() {
        let (mut section, mut comment) = (String::new(), String::new());
        let mut tried = 0;
        for line in DEFAULTS.lines() {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once(" = ")
                && value.parse::<u64>().is_ok()
            {
                let name = format!("TOKEN_SERVER__{section}__{key}").to_uppercase();
                let told = load(&[(name.as_str(), "0")])
                    .err()
                    .map(|error| error.to_string());
                match told {
                    Some(told) => assert!(told.starts_with(&format!("{section}.{key} ")), "{told}"),
                    None => assert!(comment.contains("0: "), "{section}.{key} may be 0"),
                }
                tried += 1;
            }
            match line.strip_prefix("# ") {
                Some(said) => comment.push_str(said),
                None => comment.clear(),
            }
        }
        assert!(tried > 30, "{tried} keys are tried");
    }
}

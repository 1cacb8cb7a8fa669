//! `console.oidc`: sign-in to the console by OpenID Connect.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::values::{SecretText, proxy, secret};
use crate::access::issuer;
use crate::config::settings::ConfigError;
use crate::foundation::fields::{Fault, Faults, Fields};
use crate::issuers::sign_in::SignInSettings;
use crate::realm::expression::Expressions;
use crate::registry::pattern_faults;
use crate::upstream::proxy::Proxies;

const SECTION: &str = "console.oidc";
const PUBLIC_URL: &str = "console.public_url";
/// Without it there is no ID token (OpenID Connect Core 1.0, section 3.1.2.1).
const OPENID: &str = "openid";
/// The longest name of a provider, in characters.
const NAME_MAX_CHARS: usize = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOidc {
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretText>,
    client_secret_file: Option<PathBuf>,
    name: String,
    scopes: String,
    algorithms: String,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
    rules: Option<RawRules>,
}

/// A list, or in a variable the same as JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawRules {
    List(Vec<Value>),
    Text(String),
}

impl RawOidc {
    pub(super) fn check(
        self,
        public_url: Option<&str>,
        proxies: &Proxies,
    ) -> Result<Option<Arc<SignInSettings>>, ConfigError> {
        let public_url = public_url.map(origin).transpose()?;
        let secret = secret(
            "console.oidc.client_secret",
            self.client_secret,
            self.client_secret_file,
        )?;
        let missing = |key: &str| {
            let what = "is required where others of console.oidc are given";
            ConfigError::of_key(key, what)
        };
        let (issuer, client_id) = match (self.issuer, self.client_id) {
            (Some(issuer), Some(client_id)) => (issuer, client_id),
            (None, None) if secret.is_none() && self.rules.is_none() => return Ok(None),
            (None, _) => return Err(missing("console.oidc.issuer")),
            (Some(_), None) => return Err(missing("console.oidc.client_id")),
        };
        let public_url = public_url.ok_or_else(|| {
            let what = "is required beside console.oidc: how browsers reach this server, such as \
                        https://tokens.example";
            ConfigError::of_key(PUBLIC_URL, what)
        })?;
        let rules = self.rules.ok_or_else(|| missing("console.oidc.rules"))?;
        let length = self.name.chars().count();
        if !(1..=NAME_MAX_CHARS).contains(&length) || self.name.chars().any(char::is_control) {
            let what = format!("must have 1 to {NAME_MAX_CHARS} characters");
            return Err(ConfigError::of_key("console.oidc.name", what));
        }
        if !self.scopes.split(' ').any(|scope| scope == OPENID) {
            let what = format!("must name {OPENID}, with blanks between the scopes");
            return Err(ConfigError::of_key("console.oidc.scopes", what));
        }
        proxy("console.oidc.proxy", self.proxy.as_deref(), proxies)?;
        let ca = match &self.ca_file {
            None => None,
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                let what = format!("{} cannot be read: {error}", file.display());
                ConfigError::of_key("console.oidc.ca_file", what)
            })?),
        };
        let algorithms: Vec<_> = self.algorithms.split(',').map(str::trim).collect();
        // What is registered of an issuer of JWTs, in its own words.
        let mut document = json!({
            "issuer": issuer,
            "audiences": [&client_id],
            "algorithms": algorithms,
            "rules": rules.list()?,
        });
        for (field, value) in [("ca", ca), ("proxy", self.proxy)] {
            if let Some(value) = value {
                document[field] = json!(value);
            }
        }
        let faults = Faults::default();
        let expressions = Arc::new(Expressions::new());
        let read = Fields::of(&document, "", &faults)
            .and_then(|fields| issuer::read(fields, &expressions));
        let (registration, _) = faults.judge(read).map_err(|faults| refused(&faults))?;
        let unseen = pattern_faults(&registration);
        if !unseen.is_empty() {
            return Err(refused(&unseen));
        }
        Ok(Some(Arc::new(SignInSettings {
            name: self.name,
            public_url,
            client_id,
            client_secret: secret,
            scopes: self.scopes,
            registration: Arc::new(registration),
        })))
    }
}

impl RawRules {
    fn list(self) -> Result<Vec<Value>, ConfigError> {
        match self {
            Self::List(list) => Ok(list),
            Self::Text(text) => serde_json::from_str(&text).map_err(|_| {
                let what = "must be a list; in a variable, as JSON";
                ConfigError::of_key("console.oidc.rules", what)
            }),
        }
    }
}

/// The first of what is wrong, by the key that it is about.
fn refused(faults: &[Fault]) -> ConfigError {
    let (pointer, detail) = match faults.first() {
        Some(fault) => (fault.pointer.as_str(), fault.detail.as_str()),
        None => ("", "cannot be used"),
    };
    let key = match pointer.strip_prefix("/audiences") {
        Some(_) => "/client_id".to_owned(),
        None if pointer == "/ca" => "/ca_file".to_owned(),
        None => pointer.to_owned(),
    };
    let key = format!("{SECTION}{}", key.replace('/', "."));
    ConfigError::of_key(&key, detail)
}

/// Scheme, host and port, as a browser writes them: nothing else may stand there.
fn origin(text: &str) -> Result<String, ConfigError> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| {
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_nobodys = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare && is_nobodys
    });
    let what = "must be the scheme and host by which browsers reach this server, such as \
                https://tokens.example";
    url.map(|url| url.origin().ascii_serialization())
        .ok_or_else(|| ConfigError::of_key(PUBLIC_URL, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Settings};

    const GOOD: &str = "[console]\npublic_url = \"https://Tokens.example:443/\"\n\
        [console.oidc]\nissuer = \"https://i.example\"\nclient_id = \"c\"\n\
        rules = [{ when = \"claims.sub == 's'\", scopes = [\"admin\"] }]\n";

    fn read(text: &str) -> Result<Option<Arc<SignInSettings>>, String> {
        let read = Settings::from_text(text, &Env::new());
        read.map(|settings| settings.console.oidc)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_good_section_says_all_there_is_and_none_is_no_sign_in() {
        assert!(read("").unwrap().is_none());
        let settings = read(GOOD).unwrap().unwrap();
        assert_eq!(
            settings.redirect_url(),
            "https://tokens.example/console/sign-in/oidc/callback"
        );
        assert_eq!(settings.registration.rules.len(), 1);
        assert!(settings.client_secret.is_none());
        let rules = r#"[{"when": "claims.a", "scopes": ["metrics"]}, {"when": "claims.b", "scopes": ["metrics"]}]"#;
        let name = "TOKEN_SERVER__CONSOLE__OIDC__RULES".to_owned();
        let env = Env::from([(name, rules.to_owned())]);
        let settings = Settings::from_text(GOOD, &env).unwrap().console.oidc;
        assert_eq!(settings.unwrap().registration.rules.len(), 2);
    }

    #[test]
    fn a_fault_is_told_by_its_key() {
        for (good, bad, key) in [
            (
                "https://Tokens.example:443/",
                "https://t/path",
                "console.public_url",
            ),
            (
                "https://Tokens.example:443/",
                "https://u:p@t",
                "console.public_url",
            ),
            (
                "https://Tokens.example:443/",
                "ftp://t",
                "console.public_url",
            ),
            ("public_url =", "enabled = true\n# ", "console.public_url"),
            ("issuer =", "# ", "console.oidc.issuer"),
            ("client_id =", "# ", "console.oidc.client_id"),
            (
                "client_id = \"c\"",
                "client_id = \"\"",
                "console.oidc.client_id",
            ),
            ("rules =", "# ", "console.oidc.rules"),
            ("https://i.example", "mailto:i", "console.oidc.issuer"),
            ("claims.sub == 's'", "true", "console.oidc.rules.0.when"),
            ("[\"admin\"]", "[\"root\"]", "console.oidc.rules.0.scopes.0"),
            (
                "scopes = [\"admin\"]",
                "scopes = [\"admin\"], realms = [\"r\"]",
                "console.oidc.rules.0.scopes.0",
            ),
            (
                "client_id",
                "scopes = \"email\"\nclient_id",
                "console.oidc.scopes",
            ),
            (
                "client_id",
                "algorithms = \"none\"\nclient_id",
                "console.oidc.algorithms.0",
            ),
            ("client_id", "name = \"\"\nclient_id", "console.oidc.name"),
            (
                "client_id",
                "proxy = \"nowhere\"\nclient_id",
                "console.oidc.proxy",
            ),
            (
                "client_id",
                "ca_file = \"/nowhere\"\nclient_id",
                "console.oidc.ca_file",
            ),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let error = read(&GOOD.replacen(good, bad, 1)).unwrap_err();
            assert!(error.starts_with(&format!("{key} ")), "{key}: {error}");
        }
    }
}

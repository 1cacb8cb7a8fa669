//! Names of environment variables that look like those of the configuration, and are not.

use super::settings::{ConfigError, Env};

/// Before a name that is read.
pub(super) const PREFIX: &str = "TOKEN_SERVER";

/// Refuses what differs from a name that is read by an underscore only: whoever wrote it believes
/// that it counts. Others that begin alike may be somebody else's: Kubernetes makes
/// `TOKEN_SERVER_PORT` of a service named token-server.
pub(super) fn check(env: &Env, defaults: &str) -> Result<(), ConfigError> {
    let read = format!("{PREFIX}__");
    for meant in known(defaults) {
        let with_one = meant.replace("__", "_");
        let mistaken = env.keys().find(|name| {
            !name.starts_with(&read) && name.replace("__", "_").eq_ignore_ascii_case(&with_one)
        });
        if let Some(name) = mistaken {
            let what =
                format!("is not read: write {meant}, with two underscores between the parts");
            return Err(ConfigError::of_key(name, what));
        }
    }
    Ok(())
}

/// The name of each key, from the documentation of all: those without a default are commented out.
fn known(defaults: &str) -> impl Iterator<Item = String> {
    let mut section = String::new();
    defaults.lines().filter_map(move |line| {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = format!("{}__", name.replace('.', "__"));
            return None;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let (key, _) = line.split_once(" = ")?;
        let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_key(key).then(|| format!("{PREFIX}__{section}{key}").to_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULTS;

    fn checked(name: &str) -> Result<(), String> {
        let env = Env::from([(name.to_owned(), "x".to_owned())]);
        check(&env, DEFAULTS).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_with_an_underscore_too_few_is_refused_and_the_right_one_named() {
        for (name, meant) in [
            ("TOKEN_SERVER_HTTP_LISTEN", "TOKEN_SERVER__HTTP__LISTEN"),
            ("TOKEN_SERVER_HTTP__LISTEN", "TOKEN_SERVER__HTTP__LISTEN"),
            ("TOKEN_SERVER_DATA_DIR", "TOKEN_SERVER__DATA_DIR"),
            ("TOKEN_SERVER_ADMIN_KEY", "TOKEN_SERVER__ADMIN_KEY"),
            ("token_server_log_filter", "TOKEN_SERVER__LOG__FILTER"),
            ("TOKEN_SERVER_SEALING_KEYS", "TOKEN_SERVER__SEALING__KEYS"),
        ] {
            let error = checked(name).unwrap_err();
            assert!(error.starts_with(name), "{error}");
            assert!(error.contains(&format!("write {meant},")), "{error}");
        }
    }

    #[test]
    fn what_is_read_and_what_others_make_is_left_alone() {
        for name in [
            "TOKEN_SERVER__HTTP__LISTEN",
            "TOKEN_SERVER_CONFIG",
            // Kubernetes, of a service of that name.
            "TOKEN_SERVER_PORT",
            "TOKEN_SERVER_SERVICE_HOST",
            "TOKEN_SERVER_PORT_8080_TCP_ADDR",
            "PATH",
        ] {
            assert_eq!(checked(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn every_key_of_the_defaults_is_known() {
        let known: Vec<_> = known(DEFAULTS).collect();
        assert!(
            known.contains(&"TOKEN_SERVER__DATABASE__URL_FILE".to_owned()),
            "{known:?}"
        );
        assert!(known.len() > 50, "{known:?}");
    }
}

//! `sealing`: where the keys come from.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::values::{SecretText, at_least_one, secret};
use crate::config::names::PREFIX;
use crate::config::settings::{ConfigError, Env, SealingSource};
use crate::foundation::key_command::OUTPUT_MAX_BYTES;
use crate::foundation::sealing::SealingKeys;
use crate::foundation::value_command::ValueCommand;

/// Names of variables that are not handed on to the command, whatever comes after: they hold
/// secrets of this server.
const WITHHELD: [&str; 3] = [PREFIX, "DATABASE_URL", "MYSQL_"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSealing {
    keys: Option<SecretText>,
    keys_file: Option<PathBuf>,
    command: Option<RawCommand>,
    command_timeout_s: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawCommand {
    List(Vec<String>),
    /// A variable of the environment: a list in JSON.
    Text(String),
}

impl RawSealing {
    pub(super) fn check(self, env: &Env) -> Result<SealingSource, ConfigError> {
        let timeout_s = self.command_timeout_s;
        at_least_one(&[("sealing.command_timeout_s", timeout_s.into())])?;
        let keys = secret("sealing.keys", self.keys, self.keys_file)?;
        let command = self.command.map(RawCommand::read).transpose()?;
        match (keys, command) {
            (Some(_), Some(_)) => Err(ConfigError::of_key(
                "sealing.command",
                "stands beside sealing.keys or sealing.keys_file: give one of them",
            )),
            (None, None) => Ok(SealingSource::DataDir),
            (Some(text), None) => SealingKeys::parse(&text)
                .map(|keys| SealingSource::Keys(Arc::new(keys)))
                .map_err(|error| ConfigError::of_key("sealing.keys", error)),
            (None, Some((program, arguments))) => Ok(SealingSource::Command(ValueCommand {
                program,
                arguments,
                environment: handed_on(env),
                timeout: std::time::Duration::from_secs(timeout_s.into()),
                timeout_name: "sealing.command_timeout_s",
                output_max_bytes: OUTPUT_MAX_BYTES,
            })),
        }
    }
}

impl RawCommand {
    fn read(self) -> Result<(String, Vec<String>), ConfigError> {
        let refused = |what| ConfigError::of_key("sealing.command", what);
        let mut words = match self {
            Self::List(words) => words,
            Self::Text(text) => serde_json::from_str(&text)
                .map_err(|_| refused("must be a list in JSON, such as [\"vault\", \"read\", …]"))?,
        };
        if words.first().is_none_or(String::is_empty) {
            return Err(refused("must begin with a program"));
        }
        let program = words.remove(0);
        Ok((program, words))
    }
}

/// What a command that prints secrets is given of the environment: nothing that is secret of this
/// server.
pub fn handed_on(env: &Env) -> Vec<(String, String)> {
    let is_withheld = |name: &str| {
        let name = name.to_ascii_uppercase();
        WITHHELD.iter().any(|begin| name.starts_with(begin))
    };
    let mut all: Vec<_> = env
        .iter()
        .filter(|(name, _)| !is_withheld(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use crate::config::settings::{Env, SealingSource, Settings};

    fn load(more: &[(&str, &str)]) -> Result<Settings, String> {
        let env = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env: Env = env.collect();
        Settings::load(None, &env).map_err(|error| error.to_string())
    }

    const COMMAND: &str = "TOKEN_SERVER__SEALING__COMMAND";

    #[test]
    fn a_command_is_a_list_and_no_shell_reads_it() {
        let loaded = load(&[
            (COMMAND, r#"["vault", "kv get", "$HOME"]"#),
            (
                "TOKEN_SERVER__ADMIN_KEY",
                "00000000000000000000000000000042",
            ),
            ("DATABASE_URL", "sqlite://a.db"),
            ("MYSQL_PASSWORD", "canary"),
            ("PATH", "/bin"),
            ("VAULT_ADDR", "https://vault.example"),
        ]);
        let SealingSource::Command(command) = loaded.unwrap().sealing else {
            panic!("it is a command");
        };
        assert_eq!(command.program, "vault");
        assert_eq!(command.arguments, ["kv get", "$HOME"]);
        let names: Vec<_> = command.environment.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "VAULT_ADDR"]);
        assert_eq!(
            format!("{command:?}"),
            r#"ValueCommand { program: "vault", .. }"#
        );
    }

    #[test]
    fn what_is_no_command_or_stands_beside_keys_is_refused_without_being_shown() {
        let key = "k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        for (command, keys) in [
            ("canary --print", ""),
            ("[]", ""),
            (r#"[""]"#, ""),
            (r#"["canary", 1]"#, ""),
            (r#"["canary"]"#, key),
        ] {
            let refused = load(&[(COMMAND, command), ("TOKEN_SERVER__SEALING__KEYS", keys)]);
            let refused = refused.unwrap_err();
            assert!(refused.starts_with("sealing.command "), "{refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}

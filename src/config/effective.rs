//! The configuration as it is in effect, as it may be shown: without any secret.

use std::collections::HashSet;

use ::config::Config;
use serde_json::Value;

/// Stands in the place of a secret.
const MASKED: &str = "***";
/// What a program is given may be one as well.
const ARGUMENTS: &str = "sealing.command";
/// The sections of these have names of their own, and the keys of the other.
const NAMED: (&str, &str) = ("upstream.proxies.", "upstream.proxy");

/// Every key that has a value, by section.
pub(super) fn effective(config: &Config, defaults: &str) -> Value {
    let mut values: Value = config.clone().try_deserialize().unwrap_or_default();
    mask(&mut values, "", &secrets(defaults));
    values
}

fn mask(value: &mut Value, at: &str, secrets: &HashSet<String>) {
    let is_secret = match at
        .strip_prefix(NAMED.0)
        .and_then(|rest| rest.rsplit_once('.'))
    {
        Some((_, key)) => secrets.contains(&format!("{}.{key}", NAMED.1)),
        None => secrets.contains(at),
    };
    match value {
        Value::Null => {}
        _ if is_secret => *value = MASKED.into(),
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = match at {
                    "" => name.clone(),
                    section => format!("{section}.{name}"),
                };
                mask(field, &at, secrets);
            }
        }
        _ => {}
    }
}

/// The keys that hold secrets: those that may be given as the name of a file instead.
fn secrets(defaults: &str) -> HashSet<String> {
    let (mut section, mut keys) = (String::new(), HashSet::new());
    for line in defaults.lines() {
        let name = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        if let Some(name) = name {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.insert(format!("{section}{key}"));
        }
    }
    let in_files = keys.iter().filter_map(|key| key.strip_suffix("_file"));
    let mut secrets: HashSet<_> = in_files
        .filter(|key| keys.contains(*key))
        .map(str::to_owned)
        .collect();
    secrets.insert(ARGUMENTS.to_owned());
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULTS, Env, Settings};

    #[test]
    fn no_secret_of_the_configuration_is_shown_and_everything_else_is() {
        let mut known: Vec<_> = secrets(DEFAULTS).into_iter().collect();
        known.sort();
        let expected = [
            "admin_key",
            "audit.token",
            "audit.url",
            "console.oidc.client_secret",
            "database.url",
            "sealing.command",
            "sealing.keys",
            "traces.token",
            "upstream.proxy.url",
            "webhook.secret",
            "webhook.url",
        ];
        assert_eq!(known, expected);
        let text = "admin_key = \"canary-canary-canary-canary-canary\"\n\
            [http]\nmax_streams = 7\n\
            [database]\nurl = \"mysql://u:canary@h/d\"\n\
            [upstream.proxy]\nurl = \"http://u:canary@h:1\"\n\
            [upstream.proxies.hk]\nurl = \"http://u:canary@h:2\"\nresolve = \"proxy\"\n\
            [webhook]\nurl = \"https://h/canary\"\nsecret = \"whsec_Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5\"\n\
            [audit]\nurl = \"https://h/canary\"\ntoken = \"canary\"\n\
            [console]\npublic_url = \"https://h\"\n[console.oidc]\nissuer = \"https://i\"\nclient_id = \"c\"\nclient_secret = \"canary\"\nrules = []\n\
            [traces]\nendpoint = \"https://h/traces\"\ntoken = \"canary\"\n\
            [sealing]\ncommand = [\"vault\", \"canary\"]\n";
        let env = Env::from([("TOKEN_SERVER__READ__MAX_WAIT_S".to_owned(), "16".to_owned())]);
        let shown = Settings::from_text(text, &env).unwrap().effective;
        let text = shown.to_string();
        assert!(
            !text.contains("canary") && !text.contains("whsec_"),
            "{text}"
        );
        for (pointer, value) in [
            ("/http/max_streams", "7"),
            ("/read/max_wait_s", "16"),
            ("/renewal/concurrency", "128"),
            ("/upstream/proxies/hk/resolve", "proxy"),
            ("/upstream/proxies/hk/url", MASKED),
            ("/database/url", MASKED),
        ] {
            let found = shown.pointer(pointer).unwrap_or(&Value::Null);
            let found = found.to_string();
            assert_eq!(found.trim_matches('"'), value, "{pointer}");
        }
    }
}

//! The configuration: a file and variables, as an operator may have written them.

use token_server::config::{Env, Settings};

const CANARY: &str = "canary-0123456789";

/// Reads an input as a file, as variables, or as the value of a secret.
pub fn fuzz(input: &[u8]) {
    let [way, rest @ ..] = input else { return };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    // Files that are named would be read, devices among them.
    if text.to_ascii_lowercase().contains("file") {
        return;
    }
    match way % 3 {
        0 => drop(read(text, &Env::new())),
        1 => drop(read("", &variables(text))),
        _ => secrets(text),
    }
}

fn read(text: &str, env: &Env) -> Result<Settings, String> {
    Settings::from_text(text, env).map_err(|refused| {
        let refused = refused.to_string();
        assert!(!refused.is_empty(), "nothing is said");
        refused
    })
}

/// Lines of `SECTION__KEY=value`.
fn variables(text: &str) -> Env {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let variable = |(name, value): (&str, &str)| {
        let name = format!("TOKEN_SERVER__{name}");
        (name, value.to_owned())
    };
    lines.map(variable).collect()
}

/// Whatever is wrong with a secret, it is not shown.
fn secrets(text: &str) {
    let value = format!("{text}{CANARY}");
    for name in [
        "ADMIN_KEY",
        "SEALING__KEYS",
        "SEALING__COMMAND",
        "WEBHOOK__SECRET",
    ] {
        let mut env = Env::from([(format!("TOKEN_SERVER__{name}"), value.clone())]);
        if name == "WEBHOOK__SECRET" {
            let url = "TOKEN_SERVER__WEBHOOK__URL".to_owned();
            env.insert(url, "https://hook.example".to_owned());
        }
        match read("", &env) {
            Ok(settings) => {
                let shown = format!("{settings:?}");
                let is_program = name == "SEALING__COMMAND";
                assert!(is_program || !shown.contains(CANARY), "{name} is shown");
            }
            Err(refused) => assert!(!refused.contains(CANARY), "{name} is shown: {refused}"),
        }
    }
}

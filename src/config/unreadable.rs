//! Why a configuration cannot be read.

/// What is wrong, without any value: it may be a secret.
pub(super) fn describe(error: &::config::ConfigError) -> String {
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
            let expected = match *expected {
                // The library's own words.
                "an unsigned 64 bit or less integer" => "a whole number from 0",
                "a signed 64 bit or less integer" => "a whole number",
                other => other,
            };
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

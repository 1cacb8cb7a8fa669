//! Where the database is, as it may be shown: never with the password in its URL.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use url::Url;

const MYSQL_PORT: u16 = 3306;
/// What is shown where the URL cannot be taken apart: any part of it may be the password.
const UNKNOWN: &str = "in database.url";

/// Host and port, or the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbAddress {
    shown: String,
    /// The user of a server, and its database.
    pub(super) user: Option<String>,
    pub(super) name: Option<String>,
    pub(super) file: Option<PathBuf>,
}

impl fmt::Display for DbAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl DbAddress {
    pub fn of(url: &str) -> Self {
        if let Some(file) = sqlite_file(url) {
            return Self {
                shown: format!("sqlite://{}", file.display()),
                user: None,
                name: None,
                file: Some(file.to_owned()),
            };
        }
        Self::of_server(url).unwrap_or_else(|| Self {
            shown: UNKNOWN.to_owned(),
            user: None,
            name: None,
            file: None,
        })
    }

    /// Whether it is a file that is not there.
    pub fn is_missing(&self) -> bool {
        let in_memory = |file: &Path| file.as_os_str().is_empty() || file == Path::new(":memory:");
        let mut file = self.file.iter();
        file.any(|file| !in_memory(file) && !file.exists())
    }

    fn of_server(url: &str) -> Option<Self> {
        let parsed = Url::parse(url).ok()?;
        if has_stray_password(&parsed) {
            return None;
        }
        let (scheme, host) = (parsed.scheme(), parsed.host_str()?);
        let port = parsed.port().unwrap_or(MYSQL_PORT);
        let name = parsed.path().trim_start_matches('/');
        let user = percent_encoding::percent_decode_str(parsed.username()).decode_utf8_lossy();
        Some(Self {
            shown: format!("{scheme}://{host}:{port}/{name}"),
            user: Some(user.into_owned()).filter(|user| !user.is_empty()),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            file: None,
        })
    }
}

/// The file of `sqlite:[//]FILE[?…]`.
pub(super) fn sqlite_file(url: &str) -> Option<&Path> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    Some(Path::new(
        rest.split_once('?').map_or(rest, |(file, _)| file),
    ))
}

/// Whether a password holds `/`, `?` or `#` unescaped: then a part of it is taken for something
/// else, and the host for the user.
pub(super) fn has_stray_password(url: &Url) -> bool {
    let behind = [Some(url.path()), url.query(), url.fragment()];
    url.username().is_empty() && behind.into_iter().flatten().any(|part| part.contains('@'))
}

/// Why SQLite cannot open a file: it says no more than that it cannot.
pub(super) fn why_not_opened(file: Option<&Path>) -> &'static str {
    const UNKNOWN: &str = "the file cannot be opened";
    let Some(file) = file else {
        return UNKNOWN;
    };
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => "it is a folder; name a file in it",
        Ok(_) => "the file or its folder may not be written to by this user",
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            match folder.is_none_or(Path::is_dir) {
                true => {
                    "there is no such file, and it cannot be made: add ?mode=rwc to database.url, or let this user write to the folder"
                }
                false => "there is no such folder",
            }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "this user may not look into its folder"
        }
        Err(_) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_the_password_however_it_is_written() {
        for (url, shown) in [
            (
                "mysql://app:canary@db.example:3307/tokens",
                "mysql://db.example:3307/tokens",
            ),
            (
                "mysql://app:can%2Fary@db/tokens?ssl-mode=REQUIRED",
                "mysql://db:3306/tokens",
            ),
            ("mysql://app:can@ary@db/tokens", "mysql://db:3306/tokens"),
            ("mysql://app:canary@[::1]:1/t", "mysql://[::1]:1/t"),
            ("mysql://db", "mysql://db:3306/"),
            ("mysql://app:1/canary@db/tokens", UNKNOWN),
            ("mysql://app:1?canary@db/tokens", UNKNOWN),
            ("mysql://app:1#canary@db/tokens", UNKNOWN),
            ("mysql://app:can/ary@db/tokens", UNKNOWN),
            ("sqlite:///var/lib/t.db?mode=rwc", "sqlite:///var/lib/t.db"),
            ("sqlite:t.db", "sqlite://t.db"),
        ] {
            let address = DbAddress::of(url);
            assert_eq!(address.to_string(), shown, "{url}");
            assert!(!format!("{address:?}").contains("ary"), "{address:?}");
        }
    }
}

//! The URL of the database that is imported. Where it holds a password, no argument may hold it:
//! other users of the machine see those.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::cli::failure::CommandFailure;
use crate::config::Env;
use crate::foundation::private::check_key_file;

/// Holds the URL where no argument says it.
pub(super) const VARIABLE: &str = "TOKEN_SERVER_IMPORT_URL";

/// The URL of the argument, of the file, or of the variable.
///
/// # Errors
///
/// Where none of them has it, where the argument holds a password, or where the file cannot be read
/// or is open to anybody.
pub(super) fn source_url(
    argument: Option<String>,
    file: Option<PathBuf>,
    env: &Env,
) -> Result<SecretString, CommandFailure> {
    if let Some(url) = argument.map(Zeroizing::new) {
        if has_password(&url) {
            return Err(CommandFailure::of(format!(
                "the URL holds a password, which an argument shows to other users of this machine: \
                 put it into the variable {VARIABLE}, or into a file for --url-file"
            )));
        }
        return Ok(url.as_str().into());
    }
    if let Some(file) = file {
        return read(&file);
    }
    let set = env.get(VARIABLE).filter(|url| !url.is_empty());
    set.map(|url| url.as_str().into()).ok_or_else(|| {
        CommandFailure::of(format!(
            "whose tables? Put the URL of their database, such as mysql://USER:PASSWORD@HOST/DATABASE, \
             into the variable {VARIABLE}, or into a file for --url-file"
        ))
    })
}

fn read(file: &Path) -> Result<SecretString, CommandFailure> {
    let refused = |what: String| CommandFailure::of(format!("--url-file: {what}"));
    check_key_file(file).map_err(|open| refused(open.to_string()))?;
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| refused(format!("{} cannot be read: {error}", file.display())))?;
    Ok(text.trim().into())
}

/// Also of a URL that cannot be taken apart.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let user = rest.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':'));
    password.is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::has_password;

    #[test]
    fn a_password_is_seen_in_what_is_no_url_too() {
        for url in [
            "mysql://root:secret@localhost/db",
            "mysql://root:sec@ret@localhost/db",
            "mysql://root:sec/r?e#t@localhost:3306/db",
            "root:secret@localhost",
            "mysql://:secret@localhost/db",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in [
            "mysql://root@localhost:3306/db",
            "mysql://root:@localhost/db",
            "mysql://localhost:3306/db?ssl-mode=DISABLED",
            "sqlite:///srv/a:b/token-server.db",
            "",
        ] {
            assert!(!has_password(url), "{url}");
        }
    }
}

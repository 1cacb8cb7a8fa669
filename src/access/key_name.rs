//! The names of API keys: which a new one may have, and which only others have in the audit.

use super::issuer::{NAME_PREFIX, SIGNED_IN_PREFIX};
use super::store::BOOTSTRAP_NAME;
use crate::foundation::clear_name::{UnclearName, check_clear, looks_like};
use crate::foundation::ids::NAME_MAX_CHARS;

/// The name of whoever can start this program with its configuration, in the audit.
pub const COMMAND_LINE: &str = "command line";

/// Why a new API key cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    #[error("must have 1 to {NAME_MAX_CHARS} characters")]
    Length,
    #[error("must not begin or end with a blank")]
    Blanks,
    #[error(transparent)]
    Unclear(#[from] UnclearName),
    #[error(
        "must not begin with {NAME_PREFIX} or {SIGNED_IN_PREFIX}, nor look so: so do the callers of \
         issuers"
    )]
    OfIssuers,
    #[error(
        "must not be {0:?}, nor look like it: the audit and the list of keys have that name for \
         somebody else"
    )]
    Reserved(&'static str),
}

/// Whether a new API key may have a name. Those that are stored keep theirs.
///
/// # Errors
/// What is wrong with it.
pub fn check_key_name(name: &str) -> Result<(), KeyNameError> {
    if name.is_empty() || name.chars().count() > NAME_MAX_CHARS {
        return Err(KeyNameError::Length);
    }
    if name.trim() != name {
        return Err(KeyNameError::Blanks);
    }
    check_clear(name)?;
    let of_issuers = [NAME_PREFIX, SIGNED_IN_PREFIX];
    if of_issuers.iter().any(|begin| looks_like(name, begin, true)) {
        return Err(KeyNameError::OfIssuers);
    }
    let reserved = [COMMAND_LINE, BOOTSTRAP_NAME];
    match reserved.iter().find(|other| looks_like(name, other, false)) {
        None => Ok(()),
        Some(other) => Err(KeyNameError::Reserved(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_refused_that_looks_like_one_of_somebody_else() {
        for of_issuers in [
            "jwt:k8s:somebody",
            "JWT:x",
            "j w t :x",
            "\u{458}wt:a",
            "JW\u{422}:a",
            "oidc:somebody",
            "\u{43e}idc:somebody",
        ] {
            let refused = check_key_name(of_issuers);
            assert_eq!(refused, Err(KeyNameError::OfIssuers), "{of_issuers}");
        }
        for (name, of) in [
            ("command line", COMMAND_LINE),
            ("Command Line", COMMAND_LINE),
            ("c\u{43e}mmand line", COMMAND_LINE),
            ("bootstrap-admin", BOOTSTRAP_NAME),
            ("Bootstrap admin", BOOTSTRAP_NAME),
            ("b\u{3bf}\u{3bf}tstrap-admin", BOOTSTRAP_NAME),
        ] {
            assert_eq!(
                check_key_name(name),
                Err(KeyNameError::Reserved(of)),
                "{name}"
            );
        }
        for free in [
            "jwt",
            "my jwt:x",
            "jw:t",
            "admin",
            "the shop",
            "公众号",
            "a",
        ] {
            assert_eq!(check_key_name(free), Ok(()), "{free}");
        }
    }

    #[test]
    fn a_name_has_a_length_and_no_blanks_around_it() {
        let longest = "名".repeat(NAME_MAX_CHARS);
        assert_eq!(check_key_name(&longest), Ok(()));
        for name in [String::new(), format!("{longest}名")] {
            assert_eq!(check_key_name(&name), Err(KeyNameError::Length));
        }
        for name in [" a", "a ", "\u{3000}a"] {
            assert_eq!(check_key_name(name), Err(KeyNameError::Blanks));
        }
    }
}

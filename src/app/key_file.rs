//! Files that hold a key, in the data directory.

use std::io::Write;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::start_error::StartError;
use crate::foundation::private;

pub(super) const SEALING_KEYS_FILE: &str = "sealing.keys";
pub(super) const ADMIN_KEY_FILE: &str = "admin.key";

pub(super) fn read_secret(path: &Path) -> Result<Option<SecretString>, StartError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let text = Some(text.trim()).filter(|text| !text.is_empty());
            Ok(text.map(SecretString::from))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StartError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Readable by the owner only, and on the disk before anything depends on it.
pub(super) fn write_secret(path: &Path, text: &SecretString) -> Result<(), StartError> {
    let write = || {
        let mut file = private::file_options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        writeln!(file, "{}", text.expose_secret())?;
        file.sync_all()
    };
    write().map_err(|source| StartError::File {
        path: path.to_owned(),
        source,
    })
}

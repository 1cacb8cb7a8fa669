//! Files of realms and secrets as they are written, for this user only.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::failure::CommandFailure;
use crate::foundation::{hex, private};

/// Names of files are cut there: most file systems take no more bytes than 255.
const NAME_MAX_BYTES: usize = 200;

/// The name of the file of a realm: its own, where that can be one.
pub(super) fn file_name(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            // A String takes whatever is written.
            _ => drop(write!(name, "%{byte:02X}")),
        }
    }
    if name.len() > NAME_MAX_BYTES {
        let digest = hex(&Sha256::digest(id.as_bytes()));
        name.truncate(NAME_MAX_BYTES - digest.len());
        name.push_str(&digest);
    }
    name + ".json"
}

/// A document as it stands in a file.
pub(super) fn pretty(document: &Value) -> Zeroizing<String> {
    Zeroizing::new(format!("{document:#}\n"))
}

/// Makes a folder, with those above it.
pub(super) fn make_folder(folder: &Path) -> Result<(), CommandFailure> {
    private::make_directory(folder).map_err(|error| {
        CommandFailure::of(format!("{} cannot be made: {error}", folder.display()))
    })
}

/// Writes a file in place of the one that is there.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, CommandFailure> {
    let path = folder.join(name);
    let written = (|| {
        let mut options = private::file_options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    written.map_err(|error| {
        CommandFailure::of(format!("{} cannot be written: {error}", path.display()))
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn every_name_is_one_of_a_file_and_no_two_are_the_same() {
        for (id, name) in [
            ("wxgzh", "wxgzh.json"),
            ("a/b", "a%2Fb.json"),
            ("a%2Fb", "a%252Fb.json"),
            ("..", "%2E..json"),
            (".a", "%2Ea.json"),
            ("a.b", "a.b.json"),
            ("企", "%E4%BC%81.json"),
        ] {
            assert_eq!(file_name(id), name);
        }
        let long = |end: &str| file_name(&("企".repeat(250) + end));
        assert!(long("a").len() < 255 && long("a") != long("b"));
    }
}

//! A file of JSON lines. It is opened anew for each batch, so a file that was moved away or deleted
//! is made again, and nobody has to be told.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::foundation::private;

/// Appends lines, and waits until they are on the disk.
pub(super) fn append(path: &Path, lines: &str) -> std::io::Result<()> {
    let mut file = private::file_options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    if ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

/// Whether a process was ended while it wrote: its last line is sent again as a whole.
fn ends_within_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_of_its_user_and_half_of_one_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        append(&path, "{\"a\":1}\n").unwrap();
        append(&path, "{\"a\":2}\n").unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        std::fs::write(&path, "{\"a\":3}\n{\"a\"").unwrap();
        append(&path, "{\"a\":4}\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"a\":3}\n{\"a\"\n{\"a\":4}\n");
        assert!(append(Path::new("/nonexistent/audit"), "{}\n").is_err());
    }
}

//! The data directory is for the server's user only: what is in it, and what it holds of keys.

use std::path::Path;

use super::key_file::{ADMIN_KEY_FILE, SEALING_KEYS_FILE};
use super::start_error::StartError;
use crate::config::Settings;
use crate::foundation::private;
use crate::foundation::replica::Replica;
use crate::renewal::Spool;

/// SQLite's files, by what follows the name of the database.
const OF_SQLITE: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// Of the file system, where the directory is a volume of its own.
const OF_VOLUME: &str = "lost+found";

/// Refuses keys that anybody can read; keeps everything else to this user.
pub(super) fn keep_private(settings: &Settings) -> Result<(), StartError> {
    let data_dir = &settings.data_dir;
    let keys = [SEALING_KEYS_FILE, ADMIN_KEY_FILE].map(|name| data_dir.join(name));
    for key in &keys {
        private::check_key_file(key)?;
    }
    let database = settings.database.file();
    let of_database = database.iter().flat_map(|file| {
        OF_SQLITE.map(|end| {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            name
        })
    });
    for file in of_database {
        private::narrow_file(Path::new(&file));
    }
    for file in &keys {
        private::narrow_file(file);
    }
    private::narrow_file(&data_dir.join(Replica::FILE));
    let spool = data_dir.join(Spool::DIRECTORY);
    for entry in std::fs::read_dir(&spool).into_iter().flatten().flatten() {
        private::narrow_file(&entry.path());
    }
    private::narrow_directory(&spool, |_| true);
    let database = database.and_then(|file| file.file_name()?.to_str());
    private::narrow_directory(data_dir, |name| {
        let own = [
            SEALING_KEYS_FILE,
            ADMIN_KEY_FILE,
            Replica::FILE,
            Spool::DIRECTORY,
            OF_VOLUME,
        ];
        let rest = database.and_then(|database| name.strip_prefix(database));
        own.contains(&name) || rest.is_some_and(|rest| OF_SQLITE.contains(&rest))
    });
    Ok(())
}

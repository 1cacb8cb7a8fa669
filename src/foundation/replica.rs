//! Who this server is among others. The name is kept in the data directory, so that a
//! restarted server knows its own leases and can release them at once.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::ids::ReplicaId;
use super::private;
use super::randomness::Randomness;

/// A replica's name, held for as long as the process lives.
#[derive(Debug)]
pub struct Replica {
    pub id: ReplicaId,
    /// The lock on the file; none where another process uses the directory, too.
    held: Option<File>,
}

impl Replica {
    /// In the data directory.
    pub const FILE: &str = "replica.id";

    /// The name kept in `data_dir` if no living process holds it, else a new one.
    pub fn take(data_dir: &Path, randomness: &Randomness) -> std::io::Result<Self> {
        private::make_directory(data_dir)?;
        let mut file = private::file_options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(data_dir.join(Self::FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Self::passing(randomness)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut name = String::new();
        file.read_to_string(&mut name)?;
        if name.trim().is_empty() {
            name = randomness.id();
            file.rewind()?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
        }
        Ok(Self {
            id: ReplicaId(name.trim().to_owned()),
            held: Some(file),
        })
    }

    /// A name of this process only, which is kept nowhere.
    pub fn passing(randomness: &Randomness) -> Self {
        Self {
            id: ReplicaId(randomness.id()),
            held: None,
        }
    }

    /// Whether leases under this name can only be left over from an earlier process.
    pub fn owns_its_name(&self) -> bool {
        self.held.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_server_keeps_its_name_and_a_second_one_beside_it_gets_another() {
        let directory = tempfile::tempdir().unwrap();
        let randomness = Randomness::seeded(1);
        let first = Replica::take(directory.path(), &randomness).unwrap();
        let beside = Replica::take(directory.path(), &randomness).unwrap();
        assert_ne!(first.id, beside.id);
        assert!(first.owns_its_name() && !beside.owns_its_name());
        let name = first.id.clone();
        drop(first);
        assert_eq!(
            Replica::take(directory.path(), &randomness).unwrap().id,
            name
        );
    }
}

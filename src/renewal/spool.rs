//! The spool: what the database would not take is written to a file at once, so that it
//! outlives this process. The next start brings it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::foundation::file_system::Passing;
use crate::foundation::ids::AttemptId;
use crate::foundation::private;
use crate::token::candidate::{Candidate, CandidateRow};

const EXTENSION: &str = "json";

/// One file an attempt; what is in them is sealed.
#[derive(Clone, Debug)]
pub struct Spool(PathBuf);

impl Spool {
    /// In the data directory.
    pub const DIRECTORY: &str = "spool";

    /// Makes the directory, and sees that it can be written to.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let directory = data_dir.join(Self::DIRECTORY);
        private::make_directory(&directory)?;
        let probe = directory.join(".probe");
        File::create(&probe)?.sync_all()?;
        fs::remove_file(probe)?;
        Ok(Self(directory))
    }

    /// The kind of file system it is on, where that does not outlive the process's machine
    /// or container.
    pub fn passing_file_system(&self) -> Option<&'static str> {
        Passing::of(&self.0).map(Passing::as_str)
    }

    /// Returns once it is on the disk.
    pub fn put(&self, candidate: &Candidate) -> io::Result<()> {
        let text = serde_json::to_vec(&candidate.to_row())?;
        let (path, part) = (self.file(&candidate.attempt), self.part(&candidate.attempt));
        let mut file = private::file_options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(part, path)?;
        File::open(&self.0)?.sync_all()
    }

    /// The candidate is in the database.
    pub fn remove(&self, attempt: &AttemptId) -> io::Result<()> {
        match fs::remove_file(self.file(attempt)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Everything that was left, and the files that cannot be read: those stay.
    pub fn left(&self) -> io::Result<(Vec<Candidate>, Vec<PathBuf>)> {
        let (mut left, mut unreadable) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path
                .extension()
                .is_none_or(|extension| extension != EXTENSION)
            {
                continue;
            }
            // One that a disk has damaged holds up no other.
            let text = fs::read(&path).ok();
            let row = text.and_then(|text| serde_json::from_slice::<CandidateRow>(&text).ok());
            match row {
                Some(row) => left.push(Candidate::from_row(row)),
                None => unreadable.push(path),
            }
        }
        Ok((left, unreadable))
    }

    fn file(&self, attempt: &AttemptId) -> PathBuf {
        self.0.join(&attempt.0).with_extension(EXTENSION)
    }

    /// While it is being written.
    fn part(&self, attempt: &AttemptId) -> PathBuf {
        self.0.join(&attempt.0).with_extension("part")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::clock::EpochMs;
    use crate::foundation::ids::{Generation, RefreshLine, SecretId, Version};
    use crate::foundation::sealing::Sealed;
    use crate::token::candidate::CandidateToken;
    use crate::token::expiry::Expiry;
    use crate::token::{HeldRefresh, HeldToken, SealedPayload, Serving};

    fn candidate(attempt: &str) -> Candidate {
        Candidate {
            attempt: AttemptId(attempt.to_owned()),
            secret: SecretId(7),
            consumed: Generation(3),
            line: RefreshLine(1),
            secret_version: Version(2),
            realm_version: Version(5),
            token: Some(CandidateToken {
                held: HeldToken {
                    payload: SealedPayload {
                        token: Sealed(vec![1, 2, 255]),
                        token_type: Some("Bearer".to_owned()),
                        extra: None,
                        expiry: Expiry::At(EpochMs(1000)),
                    },
                    serving: Serving::Rendered(Sealed(vec![9])),
                    obtained_at: EpochMs(10),
                },
                renew_at: Some(EpochMs(500)),
            }),
            refresh: HeldRefresh {
                sealed: Sealed(vec![4]),
                expires_at: None,
                obtained_at: EpochMs(10),
            },
        }
    }

    #[test]
    fn a_file_that_an_earlier_version_wrote_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path()).unwrap();
        let written = r#"{"attempt_id": "a", "secret_id": 7, "consumed": 3, "refresh_line": 1,
            "secret_version": 2, "realm_version": 5, "token": [1, 2, 255], "token_type": "Bearer",
            "served": [9], "per_read": false, "extra": null, "expires_at": 1000,
            "obtained_at": 10, "renew_at": 500, "refresh_token": [4], "refresh_expires_at": null}"#;
        fs::write(directory.path().join("spool/a.json"), written).unwrap();
        assert_eq!(spool.left().unwrap(), (vec![candidate("a")], Vec::new()));
    }

    #[test]
    fn what_was_put_is_left_until_it_is_removed_and_a_half_written_file_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path()).unwrap();
        let refresh_alone = Candidate {
            token: None,
            ..candidate("a")
        };
        spool.put(&refresh_alone).unwrap();
        spool.put(&candidate("b")).unwrap();
        spool.put(&candidate("e")).unwrap();
        fs::write(directory.path().join("spool/c.part"), b"{").unwrap();
        fs::write(directory.path().join("spool/d.json"), b"{").unwrap();
        spool.remove(&AttemptId("b".to_owned())).unwrap();
        spool.remove(&AttemptId("b".to_owned())).unwrap();
        let (mut left, unreadable) = Spool::open(directory.path()).unwrap().left().unwrap();
        left.sort_by(|one, other| one.attempt.0.cmp(&other.attempt.0));
        assert_eq!(left, [refresh_alone, candidate("e")]);
        assert_eq!(unreadable, [directory.path().join("spool/d.json")]);
    }
}

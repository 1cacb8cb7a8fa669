//! The spool: what the database would not take is written to a file at once, so that it
//! outlives this process. The next start brings it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::foundation::file_system::Passing;
use crate::foundation::ids::AttemptId;
use crate::foundation::private;
use crate::foundation::sealing::KeyRing;
use crate::token::candidate::{Candidate, CandidateRow};

const EXTENSION: &str = "json";
/// Of a file while it is being written.
const PART: &str = "part";

/// One file an attempt; what is in them is sealed.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
    /// Held by whoever changes a file: none that was removed comes back.
    changing: Arc<Mutex<()>>,
}

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
        Ok(Self {
            directory,
            changing: Arc::default(),
        })
    }

    /// The kind of file system it is on, where that does not outlive the process's machine
    /// or container.
    pub fn passing_file_system(&self) -> Option<&'static str> {
        Passing::of(&self.directory).map(Passing::as_str)
    }

    /// Returns once it is on the disk, under the key that seals.
    pub fn put(&self, candidate: &Candidate, ring: &KeyRing) -> io::Result<()> {
        let _changing = self.lock();
        // Another key may seal since it was sealed.
        let resealed = candidate.resealed(ring);
        self.write(resealed.as_ref().unwrap_or(candidate))
    }

    /// What was there stays until all of it is on the disk.
    fn write(&self, candidate: &Candidate) -> io::Result<()> {
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
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// The candidate is in the database.
    pub fn remove(&self, attempt: &AttemptId) -> io::Result<()> {
        let _changing = self.lock();
        remove(&self.file(attempt))
    }

    /// Seals everything in it anew, with the key that seals; answers how many files. A process that
    /// is killed meanwhile leaves each file as it was or sealed anew. What does not open stays as
    /// it is. Of the process whose spool it is, and of no other.
    ///
    /// # Errors
    ///
    /// That of the first file which could not be written; the others are sealed anew.
    pub fn reseal(&self, ring: &KeyRing) -> io::Result<usize> {
        let (mut count, mut failed) = (0, Ok(()));
        for part in self.paths(PART)? {
            let ended = self.end(&part);
            failed = failed.and(ended);
        }
        for path in self.paths(EXTENSION)? {
            let _changing = self.lock();
            // It may have been removed meanwhile.
            let candidate = read(&path).filter(|found| self.file(&found.attempt) == path);
            let Some(anew) = candidate.and_then(|candidate| candidate.resealed(ring)) else {
                continue;
            };
            match self.write(&anew) {
                Ok(()) => count += 1,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| count)
    }

    /// Ends what a killed process was writing: a pair that is whole is taken, and what is not, or is
    /// there already, goes.
    fn end(&self, part: &Path) -> io::Result<()> {
        let _changing = self.lock();
        let path = part.with_extension(EXTENSION);
        if path.exists() || read(part).is_none() {
            return remove(part);
        }
        fs::rename(part, path)?;
        self.sync()
    }

    /// Everything that was left, and the files that cannot be read: those stay.
    pub fn left(&self) -> io::Result<(Vec<Candidate>, Vec<PathBuf>)> {
        let (mut left, mut unreadable) = (Vec::new(), Vec::new());
        for path in self.paths(EXTENSION)? {
            // One that a disk has damaged holds up no other.
            match read(&path) {
                Some(candidate) => left.push(candidate),
                None => unreadable.push(path),
            }
        }
        Ok((left, unreadable))
    }

    /// Its files whose name ends so.
    fn paths(&self, ends: &str) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == ends) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn file(&self, attempt: &AttemptId) -> PathBuf {
        self.directory.join(&attempt.0).with_extension(EXTENSION)
    }

    fn part(&self, attempt: &AttemptId) -> PathBuf {
        self.directory.join(&attempt.0).with_extension(PART)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None where a file cannot be read, or is not whole.
fn read(path: &Path) -> Option<Candidate> {
    let text = fs::read(path).ok()?;
    let row = serde_json::from_slice::<CandidateRow>(&text).ok()?;
    Some(Candidate::from_row(row))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::clock::EpochMs;
    use crate::foundation::ids::{Generation, RefreshLine, SecretId, Version};
    use crate::foundation::randomness::Randomness;
    use crate::foundation::sealing::{Sealed, key_id};
    use crate::token::candidate::CandidateToken;
    use crate::token::expiry::Expiry;
    use crate::token::{HeldRefresh, HeldToken, SealedPart, SealedPayload, Serving, seal};

    fn ring() -> KeyRing {
        let key = |name: &str, letter: &str| format!("{name}:{}=", letter.repeat(43));
        let keys = format!("{},{}", key("one", "A"), key("two", "E"));
        KeyRing::parse(&keys.as_str().into(), Randomness::seeded(1)).unwrap()
    }

    /// The file of a pair whose refresh token is sealed.
    fn sealed(attempt: &str, ring: &KeyRing) -> Candidate {
        let value = seal(
            SecretId(7),
            SealedPart::RefreshToken,
            &"canary".into(),
            ring,
        );
        Candidate {
            token: None,
            refresh: HeldRefresh {
                sealed: value,
                ..candidate(attempt).refresh
            },
            ..candidate(attempt)
        }
    }

    #[test]
    fn a_killed_process_leaves_each_pair_once_under_the_old_key_or_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join("spool").join(name);
        let (ring, spool) = (ring(), Spool::open(directory.path()).unwrap());
        let names = ["before", "writing", "renaming", "whole", "cut"];
        for name in names {
            spool.put(&sealed(name, &ring), &ring).unwrap();
        }
        // Killed while it wrote, before it renamed, and while another pair was put in.
        let text = fs::read(file("writing.json")).unwrap();
        fs::write(file("writing.part"), &text[..text.len() / 2]).unwrap();
        fs::copy(file("renaming.json"), file("renaming.part")).unwrap();
        fs::rename(file("whole.json"), file("whole.part")).unwrap();
        fs::remove_file(file("cut.json")).unwrap();
        fs::write(file("cut.part"), &text[..text.len() / 2]).unwrap();
        assert!(ring.seal_with("two"));
        assert_eq!(spool.reseal(&ring).unwrap(), 4);
        let (mut left, unreadable) = spool.left().unwrap();
        left.sort_by(|one, other| one.attempt.0.cmp(&other.attempt.0));
        let left_names: Vec<_> = left.iter().map(|pair| pair.attempt.0.as_str()).collect();
        assert_eq!(left_names, ["before", "renaming", "whole", "writing"]);
        for pair in &left {
            assert_eq!(key_id(&pair.refresh.sealed), Some("two"));
        }
        assert!(unreadable.is_empty());
        assert_eq!(fs::read_dir(file("")).unwrap().count(), 4);
        // What is under the key already is not written again.
        assert_eq!(spool.reseal(&ring).unwrap(), 0);
        // Nor does one that is put in later come under the key of its time.
        let other = KeyRing::parse(
            &format!("one:{}=", "A".repeat(43)).as_str().into(),
            Randomness::seeded(2),
        );
        spool.put(&sealed("late", &other.unwrap()), &ring).unwrap();
        assert_eq!(spool.reseal(&ring).unwrap(), 0);
    }

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
        let ring = ring();
        spool.put(&refresh_alone, &ring).unwrap();
        spool.put(&candidate("b"), &ring).unwrap();
        spool.put(&candidate("e"), &ring).unwrap();
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

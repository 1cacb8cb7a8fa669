//! TLS towards callers: the certificate that they are shown, and whose certificates of theirs are
//! taken. Both are read anew when their files change; a pair that cannot be used changes nothing.

mod contents;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};

use super::clock::EpochMs;
use contents::{Contents, Fingerprint, Usable};
pub use contents::{TlsFault, TlsFiles};

/// What became of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    Changed,
    /// What was in use stays so, while there is what cannot be used.
    Kept(TlsFault),
}

/// Which content of the files something is of: there is another once they were read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesVersion(u64);

/// TLS as it is now.
pub struct ServerTls {
    files: TlsFiles,
    state: Mutex<State>,
    /// Written under the lock of the state, and read without.
    version: AtomicU64,
}

struct State {
    usable: Usable,
    used: Fingerprint,
    /// When the first certificate of the chain ends; none where that cannot be read.
    ends: Option<EpochMs>,
    /// What could not be used.
    refused: Option<Fingerprint>,
}

impl State {
    fn of(read: &Contents, usable: Usable) -> Self {
        Self {
            usable,
            used: read.fingerprint(),
            ends: read.ends(),
            refused: None,
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// # Errors
    /// Where a file cannot be read or used, or any user of the machine can read the key.
    pub fn load(files: TlsFiles) -> Result<Self, TlsFault> {
        let read = Contents::read(&files)?;
        let state = State::of(&read, read.usable(&files)?);
        Ok(Self {
            files,
            state: Mutex::new(state),
            version: AtomicU64::new(0),
        })
    }

    /// For the next handshake, and which content of the files that is.
    pub fn config(&self) -> (Arc<ServerConfig>, FilesVersion) {
        let state = self.state();
        (state.usable.config.clone(), self.version())
    }

    /// Which content of the files is in use.
    pub fn version(&self) -> FilesVersion {
        FilesVersion(self.version.load(Ordering::Acquire))
    }

    /// Whether a handshake would take a caller's certificate now, by the content of the files that
    /// is in use.
    pub fn takes(&self, chain: &[CertificateDer<'_>], now: EpochMs) -> (bool, FilesVersion) {
        let (callers, version) = {
            let state = self.state();
            (state.usable.callers.clone(), self.version())
        };
        let is_taken = || {
            let (callers, (first, others)) = (callers?, chain.split_first()?);
            let since_epoch = Duration::from_millis(u64::try_from(now.0).ok()?);
            let now = UnixTime::since_unix_epoch(since_epoch);
            callers.verify_client_cert(first, others, now).ok()
        };
        (is_taken().is_some(), version)
    }

    /// When the certificate in use ends, or one that it was issued by; none where that cannot be
    /// read.
    pub fn ends(&self) -> Option<EpochMs> {
        self.state().ends
    }

    /// Looks at the files. Whoever replaces them writes one after the other: what cannot be used is
    /// told from when it is seen for the second time.
    pub fn reload(&self) -> Reloaded {
        let read = Contents::read(&self.files);
        let fingerprint = match &read {
            Ok(contents) => contents.fingerprint(),
            Err(fault) => Sha256::digest(fault.to_string()).into(),
        };
        let mut state = self.state();
        if fingerprint == state.used {
            state.refused = None;
            return Reloaded::Unchanged;
        }
        let usable = read.and_then(|contents| {
            let usable = contents.usable(&self.files)?;
            Ok(State::of(&contents, usable))
        });
        match usable {
            Ok(usable) => {
                *state = usable;
                self.version.fetch_add(1, Ordering::Release);
                Reloaded::Changed
            }
            Err(fault) if state.refused == Some(fingerprint) => Reloaded::Kept(fault),
            Err(_first_seen) => {
                state.refused = Some(fingerprint);
                Reloaded::Unchanged
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    struct Pair {
        directory: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let pair = Self { directory };
            pair.write_certificate(&pair.write_key());
            pair
        }

        fn files(&self) -> TlsFiles {
            TlsFiles {
                certificate: self.directory.path().join("cert.pem"),
                key: self.directory.path().join("key.pem"),
                client_authorities: None,
            }
        }

        /// Another key; answers its certificate.
        fn write_key(&self) -> String {
            let made = generate_simple_self_signed(vec!["tokens.example".to_owned()]).unwrap();
            let CertifiedKey { cert, signing_key } = made;
            let path = self.files().key;
            std::fs::write(&path, signing_key.serialize_pem()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            cert.pem()
        }

        fn write_certificate(&self, pem: &str) {
            std::fs::write(self.files().certificate, pem).unwrap();
        }
    }

    #[test]
    fn a_pair_is_taken_when_both_files_have_changed_and_a_broken_one_is_told_while_it_lasts() {
        let pair = Pair::new();
        let tls = ServerTls::load(pair.files()).unwrap();
        assert!(tls.ends().is_some());
        let (first, version) = tls.config();
        assert_eq!(tls.reload(), Reloaded::Unchanged);
        // The key is replaced before its certificate.
        let certificate = pair.write_key();
        assert_eq!(tls.reload(), Reloaded::Unchanged);
        for _ in 0..3 {
            assert!(matches!(tls.reload(), Reloaded::Kept(_)));
        }
        assert!(Arc::ptr_eq(&first, &tls.config().0));
        assert_eq!(tls.version(), version);
        pair.write_certificate(&certificate);
        assert_eq!(tls.reload(), Reloaded::Changed);
        assert!(!Arc::ptr_eq(&first, &tls.config().0));
        assert_ne!(tls.version(), version);
        std::fs::remove_file(pair.files().key).unwrap();
        assert_eq!(tls.reload(), Reloaded::Unchanged);
        let Reloaded::Kept(fault) = tls.reload() else {
            panic!("it is told");
        };
        assert!(
            fault.to_string().starts_with("http.tls.key_file names /"),
            "{fault}"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_key() {
        let pair = Pair::new();
        let with = |file: fn(&mut TlsFiles) -> &mut PathBuf, content: &str| {
            let mut files = pair.files();
            let path = pair.directory.path().join("other.pem");
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            *file(&mut files) = path;
            ServerTls::load(files).unwrap_err().to_string()
        };
        let certificate = with(|files| &mut files.certificate, "no PEM");
        assert!(
            certificate.starts_with("http.tls.cert_file"),
            "{certificate}"
        );
        let key = with(|files| &mut files.key, "no PEM");
        assert!(key.starts_with("http.tls.key_file"), "{key}");
        let authorities = with(
            |files| files.client_authorities.get_or_insert_default(),
            "no PEM",
        );
        assert!(
            authorities.starts_with("http.tls.client_ca_file"),
            "{authorities}"
        );
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(pair.files().key, mode).unwrap();
        // A directory in memory is taken with any mode.
        if let Err(open) = ServerTls::load(pair.files()) {
            assert!(open.to_string().contains("chmod 600"), "{open}");
        }
    }
}

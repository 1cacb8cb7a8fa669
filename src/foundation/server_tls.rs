//! TLS towards callers: the certificate that they are shown, and whose certificates of theirs are
//! taken. Both are read anew when their files change; a pair that cannot be used changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::certificate::first_end;
use super::clock::EpochMs;
use super::private::check_key_file;

/// What is spoken over TLS, the better first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificates and the key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those that issued it.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Of the certificates that callers may show. None: they show none.
    pub client_authorities: Option<PathBuf>,
}

/// A pair that cannot be used; says which file and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} names {}, {what}", path.display())]
pub struct TlsFault {
    key: &'static str,
    path: PathBuf,
    what: String,
}

/// What became of a look at the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    Changed,
    /// What was in use stays so, while there is what cannot be used.
    Kept(TlsFault),
}

/// TLS as it is now.
pub struct ServerTls {
    files: TlsFiles,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    used: Fingerprint,
    /// When the first certificate of the chain ends; none where that cannot be read.
    ends: Option<EpochMs>,
    /// What could not be used.
    refused: Option<Fingerprint>,
}

impl State {
    fn of(read: &Contents, config: Arc<ServerConfig>) -> Self {
        let chain = certificates(&read.certificate);
        Self {
            config,
            used: read.fingerprint(),
            ends: chain.and_then(|chain| first_end(&chain)),
            refused: None,
        }
    }
}

/// Tells one content of all files from another.
type Fingerprint = [u8; 32];

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
        let state = State::of(&read, read.config(&files)?);
        Ok(Self {
            files,
            state: Mutex::new(state),
        })
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.state().config.clone()
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
            let config = contents.config(&self.files)?;
            Ok(State::of(&contents, config))
        });
        match usable {
            Ok(usable) => {
                *state = usable;
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

const CERTIFICATE: &str = "http.tls.cert_file";
const KEY: &str = "http.tls.key_file";
const CLIENT_AUTHORITIES: &str = "http.tls.client_ca_file";

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_authorities: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsFault> {
        check_key_file(&files.key)
            .map_err(|open| fault(KEY, &files.key, format!("a private key: {open}")))?;
        let authorities = files.client_authorities.as_deref();
        Ok(Self {
            certificate: content(CERTIFICATE, &files.certificate)?,
            key: content(KEY, &files.key)?.into(),
            client_authorities: authorities
                .map(|path| content(CLIENT_AUTHORITIES, path))
                .transpose()?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let authorities = self.client_authorities.as_deref().unwrap_or_default();
        for part in [&*self.certificate, &**self.key, authorities] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// TLS 1.2 and 1.3, of which rustls knows no weak suite.
    fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsFault> {
        let refused = |what: &str| fault(CERTIFICATE, &files.certificate, what.to_owned());
        let chain = certificates(&self.certificate)
            .ok_or_else(|| refused("which holds no certificate in PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            let what = "which holds no private key in PEM that is not encrypted";
            fault(KEY, &files.key, what.to_owned())
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|_| refused("and there is no version of TLS to use it with"))?;
        let builder = match (&self.client_authorities, &files.client_authorities) {
            (Some(pem), Some(path)) => {
                let refused = || {
                    let what = "which holds no certificate of an authority in PEM";
                    fault(CLIENT_AUTHORITIES, path, what.to_owned())
                };
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).ok_or_else(refused)? {
                    roots.add(certificate).map_err(|_| refused())?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build();
                builder.with_client_cert_verifier(verifier.map_err(|_| refused())?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let what = match error {
                rustls::Error::InconsistentKeys(_) => {
                    "whose first certificate is not that of the key in http.tls.key_file"
                }
                _ => "whose certificate or key in http.tls.key_file cannot be used",
            };
            refused(what)
        })?;
        if self.client_authorities.is_some() {
            // A session that is resumed would bring back a certificate that has ended meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }
}

fn fault(key: &'static str, path: &Path, what: String) -> TlsFault {
    TlsFault {
        key,
        path: path.to_owned(),
        what,
    }
}

fn content(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFault> {
    std::fs::read(path).map_err(|error| fault(key, path, format!("which cannot be read: {error}")))
}

/// None where one of them cannot be read, or there is none.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.ok().filter(|read| !read.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        let first = tls.config();
        assert_eq!(tls.reload(), Reloaded::Unchanged);
        // The key is replaced before its certificate.
        let certificate = pair.write_key();
        assert_eq!(tls.reload(), Reloaded::Unchanged);
        for _ in 0..3 {
            assert!(matches!(tls.reload(), Reloaded::Kept(_)));
        }
        assert!(Arc::ptr_eq(&first, &tls.config()));
        pair.write_certificate(&certificate);
        assert_eq!(tls.reload(), Reloaded::Changed);
        assert!(!Arc::ptr_eq(&first, &tls.config()));
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

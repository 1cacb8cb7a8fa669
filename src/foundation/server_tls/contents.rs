//! The files of TLS towards callers, and what is made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::foundation::certificate::first_end;
use crate::foundation::clock::EpochMs;
use crate::foundation::private::check_key_file;

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

/// What handshakes are made with.
pub(super) struct Usable {
    pub(super) config: Arc<ServerConfig>,
    /// Takes certificates of callers; none where they show none.
    pub(super) callers: Option<Arc<dyn ClientCertVerifier>>,
}

/// Tells one content of all files from another.
pub(super) type Fingerprint = [u8; 32];

const CERTIFICATE: &str = "http.tls.cert_file";
const KEY: &str = "http.tls.key_file";
const CLIENT_AUTHORITIES: &str = "http.tls.client_ca_file";

/// What the files hold.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_authorities: Option<Vec<u8>>,
}

impl Contents {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsFault> {
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

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let authorities = self.client_authorities.as_deref().unwrap_or_default();
        for part in [&*self.certificate, &**self.key, authorities] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// When the first certificate of the chain ends; none where that cannot be read.
    pub(super) fn ends(&self) -> Option<EpochMs> {
        certificates(&self.certificate).and_then(|chain| first_end(&chain))
    }

    /// TLS 1.2 and 1.3, of which rustls knows no weak suite.
    pub(super) fn usable(&self, files: &TlsFiles) -> Result<Usable, TlsFault> {
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
        let callers = self.callers(files, provider)?;
        let builder = match &callers {
            Some(callers) => builder.with_client_cert_verifier(callers.clone()),
            None => builder.with_no_client_auth(),
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
        if callers.is_some() {
            // A session that is resumed would bring back a certificate that has ended meanwhile, or
            // whose authority was withdrawn.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Usable {
            config: Arc::new(config),
            callers,
        })
    }

    fn callers(
        &self,
        files: &TlsFiles,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsFault> {
        let (Some(pem), Some(path)) = (&self.client_authorities, &files.client_authorities) else {
            return Ok(None);
        };
        let refused = || {
            let what = "which holds no certificate of an authority in PEM";
            fault(CLIENT_AUTHORITIES, path, what.to_owned())
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem).ok_or_else(refused)? {
            roots.add(certificate).map_err(|_| refused())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build();
        verifier.map(Some).map_err(|_| refused())
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

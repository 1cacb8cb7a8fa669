//! Whom TLS trusts: the system's authorities and those that are given beside them. Where a
//! certificate is not trusted, it is told apart why.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

/// HTTP/2 (RFC 7301).
pub(super) const HTTP_TWO: &[u8] = b"h2";
/// What is spoken over TLS, the better first.
const PROTOCOLS: [&[u8]; 2] = [HTTP_TWO, b"http/1.1"];

/// Why a certificate is not trusted, where the chain ends at nobody who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// It is its own authority.
    SelfSigned,
    /// It came alone. Its issuer may be a private authority, or an intermediate one whose
    /// certificate the server should have sent.
    Alone,
    /// It came with others, none of which is issued by a known authority.
    Authority,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfSigned => {
                "the server's certificate is self-signed and not trusted; if it is meant, give it \
                 as tls.ca or in upstream.ca_file"
            }
            Self::Alone => {
                "the server sends its certificate without the intermediate certificate that \
                 issued it, or its authority is private; the server should send the whole chain, \
                 and a private authority is given as tls.ca or in upstream.ca_file"
            }
            Self::Authority => {
                "the server's certificate was issued by an unknown authority; if it is meant, \
                 give it as tls.ca or in upstream.ca_file"
            }
        })
    }
}

impl std::error::Error for Untrusted {}

/// A client's certificate chain and private key, in PEM.
pub(super) struct ClientPem<'a> {
    pub certificate: &'a str,
    pub key: &'a str,
}

/// Why there is no configuration.
#[derive(Clone, Copy, Debug)]
pub(super) enum TrustError {
    /// The client's certificate or key is not in PEM, or they do not belong together.
    Client,
    /// The authorities cannot be loaded.
    Authorities,
}

/// A TLS client's configuration.
pub(super) fn config(
    authorities: Vec<CertificateDer<'static>>,
    client: Option<&ClientPem<'_>>,
) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Explaining {
        inner: Verifier::new_with_extra_roots(authorities, provider.clone())
            .map_err(|_| TrustError::Authorities)?,
        provider: provider.clone(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError::Authorities)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(client.certificate.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|_| TrustError::Client)?;
            let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes())
                .map_err(|_| TrustError::Client)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|_| TrustError::Client)?
        }
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

/// Certificates in PEM; none where one of them cannot be read, or there are none.
pub fn certificates_of(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let read: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .ok()?;
    let store = read
        .iter()
        .cloned()
        .try_fold(RootCertStore::empty(), |mut store, certificate| {
            store.add(certificate).ok().map(|()| store)
        });
    store.filter(|store| !store.is_empty()).map(|_| read)
}

/// Verifies as the platform does, and says more where the authority is unknown.
#[derive(Debug)]
struct Explaining {
    inner: Verifier,
    provider: Arc<CryptoProvider>,
}

impl Explaining {
    /// Whether a certificate can be its own authority.
    fn is_self_signed(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(certificate.clone().into_owned()).is_err() {
            return false;
        }
        let provider = self.provider.clone();
        let by_itself = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let Ok(by_itself) = by_itself.build() else {
            return false;
        };
        let verified = by_itself.verify_server_cert(certificate, &[], name, &[], now);
        !matches!(
            verified,
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        )
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .inner
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        let Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) = verified else {
            return verified;
        };
        let why = if self.is_self_signed(certificate, name, now) {
            Untrusted::SelfSigned
        } else if intermediates.is_empty() {
            Untrusted::Alone
        } else {
            Untrusted::Authority
        };
        let why = CertificateError::Other(OtherError(Arc::new(why)));
        Err(Error::InvalidCertificate(why))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

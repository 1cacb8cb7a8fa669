//! Why an exchange broke, in a sentence of its own for each cause. None shows the URL, which may
//! hold credentials, or an address of the inside.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::causes::{causes, is_no_http};
use super::deadline::TimeIsUp;
use super::egress::{Denied, LookUpFailed};
use super::proxy::error::TunnelError;
use super::trust::Untrusted;
use crate::realm::failure::Failure;

/// Says what broke.
pub(super) fn broken(error: &reqwest::Error) -> Failure {
    let phase = if error.is_connect() {
        Phase::Connecting
    } else if error.is_timeout() {
        Phase::TimedOut
    } else if error.is_body() || error.is_decode() {
        Phase::Answering
    } else {
        Phase::Between
    };
    described(error, phase, error.is_timeout())
}

/// The same of an exchange on a connection that a proxy made.
pub(super) fn broken_in_tunnel(error: &hyper::Error) -> Failure {
    described(error, Phase::Between, false)
}

/// When it broke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    TimedOut,
    /// While the body of the answer came.
    Answering,
    Between,
}

fn described(error: &(dyn Error + 'static), phase: Phase, timed_out: bool) -> Failure {
    for cause in causes(error) {
        if let Some(denied) = cause.downcast_ref::<Denied>() {
            return denied_by(denied);
        }
        if cause.is::<TimeIsUp>() {
            return time_is_up();
        }
        if cause.is::<LookUpFailed>() {
            return unresolved();
        }
    }
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    let io = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind))
        .find(|kind| *kind != io::ErrorKind::Other);
    if phase == Phase::Connecting {
        let what = tls
            .map(of_tls)
            .or_else(|| timed_out.then_some(TIMED_OUT.to_owned()))
            .or_else(|| io.map(|kind| of_connecting(kind).to_owned()))
            .unwrap_or_else(|| NOT_MADE.to_owned());
        return Failure::transient(what).unsent();
    }
    // TLS 1.3 tells a client only after its handshake that it wants a certificate.
    if let Some(tls) = tls {
        return Failure::transient(of_tls(tls));
    }
    let what = if phase == Phase::TimedOut {
        "the connection timed out before the answer was whole"
    } else if phase == Phase::Answering {
        "the answer broke off"
    } else if causes(error).any(is_no_http) {
        "the server does not answer with HTTP"
    } else if closed_early(error, io) {
        "the server closed the connection without an answer"
    } else {
        "the exchange broke off"
    };
    Failure::transient(what)
}

/// Why TLS with a provider failed, on a connection that a proxy made.
pub(super) fn of_provider(error: &io::Error) -> Failure {
    described(error, Phase::Connecting, false)
}

/// Why there is no way through a proxy.
pub(super) fn of_proxy(name: &str, error: &TunnelError) -> Failure {
    let what = match error {
        TunnelError::NameOfProxy => format!("the name of the proxy {name} cannot be resolved"),
        TunnelError::Unreachable(error) => {
            let why = match error.kind() {
                io::ErrorKind::ConnectionRefused => "it refuses connections at this port",
                io::ErrorKind::TimedOut => "it does not answer",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    "there is no route to it"
                }
                _ => "the connection could not be made",
            };
            format!("the proxy {name} cannot be reached: {why}")
        }
        TunnelError::Tls(error) => {
            let why = described(error, Phase::Connecting, false);
            format!("TLS with the proxy {name} itself: {}", why.detail)
        }
        TunnelError::Credentials => format!(
            "the proxy {name} refuses the user and password that the configuration has for it, or \
             wants some"
        ),
        TunnelError::Refused(refusal) => {
            format!("the proxy {name} does not connect to the provider ({refusal})")
        }
        TunnelError::NoProxy => format!(
            "the proxy {name} answers something else than a proxy of its kind; is its URL right?"
        ),
        TunnelError::Broken => {
            format!("the proxy {name} closed the connection before there was one to the provider")
        }
    };
    Failure::transient(what).unsent()
}

pub(super) fn not_in_time(proxy: &str) -> Failure {
    let what = format!("{TIMED_OUT}, through the proxy {proxy}");
    Failure::transient(what).unsent()
}

pub(super) fn unresolved() -> Failure {
    Failure::transient("the name of the server's host cannot be resolved").unsent()
}

pub(super) fn time_is_up() -> Failure {
    Failure::transient(TimeIsUp.to_string()).unsent()
}

pub(super) fn denied_by(denied: &Denied) -> Failure {
    Failure::internal(denied.to_string()).unsent()
}

const TIMED_OUT: &str = "the connection could not be made in time (upstream.connect_timeout_s)";

const NOT_MADE: &str = "the connection could not be made";

fn of_connecting(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "the server refuses connections at this port",
        io::ErrorKind::TimedOut => TIMED_OUT,
        io::ErrorKind::HostUnreachable => "the server's host cannot be reached",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            "the server's network cannot be reached"
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the server reset the connection while it was made",
        io::ErrorKind::UnexpectedEof => "the server closed the connection during the TLS handshake",
        _ => NOT_MADE,
    }
}

fn of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => of_certificate(why),
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS at this port; is it plain http://?".to_owned()
        }
        rustls::Error::PeerIncompatible(why) => of_incompatible(why).to_owned(),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::NoApplicationProtocol => "the server speaks no HTTP over TLS".to_owned(),
        rustls::Error::NoCertificatesPresented => "the server shows no certificate".to_owned(),
        _ => "the TLS handshake failed".to_owned(),
    }
}

fn of_certificate(why: &CertificateError) -> String {
    let text = match why {
        CertificateError::Other(other) => match other.0.downcast_ref::<Untrusted>() {
            Some(untrusted) => return untrusted.to_string(),
            None => "the server's certificate cannot be verified",
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is this machine's clock right?"
        }
        CertificateError::Revoked => "the server's certificate was revoked",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name than the one in the URL"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for a server"
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate was issued by an unknown authority"
        }
        CertificateError::BadSignature => {
            "the server's certificate is not signed by the trusted authority that it names"
        }
        _ => "the server's certificate cannot be verified",
    };
    text.to_owned()
}

fn of_incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => OLD_PROTOCOL,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => NO_CIPHER,
        _ => "the server's TLS does not go with this client's",
    }
}

const OLD_PROTOCOL: &str = "the server speaks only TLS 1.1 or older; TLS 1.2 or 1.3 is needed";
const NO_CIPHER: &str = "the server's TLS shares no cipher with this client";

fn of_alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::ProtocolVersion => OLD_PROTOCOL,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NO_CIPHER,
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server wants a client certificate (tls.client_cert)"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            return format!("the server refuses the client certificate ({alert:?})");
        }
        AlertDescription::UnrecognisedName => "the server serves no host of that name",
        _ => return format!("the server ended the TLS handshake ({alert:?})"),
    };
    text.to_owned()
}

fn closed_early(error: &(dyn Error + 'static), io: Option<io::ErrorKind>) -> bool {
    let incomplete = |cause: &(dyn Error + 'static)| {
        let http = cause.downcast_ref::<hyper::Error>();
        http.is_some_and(|http| http.is_incomplete_message() || http.is_closed())
    };
    let cut = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
    ];
    causes(error).any(incomplete) || io.is_some_and(|kind| cut.contains(&kind))
}

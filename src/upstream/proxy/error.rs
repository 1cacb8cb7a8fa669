//! Why there is no way through a proxy.

use std::fmt;
use std::io;

/// How a proxy says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum ProxyRefusal {
    Http(u16),
    /// RFC 1928, section 6.
    Socks(u8),
}

impl fmt::Display for ProxyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::Http(status) => return write!(f, "HTTP {status}"),
            Self::Socks(code) => code,
        };
        let why = match code {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "TTL expired",
            7 => "command not supported",
            8 => "address type not supported",
            _ => return write!(f, "SOCKS5 reply {code}"),
        };
        write!(f, "SOCKS5 reply {code}, {why}")
    }
}

/// Why there is no way through a proxy.
#[derive(Debug)]
pub(in crate::upstream) enum TunnelError {
    NameOfProxy,
    Unreachable(io::Error),
    /// The handshake of TLS with the proxy itself.
    Tls(io::Error),
    Credentials,
    Refused(ProxyRefusal),
    /// It speaks something else.
    NoProxy,
    /// The connection with the proxy broke.
    Broken,
}

impl From<io::Error> for TunnelError {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

//! What a proxy is asked for.

use std::fmt;
use std::net::SocketAddr;

/// What a proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum ProxyTarget {
    Address(SocketAddr),
    Name(String, u16),
}

impl ProxyTarget {
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl fmt::Display for ProxyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

//! Syslog: one message for each entry (RFC 5424), over a local socket, UDP (RFC 5426) or TCP (RFC
//! 6587, octet counting).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use token_server_entity::audit;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use crate::access::audit::line;
use crate::foundation::clock::Timeline;

/// The facility `log audit` (13), the severity `informational` (6).
const PRIORITY: u8 = 13 * 8 + 6;
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest name of a kind of message.
const MSGID_MAX: usize = 32;
/// Longer messages do not fit into a datagram everywhere.
const DATAGRAM_MAX_BYTES: usize = 32 * 1024;
const LEFT_OUT: &str = "before and after are left out: too long for a datagram";

/// Where a syslog server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A socket of datagrams, such as /dev/log.
    Unix(PathBuf),
    /// Host and port.
    Udp(String),
    Tcp(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be unix:/PATH, udp://HOST:PORT or tcp://HOST:PORT")]
pub struct SyslogAddressError;

impl FromStr for SyslogAddress {
    type Err = SyslogAddressError;

    fn from_str(text: &str) -> Result<Self, SyslogAddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::Unix(path)),
                false => Err(SyslogAddressError),
            };
        }
        let (scheme, authority) = text.split_once("://").ok_or(SyslogAddressError)?;
        let (host, port) = authority.rsplit_once(':').ok_or(SyslogAddressError)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(SyslogAddressError);
        }
        match scheme {
            "udp" => Ok(Self::Udp(authority.to_owned())),
            "tcp" => Ok(Self::Tcp(authority.to_owned())),
            _ => Err(SyslogAddressError),
        }
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(authority) => write!(f, "udp://{authority}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

pub(super) async fn send(address: &SyslogAddress, entries: &[audit::Model]) -> std::io::Result<()> {
    let sending = async {
        match address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                for row in entries {
                    socket.send(datagram(row).as_bytes()).await?;
                }
            }
            SyslogAddress::Udp(authority) => {
                let socket = UdpSocket::bind("[::]:0").await;
                let socket = match socket {
                    Ok(socket) => socket,
                    Err(_) => UdpSocket::bind("0.0.0.0:0").await?,
                };
                socket.connect(authority).await?;
                for row in entries {
                    socket.send(datagram(row).as_bytes()).await?;
                }
            }
            SyslogAddress::Tcp(authority) => {
                let mut stream = TcpStream::connect(authority).await?;
                for row in entries {
                    let message = message(row);
                    let framed = format!("{} {message}", message.len());
                    stream.write_all(framed.as_bytes()).await?;
                }
                stream.shutdown().await?;
            }
        }
        Ok(())
    };
    let sent = tokio::time::timeout(TIMEOUT, sending).await;
    sent.unwrap_or_else(|_elapsed| {
        let why = format!("no answer within {} s", TIMEOUT.as_secs());
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
    })
}

/// A message that fits into a datagram: where it would not, without what was before and after.
fn datagram(row: &audit::Model) -> String {
    let whole = message(row);
    if whole.len() <= DATAGRAM_MAX_BYTES {
        return whole;
    }
    message(&audit::Model {
        before_value: None,
        after_value: None,
        detail: Some(LEFT_OUT.to_owned()),
        ..row.clone()
    })
}

fn message(row: &audit::Model) -> String {
    let kind: String = row
        .action
        .chars()
        .filter(char::is_ascii_graphic)
        .take(MSGID_MAX)
        .collect();
    let kind = if kind.is_empty() { "-" } else { &kind };
    format!(
        "<{PRIORITY}>1 {} - token-server - {kind} - {}",
        row.at.to_rfc3339(),
        line(row)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        for text in ["unix:/dev/log", "udp://logs.example:514", "tcp://[::1]:601"] {
            let address: SyslogAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "/dev/log",
            "unix:log",
            "udp://logs.example",
            "http://a:1",
            "tcp://:1",
        ] {
            assert_eq!(
                text.parse::<SyslogAddress>(),
                Err(SyslogAddressError),
                "{text}"
            );
        }
    }
}
